"""Whole slides and stacks: prediction block by block and slice by slice (docs/slides.md)."""

from __future__ import annotations

from napari_amvlm.slides.block_writer import SlideReport
from napari_amvlm.slides.blocks import BLOCK, BlockGrid, BlockPlan
from napari_amvlm.slides.class_labels import label_image
from napari_amvlm.slides.display import ShownPrompt, ShownSlide
from napari_amvlm.slides.estimate import memory_needed, memory_note
from napari_amvlm.slides.find_store import image_token, open_stores
from napari_amvlm.slides.linking import ObjectLinker
from napari_amvlm.slides.objects import number_objects
from napari_amvlm.slides.slide_run import SlideRun
from napari_amvlm.slides.source import SlideSource
from napari_amvlm.slides.stacks import SliceReport, predict_stack, stack_limits
from napari_amvlm.slides.store import SlideRequest, SlideStore
from napari_amvlm.slides.whole_slide import fill_whole

__all__ = [
    "BLOCK",
    "BlockGrid",
    "BlockPlan",
    "ObjectLinker",
    "ShownPrompt",
    "ShownSlide",
    "SliceReport",
    "SlideReport",
    "SlideRequest",
    "SlideRun",
    "SlideSource",
    "SlideStore",
    "fill_whole",
    "image_token",
    "label_image",
    "memory_needed",
    "memory_note",
    "number_objects",
    "open_stores",
    "predict_stack",
    "stack_limits",
]
