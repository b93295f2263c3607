"""A slide at working scale: any rectangle of it, as the network takes it, without reading the rest."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.config import STRIDE
from napari_amvlm.errors import ImageError
from napari_amvlm.imaging import MIN_SIDE, Tile, resize, tile_scale, to_rgb01, value_limits
from napari_amvlm.slides.chunks import ChunkReader
from napari_amvlm.slides.rectangles import whole_pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_amvlm.imaging import ImageData

_SAMPLE = 1 << 20
"""Pixels from which the values that become 0 and 1 are taken."""


class SlideSource:
    """Reads rectangles of one plane, resized and brought to [0, 1] as if the whole plane had been.

    Parameters
    ----------
    image
        A plane, with the axes YX; usually with smaller levels.
    magnification
        The plane is enlarged by this factor before the network sees it.

    Attributes
    ----------
    shape
        Height and width of the slide, pixels.
    padded
        The same with what the network needs beside: multiples of 16, at least 64.
    limits
        The values that become 0 and 1.

    Raises
    ------
    ImageError
        A stack, or a side below 16 pixels.
    """

    def __init__(self, image: ImageData, magnification: float = 1.0) -> None:
        factor = tile_scale(magnification).factor
        if image.axes != "YX":
            raise ImageError(f"{image.name}: expected one plane, but it is {image.size}; take one plane of it.")
        self.image = image
        self.shape = (int(image.data.shape[0]), int(image.data.shape[1]))
        if min(self.shape) < MIN_SIDE:
            raise ImageError(
                f"{image.name}: expected at least {MIN_SIDE}x{MIN_SIDE} pixels, but got "
                f"{self.shape[0]}x{self.shape[1]}; give a larger image."
            )
        self.working = (max(1, round(self.shape[0] * factor)), max(1, round(self.shape[1] * factor)))
        self.padded = tuple(max(4 * STRIDE, math.ceil(side / STRIDE) * STRIDE) for side in self.working)
        self.limits = value_limits(thinned(image.levels[-1], _SAMPLE), name=image.name)
        self._level = self._finest_needed()
        self._chunks = ChunkReader(self._level)

    def pixels(self, rectangle: Tile) -> NDArray[np.float32]:
        """Return a rectangle of the padded plane at working scale, float32 `(height, width, 3)` in [0, 1].

        Raises
        ------
        ImageError
            The file is damaged there.
        """
        height, width = self.working
        top, left = min(rectangle.y, height - 1), min(rectangle.x, width - 1)
        bottom, right = (
            min(rectangle.y + rectangle.height, height),
            min(rectangle.x + rectangle.width, width),
        )
        pixels = self._resized(Tile(top, left, bottom - top, right - left))
        down, beside = rectangle.height - pixels.shape[0], rectangle.width - pixels.shape[1]
        return np.pad(pixels, ((0, down), (0, beside), (0, 0)), mode="edge") if down or beside else pixels

    def in_working(self, rectangle: Tile) -> tuple[float, float, float, float]:
        """Return a rectangle of the slide in pixels of the working scale: top, left, bottom, right."""
        y, x = (self.working[0] / self.shape[0], self.working[1] / self.shape[1])
        return (
            rectangle.y * y,
            rectangle.x * x,
            (rectangle.y + rectangle.height) * y,
            (rectangle.x + rectangle.width) * x,
        )

    def _finest_needed(self) -> Any:
        """Return the smallest level that is still as fine as the working scale."""
        # One pixel less is only how a writer rounded.
        fine = [level for level in self.image.levels if level.shape[0] >= self.working[0] - 1]
        return fine[-1] if fine else self.image.data

    def _resized(self, inside: Tile) -> NDArray[np.float32]:
        """Return a rectangle that lies in the plane, at working scale."""
        level = self._level
        y, x = level.shape[0] / self.working[0], level.shape[1] / self.working[1]
        box = (inside.y * y, inside.x * x, (inside.y + inside.height) * y, (inside.x + inside.width) * x)
        if (y, x) == (1, 1):
            return to_rgb01(self._chunks.read(inside), name=self.image.name, limits=self.limits)
        around = whole_pixels(box, (math.ceil(y) + 1, math.ceil(x) + 1), level.shape[:2])
        values = to_rgb01(self._chunks.read(around), name=self.image.name, limits=self.limits)
        part = (box[0] - around.y, box[1] - around.x, box[2] - around.y, box[3] - around.x)
        return np.clip(resize(values, (inside.height, inside.width), box=part), 0, 1)


def thinned(level: Any, pixels: int) -> NDArray[Any]:
    """Return every n-th pixel of a level, so that there are not many more than `pixels`."""
    step = max(1, math.isqrt(level.shape[0] * level.shape[1] // pixels))
    return np.asarray(level[::step, ::step])
