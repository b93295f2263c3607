"""DICOM files and folders: planes, multi-frame files, and the slices of a series put together to a volume."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import ImageError, IncompleteWarning
from napari_amvlm.imaging.formats import dicom_headers, dicom_values
from napari_amvlm.imaging.formats.dicom_frames import Frame, dicom_groups, grouped, read_frames
from napari_amvlm.imaging.formats.lazy import lazy, reading
from napari_amvlm.imaging.formats.limits import EAGER_BYTES, check_shape
from napari_amvlm.imaging.image_data import ImageData, Spacing, image_name, spacing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

MAX_FILES = 20_000
"""A folder with more files than this is not looked through."""

_UNEVEN = 0.1
"""Slices may be this much off their place, as a part of the distance between slices."""

_SAME_POSITION, _LARGEST_JITTER = 0.001, 0.05
"""Millimeters: slices that are nearer are at one position in any case; slices that are farther, at two."""


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
    """Describe the images in a DICOM file: a plane, or the frames of a multi-frame file.

    Raises
    ------
    ImageError
        There is no image in it, or it cannot be read.
    """
    with reading(path):
        header = dicom_headers.read_header(path)
        frames = read_frames(path, header)
        if len(frames) == 1:
            return [_plane(frames[0], image_name(path))]
        if not _are_slices(frames):
            return [_sequence(frames, header, path)]
    return _volumes(grouped(frames), path, image_name(path))


def open_dicom_series(paths: Iterable[Path], folder: Path) -> list[ImageData]:
    """Describe the images in many DICOM files: one volume for all slices that lie side by side.

    Slices of one volume have the same series, size, direction, frame type and echo.  They are sorted by their position
    along their normal; where every position occurs as often, the repetitions are times.  Files without a position are
    images of their own, and a file that is there twice counts once.  What cannot be put together is reported in a
    warning, if there are other images.

    Parameters
    ----------
    paths
        The files; reports and other files without an image are left out.

    Raises
    ------
    ImageError
        No file has an image, or no volume can be put together.
    """
    groups, failures = dicom_groups(paths)
    if not groups:
        empty = ImageError(f"{folder} holds no DICOM image; open the folder of a series.")
        raise next(iter(failures.values()), empty)
    for failure in failures.values():
        warnings.warn(str(failure), IncompleteWarning, stacklevel=2)
    return _volumes(groups, folder, folder.name)


def _volumes(groups: Sequence[list[Frame]], path: Path, name: str) -> list[ImageData]:
    """Describe each group; those that cannot be put together are reported in a warning, if there are others."""
    images: list[ImageData] = []
    failures: list[ImageError] = []
    for number, frames in enumerate(groups, 1):
        title = name if len(groups) == 1 else f"{name} {number}"
        try:
            with reading(path):
                if len(frames) > 1:
                    images.append(_volume(frames, title, path))
                else:
                    images.append(_plane(frames[0], title if frames[0].frames > 1 else image_name(frames[0].path)))
        except ImageError as error:
            failures.append(error)
    if not images:
        raise failures[0]
    for failure in failures:
        warnings.warn(str(failure), IncompleteWarning, stacklevel=2)
    return images


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
        origins=((frame.path, frame.index),),
    )


def _are_slices(frames: Sequence[Frame]) -> bool:
    """Tell whether the frames of a file lie at several places in the patient."""
    if not all(frame.geometry.is_known for frame in frames):
        return False
    return len({(frame.geometry.corner, frame.geometry.rows, frame.geometry.columns) for frame in frames}) > 1


def _sequence(frames: list[Frame], header: Dataset, path: Path) -> ImageData:
    """Describe the frames of one file without positions of their own: slices, else times, else a sequence."""
    name = image_name(path)
    offsets = header.get("GridFrameOffsetVector")
    if offsets is not None and len(offsets) == len(frames):
        steps = [float(offset) for offset in offsets]
        ordered = [frames[number] for number in np.argsort(steps)]
        return _stack(ordered, "Z", {"Z": _step(path, sorted(steps), ordered)}, name, path)
    seconds = spacing(header.get("FrameTime"), "ms")
    if seconds is not None:
        return _stack(frames, "T", {"T": (seconds[0] / 1000, "second")}, name, path)
    timed = any(name in header for name in ("FrameTimeVector", "CineRate", "RecommendedDisplayFrameRate"))
    return _stack(frames, "T" if timed else "I", {}, name, path)


def _volume(frames: list[Frame], name: str, path: Path) -> ImageData:
    """Put slices in the order of their positions; repeated positions are times."""
    by_position = _by_position(frames)
    positions = sorted(by_position)
    repeats = {len(times) for times in by_position.values()}
    if len(repeats) > 1:
        raise ImageError(
            f"{path}: expected every slice of {name} as often as the others, but {len(positions)} places have between "
            f"{min(repeats)} and {max(repeats)} slices; keep the files of one scan in the folder."
        )
    count = repeats.pop()
    for times in by_position.values():
        times.sort(key=_when)
    ordered = [by_position[position][time] for time in range(count) for position in positions]
    if len(positions) == 1:
        return _stack(ordered, "T", {}, name, path)
    distances = {"Z": _step(path, positions, ordered)}
    if count == 1:
        return _stack(ordered, "Z", distances, name, path)
    return _stack(ordered, "TZ", distances, name, path, lengths=(count, len(positions)))


def _by_position(frames: Sequence[Frame]) -> dict[float, list[Frame]]:
    """Return frames by their position along their common normal; what scanners round makes no other position."""
    first = frames[0].geometry
    placed = sorted(((first.distance_of(frame.geometry), frame) for frame in frames), key=lambda pair: pair[0])
    gaps = np.diff([position for position, _ in placed])
    same = max(_SAME_POSITION, min(_UNEVEN * float(gaps.max()), _LARGEST_JITTER))
    by_position: dict[float, list[Frame]] = {placed[0][0]: [placed[0][1]]}
    current = placed[0][0]
    for gap, (position, frame) in zip(gaps, placed[1:], strict=True):
        if gap > same:
            current = position
        by_position.setdefault(current, []).append(frame)
    return by_position


def _step(path: Path, positions: Sequence[float], frames: Sequence[Frame]) -> Spacing:
    """Return the distance of slices, at these positions in the order of `frames`.

    Raises
    ------
    ImageError
        It is not the same everywhere.
    """
    steps = np.diff(positions)
    step = float(np.median(steps))
    off = np.abs(steps - step)
    if step <= 0 or off.max() > max(_UNEVEN * step, 0.02):
        worst = int(off.argmax())
        one, next_one = (
            f"frame {frame.index + 1}" if frame.frames > 1 else frame.path.name for frame in frames[worst : worst + 2]
        )
        raise ImageError(
            f"{path}: expected slices at even distances, {step:.2f} mm, but {one} and {next_one} are "
            f"{steps[worst]:.2f} mm apart; add the slices that are missing, or open single files."
        )
    return (float(np.mean(steps)), "millimeter")


def _stack(
    frames: list[Frame],
    axes: str,
    distances: dict[str, Spacing],
    name: str,
    path: Path,
    *,
    lengths: tuple[int, ...] | None = None,
) -> ImageData:
    stack = _Stack(frames)
    check_shape(path, stack.shape, frames[0].shape[:2])
    size = int(np.prod(stack.shape)) * stack.dtype.itemsize
    data: Any = stack.read() if size <= EAGER_BYTES else lazy(stack, path, (1, *stack.shape[1:]))
    if lengths is not None:
        data = data.reshape((*lengths, *stack.shape[1:]))
    first = frames[0]
    where = dicom_headers.orientation(first.header, first.geometry)
    windows = {frame.rescaling.window for frame in frames}
    return ImageData(
        data,
        name,
        path,
        len(first.shape) == 3,
        axes=f"{axes}YX",
        spacing=dicom_headers.pixel_spacing(first.header) | distances,
        orientation=where if "Z" in axes and len(where) == 3 else where[-2:],
        window=windows.pop() if len(windows) == 1 else frames[len(frames) // 2].rescaling.window,
        origins=tuple((frame.path, frame.index) for frame in frames),
    )


def _when(frame: Frame) -> tuple[float, ...]:
    """Return what tells the times of one slice apart."""
    names = (
        "TemporalPositionIdentifier",
        "TemporalPositionIndex",
        "TriggerTime",
        "AcquisitionNumber",
        "InstanceNumber",
    )
    return (*(float(frame.header.get(name) or 0) for name in names), frame.index)
