"""Whole slides and stacks: prediction piece by piece, into results that fill up while one looks on (docs/slides.md)."""

from __future__ import annotations

from napari_amvlm.slides.blocks import BLOCK, BlockGrid, BlockPlan
from napari_amvlm.slides.class_labels import label_image
from napari_amvlm.slides.estimate import memory_needed, memory_note
from napari_amvlm.slides.finishing import SlideReport
from napari_amvlm.slides.linking import ObjectLinker
from napari_amvlm.slides.slide_run import SlideRun
from napari_amvlm.slides.source import SlideSource
from napari_amvlm.slides.stacks import SliceReport, predict_stack
from napari_amvlm.slides.store import SlideRequest, SlideStore

__all__ = [
    "BLOCK",
    "BlockGrid",
    "BlockPlan",
    "ObjectLinker",
    "SliceReport",
    "SlideReport",
    "SlideRequest",
    "SlideRun",
    "SlideSource",
    "SlideStore",
    "label_image",
    "memory_needed",
    "memory_note",
    "predict_stack",
]
