"""Rectangles of pixels, and what they have in common."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from napari_amvlm.imaging import Tile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def whole_pixels(box: tuple[float, float, float, float], margin: tuple[int, int], shape: tuple[int, int]) -> Tile:
    """Return the whole pixels of a box (top, left, bottom, right) with a margin around it, within `shape`."""
    top, left = max(0, math.floor(box[0]) - margin[0]), max(0, math.floor(box[1]) - margin[1])
    bottom = min(shape[0], math.ceil(box[2]) + margin[0])
    right = min(shape[1], math.ceil(box[3]) + margin[1])
    return Tile(top, left, bottom - top, right - left)


def around(rectangles: list[Tile]) -> Tile:
    """Return the smallest rectangle that holds all of them."""
    top, left = min(r.y for r in rectangles), min(r.x for r in rectangles)
    bottom, right = max(r.y + r.height for r in rectangles), max(r.x + r.width for r in rectangles)
    return Tile(top, left, bottom - top, right - left)


def inside(inner: Tile, outer: Tile) -> bool:
    """Tell whether a rectangle lies in another."""
    return around([inner, outer]) == outer


def cut(pixels: NDArray[np.float32], tile: Tile, frame: Tile) -> NDArray[np.float32]:
    """Return the pixels of a tile out of those of a frame around it."""
    y, x = tile.y - frame.y, tile.x - frame.x
    return pixels[y : y + tile.height, x : x + tile.width]


def common(tile: Tile, area: Tile) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return what a tile and an area have in common, in pixels of the area and in pixels of the tile."""
    top, left = max(tile.y, area.y), max(tile.x, area.x)
    bottom = min(tile.y + tile.height, area.y + area.height)
    right = min(tile.x + tile.width, area.x + area.width)
    to = (slice(top - area.y, bottom - area.y), slice(left - area.x, right - area.x))
    return to, (slice(top - tile.y, bottom - tile.y), slice(left - tile.x, right - tile.x))
