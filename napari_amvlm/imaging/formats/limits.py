"""How large an image file may be, checked against its header before memory is taken."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from napari_amvlm.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np

MAX_PIXELS = 400_000_000
"""Larger images are not read into memory as a whole."""

LARGEST_PLANE = 100_000_000
"""Planes with more pixels are slides: they are worked through block by block."""

EAGER_BYTES = 1 << 28
"""Stacks and planes up to this size are read at once; larger ones where they are looked at."""

MAX_CHUNK_BYTES = 1 << 29
"""The largest piece that a file may oblige its reader to decode at once."""

MAX_PLANE_PIXELS = 1 << 38
"""No scanner makes larger planes than this, half a million pixels squared."""

MAX_ELEMENTS = 1 << 44
"""No file holds more values than this over all its planes, channels and times."""

MAX_AXES = 8


def check_size(path: Path, height: int, width: int) -> None:
    """Raise `ImageError` for an image without pixels, or with too many to be held in memory."""
    check_pixels(path, height, width)
    if height * width > MAX_PIXELS:
        raise ImageError(
            f"{path}: expected at most {MAX_PIXELS // 10**6} million pixels, but its size is {height}x{width}; "
            "cut it into smaller images or save it at a lower resolution."
        )


def check_pixels(path: Path, height: int, width: int) -> None:
    """Raise `ImageError` for an image without pixels."""
    if height < 1 or width < 1:
        raise ImageError(f"{path} has no pixels, its size is {height}x{width}; check the file.")


def check_shape(path: Path, shape: Sequence[int], plane: tuple[int, int]) -> None:
    """Raise `ImageError` for a shape that no real image has; `plane` is its height and width."""
    if min(shape, default=0) < 1:
        raise ImageError(f"{path} has no pixels, its shape is {tuple(shape)}; check the file.")
    if len(shape) > MAX_AXES or math.prod(plane) > MAX_PLANE_PIXELS or math.prod(shape) > MAX_ELEMENTS:
        raise ImageError(
            f"{path}: expected at most {MAX_PLANE_PIXELS:.0e} pixels in a plane and {MAX_ELEMENTS:.0e} values in all, "
            f"but its header says {tuple(shape)}; the file is damaged, copy or save it again."
        )


def check_chunk(path: Path, chunk: Sequence[int], dtype: np.dtype) -> None:
    """Raise `ImageError` where the pieces that an image is stored in are too large to be decoded one by one."""
    if math.prod(chunk) * dtype.itemsize > MAX_CHUNK_BYTES:
        raise ImageError(
            f"{path}: expected pieces of at most {MAX_CHUNK_BYTES >> 20} MB, but it is stored in pieces of "
            f"{'x'.join(str(side) for side in chunk)} values; save it in tiles of 512x512 pixels."
        )


def check_numbers(path: Path, dtype: np.dtype) -> None:
    """Raise `ImageError` for pixels that are not real numbers."""
    if dtype.kind not in "buif" or dtype.itemsize > 8:
        raise ImageError(f"{path}: expected real numbers as pixels, but got {dtype}; save it as gray or RGB.")
