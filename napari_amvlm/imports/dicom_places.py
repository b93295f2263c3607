"""Frames of a DICOM segmentation by their place: those that do not say on the pixels of which image they lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import LabelsError
from napari_amvlm.imaging.formats.dicom_headers import frame_header, geometry, read_header
from napari_amvlm.imaging.formats.lazy import reading

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from napari_amvlm.imaging import ImageData

_NEAR = 0.1
"""Pixels; the corners of planes that are nearer are those of one plane."""


def names_frames(segmentation: Dataset) -> bool:
    """Tell whether frames say on the pixels of which image they lie, and not only where in the patient.

    Many programs name the images that a frame was made of, and do not say that its pixels are theirs. Where nothing
    tells the place of a frame, they are.
    """
    groups = [*segmentation.get("SharedFunctionalGroupsSequence", ()), *_groups(segmentation)]
    sources = [
        [one for image in group.get("DerivationImageSequence") or () for one in image.get("SourceImageSequence") or ()]
        for group in groups
    ]
    preserved = {one.get("SpatialLocationsPreserved") for own in sources for one in own}
    if preserved == {"YES"} and all(len(own) <= 1 for own in sources):
        return True
    placed = any("PlanePositionSequence" in group for group in groups)
    return bool(preserved) and preserved <= {"YES", None} and not placed


def masks_by_place(
    path: Path, segmentation: Any, image: ImageData, names: Mapping[int, str], rows: Collection[int]
) -> tuple[dict[str, NDArray[np.bool_]], int]:
    """Return bool volumes with the axes of a scan, and how many frames with masks lie on none of its planes.

    Parameters
    ----------
    rows
        The planes of the scan that are asked for, by their place in `image.origins`.

    Raises
    ------
    LabelsError
        Several planes lie at one place, so that nobody knows which is meant.
    """
    shape = image.data.shape[: len(image.axes)]
    planes = {row: place for row, place in _planes(image, shape[-2:]).items() if row in rows}
    volumes = {name: np.zeros((len(image.origins), *shape[-2:]), np.bool_) for name in names.values()}
    missing = 0
    with reading(path):
        for index in range(len(_groups(segmentation))):
            masks = {names[number]: mask for number, mask in _masks(segmentation, index) if mask.any()}
            here = _corners(frame_header(segmentation, index), (segmentation.Rows, segmentation.Columns))
            on = [row for row, place in planes.items() if here is not None and _are_near(here, place)] if masks else []
            if len(on) > 1:
                raise LabelsError(
                    f"{path} does not say which images it is of, and {image.name} has several at one place: export it "
                    "with references to its images."
                )
            missing += bool(masks) and not on
            for name, mask in masks.items() if on else ():
                volumes[name][on[0]] |= mask
    return {name: volume.reshape(shape) for name, volume in volumes.items()}, missing


def _groups(segmentation: Dataset) -> list[Dataset]:
    return list(segmentation.get("PerFrameFunctionalGroupsSequence") or ())


def _masks(segmentation: Any, index: int) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """Yield the numbers of the segments that one frame shows, each with its pixels."""
    stored = segmentation.get_stored_frame(index + 1)
    if segmentation.SegmentationType == "LABELMAP":
        yield from ((int(number), stored == number) for number in np.unique(stored) if number)
        return
    groups = (_groups(segmentation)[index], *segmentation.get("SharedFunctionalGroupsSequence", ()))
    (number, *_) = (
        group.SegmentIdentificationSequence[0] for group in groups if "SegmentIdentificationSequence" in group
    )
    whole = segmentation.get("MaximumFractionalValue", 1) if segmentation.SegmentationType == "FRACTIONAL" else 1
    yield int(number.ReferencedSegmentNumber), stored >= whole / 2


def _planes(image: ImageData, size: tuple[int, ...]) -> dict[int, NDArray[np.float64]]:
    """Return the places of a scan's planes, of those that say it."""
    headers = {path: read_header(path) for path in dict.fromkeys(path for path, _ in image.origins)}
    places = (_corners(frame_header(headers[path], frame), size) for path, frame in image.origins)
    return {row: place for row, place in enumerate(places) if place is not None}


def _corners(header: Dataset, size: tuple[int, ...]) -> NDArray[np.float64] | None:
    """Return three corners of a plane in the patient, in its own pixels, `(3, 3)`; None where it does not say."""
    where, sizes = geometry(header), header.get("PixelSpacing")
    if where.rows is None or where.columns is None or where.corner is None or sizes is None:
        return None
    corner, (height, width) = np.array(where.corner), (float(n) * length for n, length in zip(sizes, size, strict=True))
    corners = corner, corner + width * np.array(where.rows), corner + height * np.array(where.columns)
    return np.asarray(np.stack(corners) / min(float(n) for n in sizes))


def _are_near(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    return bool(np.abs(one - other).max() < _NEAR)
