"""Overlapping tiles that cover an image, and the window that blends what was found in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Tile:
    """A rectangle of pixels: its upper left corner and its size."""

    y: int
    x: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Its rows and columns, as an index of arrays `(H, W, ...)`."""
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)


def tile_grid(shape: tuple[int, int], tile: int, overlap: int) -> list[Tile]:
    """Cover an image with evenly spaced tiles, row by row.

    Parameters
    ----------
    shape
        Height and width of the image, pixels.
    tile
        Side of a tile, pixels; along a side of the image that is shorter, tiles have that side's length.
    overlap
        Least overlap of neighbours, pixels.

    Returns
    -------
    list of Tile
        All of the same size, all inside the image.

    Raises
    ------
    InputError
        `overlap` is not below `tile`, or something is below its least value.
    """
    if min(shape) < 1 or not 0 <= overlap < tile:
        raise InputError(
            f"Expected an image of at least 1x1 pixel and 0 <= overlap < tile, but got {shape}, {overlap} and {tile}."
        )
    rows, columns = (_starts(side, tile, overlap) for side in shape)
    height, width = (min(side, tile) for side in shape)
    return [Tile(y, x, height, width) for y in rows for x in columns]


def blend_window(height: int, width: int, overlap: int) -> NDArray[np.float32]:
    """Return weights for averaging overlapping tiles, `(height, width)`: 1 inside, falling smoothly at the borders.

    The ramp is `sin^2` over `overlap` pixels, at most half of the tile; weights are above 0 everywhere, so that the
    pixels at the image's own border keep a value.
    """
    return np.outer(_ramp(height, overlap), _ramp(width, overlap)).astype(np.float32)


def _starts(side: int, tile: int, overlap: int) -> list[int]:
    """Return where tiles start along one side."""
    span = max(0, side - tile)
    steps = -(-span // (tile - overlap))
    return [index * span // steps for index in range(steps + 1)] if steps else [0]


def _ramp(length: int, overlap: int) -> NDArray[np.float64]:
    """Return the weights along one side."""
    if length < 1 or overlap < 0:
        raise InputError(
            f"Expected a tile of at least 1 pixel and an overlap of at least 0, but got {length}, {overlap}."
        )
    position = np.arange(1, length + 1)
    from_border = np.minimum(position, position[::-1])
    width = min(overlap, length // 2) + 1
    ramp: NDArray[np.float64] = np.sin(np.pi / 2 * np.minimum(from_border / width, 1)) ** 2
    return ramp
