"""How large an image file may be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_amvlm.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path

MAX_PIXELS = 400_000_000
"""Larger images are refused before memory is taken for them."""


def check_size(path: Path, height: int, width: int) -> None:
    """Raise `ImageError` for an image without pixels, or with too many."""
    if height < 1 or width < 1:
        raise ImageError(f"{path} has no pixels, its size is {height}x{width}; check the file.")
    if height * width > MAX_PIXELS:
        raise ImageError(
            f"{path}: expected at most {MAX_PIXELS // 10**6} million pixels, but its size is {height}x{width}; "
            "cut it into smaller images or save it at a lower resolution."
        )
