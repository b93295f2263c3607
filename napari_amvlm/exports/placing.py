"""Where the images of a project lie in a scan: the slices of a volume, the regions of a slide, a plane as a whole."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import AmvlmError, DatasetError
from napari_amvlm.imaging import find_sources, is_zarr, slide_key
from napari_amvlm.project.storage import array_hash, storable_array

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_amvlm.imaging import ImageData, ImageSource
    from napari_amvlm.project import ImageRecord, Project, SlidePlace


@dataclass(frozen=True)
class Place:
    """Where an image of a project lies in a scan.

    Attributes
    ----------
    index
        Its place along the axes before Y, without C.
    y, x
        Its upper left corner, pixels at full resolution.
    """

    record: ImageRecord
    index: tuple[int, ...] = ()
    y: int = 0
    x: int = 0


class PlaneFinder:
    """Finds the images of a project in scans by their pixels, whatever the scans are called and wherever they lie."""

    def __init__(self, project: Project, records: Iterable[ImageRecord]) -> None:
        self._by_hash: dict[str, ImageRecord] = {}
        self._cut: dict[str, list[tuple[ImageRecord, SlidePlace]]] = defaultdict(list)
        self._shapes = set()
        for record in records:
            with contextlib.suppress(AmvlmError):  # the file is gone: its scan can be given by hand
                self._by_hash[_pixel_hash(project, record)] = record
                self._shapes.add(record.shape)
            place = project.images.cut_from(record)
            if place is not None:
                self._cut[place.slide].append((record, place))

    def places(self, image: ImageData) -> list[Place]:
        """Return where images of the project lie in a scan; in one with channels, in any of them."""
        found = [place for index, pixels in self._candidates(image) if (place := self._at(index, pixels)) is not None]
        if self._cut and not mask_axes(image)[:-2]:
            for channel in channels(image):
                regions = self._cut.get(slide_key(channel.data) or "", ())
                found += [Place(record, (), at.y, at.x) for record, at in regions]
        return list(dict.fromkeys(found))

    def _candidates(self, image: ImageData) -> Iterator[tuple[tuple[int, ...], NDArray[Any]]]:
        """Yield the planes that have the size of an image of the project."""
        if mask_shape(image)[-2:] in self._shapes:
            for channel in channels(image):
                yield from planes(channel)

    def _at(self, index: tuple[int, ...], pixels: NDArray[Any]) -> Place | None:
        record = self._by_hash.get(array_hash(storable_array(pixels)))
        return None if record is None else Place(record, index)


def find_scans(paths: Iterable[Path]) -> list[ImageSource]:
    """Return the images in files and folders, with those in all folders below.

    Raises
    ------
    DatasetError
        A folder holds no image, nor does any below it.
    """
    found: list[ImageSource] = []
    for path in paths:
        folders = [path, *_folders_below(path)]
        before = len(found)
        for folder in folders:
            try:
                found += find_sources([folder])
            except DatasetError:
                continue
        if len(found) == before:
            find_sources([path])  # says what is there instead
    return list({(source.path.resolve(), source.files): source for source in found}.values())


def _folders_below(path: Path) -> Iterator[Path]:
    if not path.is_dir() or is_zarr(path):
        return
    for folder in sorted(path.iterdir()):
        if folder.is_dir() and not folder.is_symlink() and not folder.name.startswith(".") and not is_zarr(folder):
            yield folder
            yield from _folders_below(folder)


def channels(image: ImageData) -> Sequence[ImageData]:
    """Return the channels of an image one by one; the image itself where it has none."""
    return [image.of_channel(index) for index in range(len(image.channel_titles))] or [image]


def planes(image: ImageData) -> Iterator[tuple[tuple[int, ...], NDArray[Any]]]:
    """Yield index and pixels of each plane of an image without channels."""
    for index in np.ndindex(mask_shape(image)[:-2]):
        yield index, np.asarray(image.data[index])


def mask_axes(image: ImageData) -> str:
    """Return the axes that a mask of an image has: all but the channels."""
    return image.axes.replace("C", "")


def mask_shape(image: ImageData) -> tuple[int, ...]:
    """Return the lengths along `mask_axes`."""
    return tuple(int(n) for axis, n in zip(image.axes, image.data.shape, strict=False) if axis != "C")


def _pixel_hash(project: Project, record: ImageRecord) -> str:
    return record.sha256 if record.source == "array" else array_hash(storable_array(project.images.load(record)))
