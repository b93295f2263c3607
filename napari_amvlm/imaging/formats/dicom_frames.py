"""The frames of DICOM files, and which of them make up one volume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import ImageError
from napari_amvlm.imaging.formats import dicom_headers, dicom_values
from napari_amvlm.imaging.formats.lazy import reading
from napari_amvlm.imaging.formats.limits import check_numbers

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pydicom.dataset import Dataset

_OTHER_COLOURS = ("HSV", "ARGB", "CMYK", "YBR_PARTIAL_422", "YBR_PARTIAL_420")
"""What pydicom returns as it is stored."""

_IDENTITY = ("SOPInstanceUID", "SeriesInstanceUID", "InstanceNumber", "ImagePositionPatient")
"""What files that are there twice have in common."""

_ECHO_JITTER = 0.05
"""Milliseconds; the times of two echoes differ by more."""


@dataclass(frozen=True)
class Frame:
    """One plane: its file, its place in the file, and what the header says of it.

    `kind` is what the frames of one volume have in common; so is `echo`, the time of the echo in milliseconds, but for
    jitter.
    """

    path: Path
    index: int
    frames: int
    shape: tuple[int, int] | tuple[int, int, int]
    header: Dataset
    kind: tuple[Any, ...]
    geometry: dicom_headers.Geometry
    rescaling: dicom_values.Rescaling
    echo: float | None = None

    def belongs_to(self, other: Frame) -> bool:
        """Tell whether both frames are of one volume."""
        same = (self.shape, self.kind) == (other.shape, other.kind) and (self.echo is None) == (other.echo is None)
        echoes = abs((self.echo or 0.0) - (other.echo or 0.0))
        return same and echoes < _ECHO_JITTER and other.geometry.is_parallel(self.geometry)


def dicom_groups(paths: Iterable[Path]) -> tuple[list[list[Frame]], dict[Path, ImageError]]:
    """Return the frames of DICOM files by volume, and the files that cannot be read, with what is wrong with them.

    Files without an image, and segmentations, are left out, unless there is nothing else.
    """
    frames: list[Frame] = []
    failures: dict[Path, ImageError] = {}
    without_image: dict[Path, ImageError] = {}
    seen: set[tuple[str, ...]] = set()
    for path in sorted(paths):
        try:
            with reading(path):
                header = dicom_headers.read_header(path)
                # Programs that take the patient's name out may give all files one UID.
                uid = tuple(str(header.get(name, "")) for name in _IDENTITY)
                dicom_headers.check_not_masks(path, header)
                own = [] if uid[0] and uid in seen else read_frames(path, header)
        except ImageError as error:
            (without_image if "without an image" in str(error) else failures)[path] = error
            continue
        seen.add(uid)
        frames += own
    return grouped(frames), failures if frames or failures else without_image


def grouped(frames: Iterable[Frame]) -> list[list[Frame]]:
    """Return the frames of each volume; a frame without a position is alone."""
    groups: list[list[Frame]] = []
    for frame in frames:
        same = (group for group in groups if frame.belongs_to(group[0]))
        group = next(same, None) if frame.geometry.is_known else None
        if group is None:
            groups.append([frame])
        else:
            group.append(frame)
    return groups


def _kind(header: Dataset, series: str, geometry: dicom_headers.Geometry) -> tuple[Any, ...]:
    """Return what the frames of one volume have in common, beside their size, direction and echo."""
    return (
        geometry.is_known,
        series,
        str(header.get("FrameType") or header.get("ImageType", "")),
        str(header.get("StackID", "")),
        str(header.get("EchoNumbers", "")),
    )


def read_frames(path: Path, header: Dataset) -> list[Frame]:
    """Describe every frame of a file.

    Raises
    ------
    ImageError
        It holds no image, is cut off, or its numbers are beyond what can be read.
    """
    count, height, width, colours = dicom_headers.check_image(path, header)
    palette = header.get("PhotometricInterpretation") == "PALETTE COLOR"
    colour = colours > 1 or palette
    stored = np.dtype(np.uint8) if palette else dicom_values.stored_type(header)
    check_numbers(path, stored)
    if header.get("PhotometricInterpretation") in _OTHER_COLOURS:
        raise ImageError(
            f"{path}: expected RGB, YBR or gray, but got {header.PhotometricInterpretation}; save it as RGB."
        )
    shape: tuple[int, int] | tuple[int, int, int] = (height, width, 3) if colour else (height, width)
    _check_length(path, header, count * height * width * colours)
    series = str(header.get("SeriesInstanceUID", ""))
    frames = []
    for index in range(count):
        own = dicom_headers.frame_header(header, index)
        values = dicom_values.rescaling(own, stored)
        if colour:
            values = dicom_values.Rescaling(1, 0, None, None, stored, None)
        geometry = dicom_headers.geometry(own)
        echo = dicom_headers.first_number(own.get("EffectiveEchoTime") or own.get("EchoTime"))
        frames.append(Frame(path, index, count, shape, own, _kind(own, series, geometry), geometry, values, echo))
    return frames


def _check_length(path: Path, header: Dataset, values: int) -> None:
    """Refuse uncompressed pixels, and frames beyond number, that the file is too short for."""
    size = path.stat().st_size
    syntax = header.file_meta.TransferSyntaxUID
    bits = int(header.get("BitsAllocated") or 8)
    halved = str(header.get("PhotometricInterpretation")).endswith(("422", "420"))
    plain = not syntax.is_encapsulated and not syntax.is_deflated and not halved
    if (plain and values * bits // 8 > size) or int(header.get("NumberOfFrames") or 1) > size:
        raise ImageError(f"{path} is cut off, {size} bytes cannot hold all of its pixels; copy it again.")
