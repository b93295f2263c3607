"""Slides in the formats of vendors, by OpenSlide: NDPI, MRXS, SCN, BIF, VMS and their relatives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import ImageError
from napari_amvlm.imaging.formats.lazy import LEAST_CHUNK, lazy, need, reading, with_small_levels
from napari_amvlm.imaging.formats.limits import check_shape
from napari_amvlm.imaging.image_data import ImageData, image_name, known, spacing

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

ENDINGS = (".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide")
_WHITE = 255


class _Level:
    """One resolution of the part of a slide that was scanned, read by regions."""

    def __init__(self, slide: Any, level: int) -> None:
        self._slide, self._level = slide, level
        self._top, self._left, height, width = _scanned(slide)
        factor = slide.level_downsamples[level]
        self.shape = (max(1, int(height / factor)), max(1, int(width / factor)), 3)
        self.dtype = np.dtype(np.uint8)

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:
        rows, columns, colours = key
        top, bottom, _ = rows.indices(self.shape[0])
        left, right, _ = columns.indices(self.shape[1])
        factor = self._slide.level_downsamples[self._level]
        corner = (self._left + round(left * factor), self._top + round(top * factor))
        region = self._slide.read_region(corner, self._level, (right - left, bottom - top))
        pixels = np.asarray(region)
        # What was not scanned is transparent, and shown as glass.
        return np.where(pixels[..., 3:] == 0, np.uint8(_WHITE), pixels[..., :3])[:, :, colours]


def _scanned(slide: Any) -> tuple[int, int, int, int]:
    """Return top, left, height and width of what was scanned, as QuPath shows it; around it lies empty space."""
    width, height = slide.dimensions
    names = (f"openslide.bounds-{name}" for name in ("y", "x", "height", "width"))
    bounds = [int(value) for name in names if (value := slide.properties.get(name, "")).isdecimal()]
    if len(bounds) == 4 and min(bounds[2:]) > 0 and bounds[0] + bounds[2] <= height and bounds[1] + bounds[3] <= width:
        return bounds[0], bounds[1], bounds[2], bounds[3]
    return 0, 0, height, width


def is_slide(path: Path) -> bool:
    """Tell whether a file is called like a slide that OpenSlide reads."""
    return path.name.lower().endswith(ENDINGS)


def open_slide(path: Path) -> list[ImageData]:
    """Describe the pyramid of a slide, as far as it was scanned; label and overview are left out.

    Raises
    ------
    ImageError
        OpenSlide is not installed, or does not know the file.
    """
    with reading(path):
        need("openslide", path, "slide", "openslide")
        import openslide

        try:
            slide = openslide.OpenSlide(path)
        except (openslide.OpenSlideUnsupportedFormatError, openslide.OpenSlideError) as error:
            raise ImageError(f"{path}: expected a slide that OpenSlide reads, but it does not ({error}).") from error
        levels = []
        for number in range(slide.level_count):
            level = _Level(slide, number)
            check_shape(path, level.shape, level.shape[:2])
            levels.append(lazy(level, path, (min(LEAST_CHUNK, level.shape[0]), min(LEAST_CHUNK, level.shape[1]), 3)))
        sizes = {axis: slide.properties.get(f"openslide.mpp-{axis.lower()}") for axis in "YX"}
    levels = with_small_levels(levels, 0)
    return [
        ImageData(
            levels[0],
            image_name(path),
            path,
            rgb=True,
            spacing=known({axis: spacing(size, "um") for axis, size in sizes.items()}),
            smaller=tuple(levels[1:]),
        )
    ]
