"""Strokes that spread: what a person paints corrects the rest of the mask, without training."""

from napari_amvlm.strokes.kernel import Reach
from napari_amvlm.strokes.spread import Spread

__all__ = ["Reach", "Spread"]
