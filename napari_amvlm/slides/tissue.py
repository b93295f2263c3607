"""Tissue of a slide, found at a low resolution."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.imaging import to_rgb01
from napari_amvlm.slides.source import thinned

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_amvlm.imaging import Tile
    from napari_amvlm.slides.source import SlideSource

_COARSEST = 32
"""A pixel of the map stands for at most about this many pixels a side."""

_MOST = 1 << 22
_CHROMA, _GLASS, _UNSCANNED = 0.06, 0.75, 0.03
_CONTRAST = 0.03


class TissueMap:
    """Tells which rectangles of a slide hold only glass.

    In colour, a pixel is background where its channels differ by at most 0.06 and it is brighter than 0.75 (glass) or
    darker than 0.03 (not scanned).  In gray, it is background where nothing within two pixels of the map differs by
    more than 0.03.  All else, and the pixels next to it, counts as tissue.
    """

    def __init__(self, source: SlideSource) -> None:
        levels = [level for level in source.image.levels if source.shape[0] / level.shape[0] <= _COARSEST]
        wanted = max(1, source.shape[0] * source.shape[1] // _COARSEST**2)
        stored = thinned(levels[-1], min(_MOST, max(wanted, 1 << 12)))
        values = to_rgb01(stored, name=source.image.name, limits=source.limits)
        self._tissue = _grown(_is_tissue(values, colour=source.image.rgb))
        self._scale = (
            self._tissue.shape[0] / source.working[0],
            self._tissue.shape[1] / source.working[1],
        )

    def has_tissue(self, rectangle: Tile) -> bool:
        """Tell whether there is something in a rectangle at working scale; what is outside the slide is glass."""
        y, x = self._scale
        top, left = int(rectangle.y * y), int(rectangle.x * x)
        bottom = int(np.ceil((rectangle.y + rectangle.height) * y))
        right = int(np.ceil((rectangle.x + rectangle.width) * x))
        return bool(self._tissue[top:bottom, left:right].any())


def _is_tissue(values: NDArray[np.float32], *, colour: bool) -> NDArray[np.bool_]:
    if colour:
        bright = values.mean(axis=2)
        return np.asarray((np.ptp(values, axis=2) > _CHROMA) | ((bright < _GLASS) & (bright > _UNSCANNED)))
    from scipy import ndimage

    gray = values[..., 0]
    span: NDArray[np.float32] = ndimage.maximum_filter(gray, 5) - ndimage.minimum_filter(gray, 5)
    return np.asarray(span > _CONTRAST)


def _grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask with the eight neighbours of its pixels."""
    from scipy import ndimage

    return np.asarray(ndimage.binary_dilation(mask, np.ones((3, 3), np.bool_)))
