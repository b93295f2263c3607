"""Where the images of a project lie in a scan: the slices of a volume, the regions of a slide, a plane as a whole."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import AmvlmError, DatasetError
from napari_amvlm.imaging import find_sources, slide_key
from napari_amvlm.imaging.sources import folders_below
from napari_amvlm.project.storage import array_hash, storable_array

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
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
        self._project = project
        self._of_size: dict[tuple[int, ...], list[ImageRecord]] = defaultdict(list)
        self._by_hash: dict[tuple[int, ...], dict[str, ImageRecord]] = {}
        self._cut: dict[str, list[tuple[ImageRecord, SlidePlace]]] = defaultdict(list)
        for record in records:
            self._of_size[record.shape].append(record)
            place = project.images.cut_from(record)
            if place is not None:
                self._cut[place.slide].append((record, place))

    def places(self, image: ImageData) -> list[Place]:
        """Return where images of the project lie in a scan; in one with channels, in any of them."""
        known = self._known(mask_shape(image)[-2:])
        found: list[Place] = []
        for channel in channels(image) if known else ():
            for index, pixels in planes(channel):
                record = known.get(array_hash(storable_array(pixels)))
                if record is not None:
                    found.append(Place(record, index))
        if self._cut and not mask_axes(image)[:-2]:
            for channel in channels(image):
                regions = self._cut.get(slide_key(channel.data) or "", ())
                found += [Place(record, (), at.y, at.x) for record, at in regions]
        return list(dict.fromkeys(found))

    def _known(self, shape: tuple[int, ...]) -> Mapping[str, ImageRecord]:
        """Return the images of a size by their pixels; only these are read, and only once."""
        if shape not in self._by_hash:
            hashes: dict[str, ImageRecord] = {}
            for record in self._of_size.get(shape, ()):
                with contextlib.suppress(AmvlmError):  # the file is gone: its scan can be given by hand
                    hashes[_pixel_hash(self._project, record)] = record
            self._by_hash[shape] = hashes
        return self._by_hash[shape]


def find_scans(paths: Iterable[Path]) -> list[ImageSource]:
    """Return the images in files and folders, with those in all folders below.

    Raises
    ------
    DatasetError
        A folder holds no image, nor does any below it.
    """
    found: list[ImageSource] = []
    for path in paths:
        folders = [path, *folders_below(path)] if path.is_dir() else [path]
        before = len(found)
        for folder in folders:
            try:
                found += find_sources([folder], below=False)
            except DatasetError:
                continue
        if len(found) == before:
            find_sources([path], below=False)  # says what is there instead
    return list({(source.path.resolve(), source.files): source for source in found}.values())


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
