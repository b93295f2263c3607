"""DICOM files and folders: planes, multi-frame files, and the slices of a series put together to a volume."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import ImageError
from napari_amvlm.imaging.formats import dicom_headers, dicom_values
from napari_amvlm.imaging.formats.lazy import lazy, reading
from napari_amvlm.imaging.formats.limits import EAGER_BYTES, check_numbers, check_shape
from napari_amvlm.imaging.image_data import ImageData, Spacing, spacing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

MAX_FILES = 20_000
"""A folder with more files than this is not looked through."""

_UNEVEN = 0.1
"""Slices may be this much off their place, as a part of the distance between slices."""


@dataclass(frozen=True)
class Frame:
    """One plane: its file, its place in the file, and what the header says of it."""

    path: Path
    index: int
    frames: int
    shape: tuple[int, int] | tuple[int, int, int]
    header: Dataset
    geometry: dicom_headers.Geometry
    rescaling: dicom_values.Rescaling


class _Stack:
    """Frames of one shape, read from their files as they are asked for."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        self._frames = list(frames)
        self.shape = (len(self._frames), *self._frames[0].shape)
        self.dtype = np.result_type(*{frame.rescaling.dtype for frame in self._frames})

    def __getitem__(self, key: Any) -> NDArray[Any]:
        numbers, *within = key
        planes = [self._plane(self._frames[number])[tuple(within)] for number in range(len(self._frames))[numbers]]
        return np.stack(planes)

    def read(self) -> NDArray[Any]:
        """Return all frames."""
        result = np.empty(self.shape, self.dtype)
        whole: tuple[Path, Dataset] | None = None
        for number, frame in enumerate(self._frames):
            if whole is None or whole[0] != frame.path:
                whole = frame.path, dicom_headers.read_header(frame.path, pixels=True)
            result[number] = self._plane(frame, whole[1])
        return result

    def _plane(self, frame: Frame, header: Dataset | None = None) -> NDArray[Any]:
        pixels = dicom_values.decode_frame(frame.path, frame.index, frame.frames, header)
        if pixels.shape != frame.shape:
            raise ValueError(f"a frame of shape {pixels.shape}, where {frame.shape} was announced")
        return pixels if pixels.ndim == 3 else frame.rescaling.apply(pixels, self.dtype)


def open_dicom(path: Path) -> list[ImageData]:
    """Describe the image in a DICOM file: a plane, or the frames of a multi-frame file.

    Raises
    ------
    ImageError
        There is no image in it, or it cannot be read.
    """
    with reading(path):
        header = dicom_headers.read_header(path)
        frames = _frames(path, header)
        if len(frames) == 1:
            return [_plane(frames[0], path.stem)]
        return [_multi_frame(frames, header, path)]


def open_dicom_series(paths: Iterable[Path], place: Path) -> list[ImageData]:
    """Describe the images in many DICOM files: one volume for each series whose slices lie side by side.

    Slices of one series and orientation are sorted by their position; where every position occurs as often, the
    repetitions are times.  Files without a position are images of their own.  A series that cannot be put together
    is told in a warning, if there are others.

    Parameters
    ----------
    paths
        The files; reports and other files without an image are left out.
    place
        The folder that messages name.

    Raises
    ------
    ImageError
        No file has an image, or no series can be put together.
    """
    series: dict[tuple[Any, ...], list[Frame]] = {}
    failures: list[ImageError] = []
    for path in sorted(paths):
        try:
            with reading(path):
                for frame in _frames(path, header := dicom_headers.read_header(path)):
                    series.setdefault(_belongs(frame, header), []).append(frame)
        except ImageError as error:
            failures.append(error)
    images: list[ImageData] = []
    for number, frames in enumerate(series.values(), 1):
        name = place.name if len(series) == 1 else f"{place.name} {number}"
        try:
            with reading(place):
                images.extend([_plane(frames[0], name)] if len(frames) == 1 else [_volume(frames, name, place)])
        except ImageError as error:
            failures.append(error)
    if not images:
        raise failures[0] if failures else ImageError(f"{place} holds no DICOM image; open the folder of a series.")
    for failure in failures:
        if "without an image" not in str(failure):
            warnings.warn(str(failure), stacklevel=2)
    return images


def _frames(path: Path, header: Dataset) -> list[Frame]:
    count, height, width, colours = dicom_headers.check_image(path, header)
    palette = header.get("PhotometricInterpretation") == "PALETTE COLOR"
    colour = colours > 1 or palette
    stored = np.dtype(np.uint8) if palette else dicom_values.stored_type(header)
    check_numbers(path, stored)
    shape: tuple[int, int] | tuple[int, int, int] = (height, width, 3) if colour else (height, width)
    _check_length(path, header, count * height * width * colours)
    frames = []
    for index in range(count):
        own = dicom_headers.frame_header(header, index)
        where = dicom_headers.geometry(own)
        found = dicom_values.rescaling(own, stored)
        if colour:
            found = dicom_values.Rescaling(1, 0, None, None, stored, None)
        frames.append(Frame(path, index, count, shape, own, where, found))
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


def _belongs(frame: Frame, header: Dataset) -> tuple[Any, ...]:
    """Return what the frames of one volume have in common; a frame without a position has it to itself."""
    uid = str(header.get("SeriesInstanceUID", ""))
    alone = frame.geometry.plane is None or frame.geometry.position is None
    if alone:
        return (uid, frame.path, frame.index)
    kind = (str(header.get("ImageType", "")), str(header.get("EchoNumbers", "")))
    return (uid, frame.geometry.plane, frame.shape, *kind)


def _plane(frame: Frame, name: str) -> ImageData:
    data = _Stack([frame]).read()[0]
    where = dicom_headers.orientation(frame.header, frame.geometry)
    return ImageData(
        data,
        name,
        frame.path,
        data.ndim == 3,
        spacing=dicom_headers.pixel_spacing(frame.header),
        orientation=where[-2:],
        window=frame.rescaling.window,
    )


def _multi_frame(frames: list[Frame], header: Dataset, path: Path) -> ImageData:
    """Describe the frames of one file: slices where they have positions, else times, else a sequence."""
    if all(frame.geometry.plane is not None and frame.geometry.position is not None for frame in frames):
        if len({frame.geometry.position for frame in frames}) > 1:
            return _volume(frames, path.stem, path)
    offsets = header.get("GridFrameOffsetVector")
    if offsets is not None and len(offsets) == len(frames):
        steps = [float(offset) for offset in offsets]
        order = np.argsort(steps)
        return _stack([frames[number] for number in order], "Z", {"Z": _step(path, sorted(steps))}, path.stem, path)
    seconds = spacing(header.get("FrameTime"), "ms")
    if seconds is not None:
        return _stack(frames, "T", {"T": (seconds[0] / 1000, "second")}, path.stem, path)
    timed = any(name in header for name in ("FrameTimeVector", "CineRate", "RecommendedDisplayFrameRate"))
    return _stack(frames, "T" if timed else "I", {}, path.stem, path)


def _volume(frames: list[Frame], name: str, place: Path) -> ImageData:
    """Put slices in the order of their positions; repeated positions are times."""
    by_position: dict[float, list[Frame]] = {}
    for frame in frames:
        by_position.setdefault(round(frame.geometry.position or 0.0, 2), []).append(frame)
    positions = sorted(by_position)
    repeats = {len(found) for found in by_position.values()}
    if len(repeats) > 1:
        raise ImageError(
            f"{place}: expected every slice of {name} as often as the others, but {len(positions)} places have between "
            f"{min(repeats)} and {max(repeats)} slices; keep the files of one scan in the folder."
        )
    times = repeats.pop()
    for found in by_position.values():
        found.sort(key=_when)
    ordered = [by_position[position][time] for time in range(times) for position in positions]
    if len(positions) == 1:
        return _stack(ordered, "T", {}, name, place)
    known = {"Z": _step(place, positions)}
    if times == 1:
        return _stack(ordered, "Z", known, name, place)
    return _stack(ordered, "TZ", known, name, place, lengths=(times, len(positions)))


def _step(place: Path, positions: Sequence[float]) -> Spacing:
    """Return the distance of slices.

    Raises
    ------
    ImageError
        It is not the same everywhere.
    """
    steps = np.diff(positions)
    step = float(np.median(steps))
    if step <= 0 or np.abs(steps - step).max() > max(_UNEVEN * step, 0.02):
        raise ImageError(
            f"{place}: expected slices at even distances, but they are {steps.min():.2f} to {steps.max():.2f} mm "
            "apart; add the slices that are missing, or open single files."
        )
    return (float(np.mean(steps)), "millimeter")


def _stack(
    frames: list[Frame],
    axes: str,
    distances: dict[str, Spacing],
    name: str,
    place: Path,
    *,
    lengths: tuple[int, ...] | None = None,
) -> ImageData:
    stack = _Stack(frames)
    check_shape(place, stack.shape, frames[0].shape[:2])
    size = int(np.prod(stack.shape)) * stack.dtype.itemsize
    data: Any = stack.read() if size <= EAGER_BYTES else lazy(stack, place, (1, *stack.shape[1:]))
    if lengths is not None:
        data = data.reshape((*lengths, *stack.shape[1:]))
    first = frames[0]
    where = dicom_headers.orientation(first.header, first.geometry)
    windows = {frame.rescaling.window for frame in frames}
    return ImageData(
        data,
        name,
        place,
        len(first.shape) == 3,
        axes=f"{axes}YX",
        spacing=dicom_headers.pixel_spacing(first.header) | distances,
        orientation=where if "Z" in axes and len(where) == 3 else where[-2:],
        window=windows.pop() if len(windows) == 1 else frames[len(frames) // 2].rescaling.window,
    )


def _when(frame: Frame) -> tuple[float, ...]:
    """Return what tells the times of one slice apart."""
    names = ("TemporalPositionIdentifier", "TriggerTime", "AcquisitionNumber", "InstanceNumber")
    return (*(float(frame.header.get(name) or 0) for name in names), frame.index)
