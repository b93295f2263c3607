"""Strokes that spread: what a person paints corrects the rest of the mask, without training."""

from napari_amvlm.strokes.descriptors import Descriptors, describe
from napari_amvlm.strokes.kernel import Reach
from napari_amvlm.strokes.spread import Spread

__all__ = ["Descriptors", "Reach", "Spread", "describe"]
