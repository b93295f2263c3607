"""Planes in files whose names differ by a number alone, put together to a stack where somebody wants them so."""

from __future__ import annotations

import itertools
import re
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import ImageError
from napari_amvlm.imaging.folder import normal_form
from napari_amvlm.imaging.formats.lazy import lazy
from napari_amvlm.imaging.formats.limits import EAGER_BYTES
from napari_amvlm.imaging.reading import read_image

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_amvlm.imaging.image_data import ImageData

_NUMBER = re.compile(r"^(.*?)(\d{1,18})(\D*)$", re.DOTALL)
_LISTED = 5


def numbered_stacks(paths: Iterable[Path]) -> list[tuple[str, list[Path]]]:
    """Return what files with the same name but for its last number are called, and these files by their number.

    Examples
    --------
    >>> from pathlib import Path
    >>> numbered_stacks([Path("img_10.tif"), Path("img_9.tif"), Path("other.tif")])
    [('img', [PosixPath('img_9.tif'), PosixPath('img_10.tif')])]
    """
    groups: dict[tuple[Path, str, str], list[tuple[int, Path]]] = {}
    for path in paths:
        if match := _NUMBER.match(normal_form(path.name)):
            groups.setdefault((path.parent, match[1], match[3]), []).append((int(match[2]), path))
    return [
        (start.rstrip(" _-.") or folder.name, [path for _, path in sorted(members)])
        for (folder, start, _), members in groups.items()
        if len(members) > 1
    ]


def open_numbered(paths: Sequence[Path], name: str) -> ImageData:
    """Describe the stack of planes in files, in this order; large ones stay in their files.

    A warning names the numbers that are missing.

    Raises
    ------
    ImageError
        A file holds no plane, or they differ in size, colours or number format.
    """
    first = read_image(paths[0])
    planes = _Planes(paths, first)
    shape = planes.shape
    whole = int(np.prod(shape)) * first.data.dtype.itemsize <= EAGER_BYTES
    data = planes[(slice(None),)] if whole else lazy(planes, paths[0], (1, *shape[1:]))
    if absent := _absent(paths):
        warnings.warn(f"{paths[0].parent}: of {name}, {absent} are not there; the others are a stack.", stacklevel=2)
    return replace(first, data=data, name=name, path=paths[0].parent, axes="QYX")


def _absent(paths: Sequence[Path]) -> str:
    """Return the numbers that are missing between the first and the last, for a message."""
    numbers = [int(match[2]) for path in paths if (match := _NUMBER.match(path.name))]
    gaps = [(number + 1, after - 1) for number, after in itertools.pairwise(numbers) if after > number + 1]
    shown = [str(first) if first == last else f"{first} to {last}" for first, last in gaps[:_LISTED]]
    return ", ".join(shown) + (" and more" if len(gaps) > _LISTED else "")


class _Planes:
    """Reads the planes that are asked for."""

    def __init__(self, paths: Sequence[Path], first: ImageData) -> None:
        self._paths = paths
        self._first = first
        self.shape: tuple[int, ...] = (len(paths), *first.data.shape)
        self.dtype: np.dtype = first.data.dtype

    def __getitem__(self, key: Any) -> NDArray[Any]:
        numbers = range(len(self._paths))[key[0]]
        return np.stack([self._plane(self._paths[number])[key[1:]] for number in numbers])

    def _plane(self, path: Path) -> NDArray[Any]:
        pixels = self._first.data if path == self._paths[0] else read_image(path).data
        if (pixels.shape, pixels.dtype) != (self._first.data.shape, self.dtype):
            raise ImageError(
                f"{path}: expected a plane of {self._first.data.shape} {self.dtype} like {self._paths[0].name}, but "
                f"got {pixels.shape} {pixels.dtype}; leave it out, or look at the files one by one."
            )
        return np.asarray(pixels)
