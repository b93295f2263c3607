"""Masks as compressed TIFF files of corrections and drafts: checked, written whole or not at all, and read back."""

from __future__ import annotations

import contextlib
import hashlib
import io
import sqlite3
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import tifffile

from napari_amvlm.errors import ImageError, LabelsError, ProjectError, StorageError
from napari_amvlm.files import remove_quietly, write_atomically
from napari_amvlm.imaging.formats.lazy import reading
from napari_amvlm.imaging.formats.limits import MAX_PIXELS
from napari_amvlm.imaging.instances import HIGHEST_NUMBER
from napari_amvlm.project.storage import inside, short_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from napari_amvlm.project.records import Answer, CorrectionRecord, DraftRecord, ImageRecord

BoolArray = npt.NDArray[np.bool_]

_UNSURE = frozenset({sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC})
"""Failures after which SQLite's log may hold the row all the same, so its mask must stay."""


def encode_tiff(array: npt.NDArray[Any]) -> bytes:
    """Return an `(H, W)` or `(H, W, 3)` array as a zlib-compressed TIFF."""
    buffer = io.BytesIO()
    photometric = "rgb" if array.ndim == 3 else "minisblack"
    tifffile.imwrite(buffer, array, compression="zlib", photometric=photometric, metadata=None)
    return buffer.getvalue()


def as_mask(values: npt.ArrayLike, shape: tuple[int, int], name: str) -> BoolArray:
    """Return an own bool copy of a mask of `shape`; integers count as True where they are not 0.

    Raises
    ------
    LabelsError
        Another shape than the image's, or values that are neither bool nor integer.
    """
    array = np.asarray(values)
    if array.shape != shape:
        raise LabelsError(
            f"{name} must have the shape {shape} of its image, but has {array.shape}: use that image's labels."
        )
    if array.dtype != np.bool_ and not np.issubdtype(array.dtype, np.integer):
        raise LabelsError(f"{name} must hold bool or integer values, but holds {array.dtype}: apply a threshold first.")
    return np.array(array != 0, dtype=np.bool_)


def as_objects(values: npt.ArrayLike, shape: tuple[int, int], name: str) -> npt.NDArray[Any]:
    """Return object numbers of `shape` in the smallest unsigned type that holds them; 0 is background.

    Raises
    ------
    LabelsError
        Another shape than the image's, or values that are no whole numbers from 0 to `HIGHEST_NUMBER`.
    """
    array = np.asarray(values)
    if array.shape != shape:
        raise LabelsError(
            f"{name} must have the shape {shape} of its image, but have {array.shape}: use that image's labels."
        )
    if not np.issubdtype(array.dtype, np.integer):
        raise LabelsError(f"{name} must be whole numbers, but are {array.dtype}: give a label image.")
    least, largest = int(array.min()), int(array.max())
    if least < 0 or largest > HIGHEST_NUMBER:
        raise LabelsError(
            f"{name} must have numbers from 0 to {HIGHEST_NUMBER}, but go from {least} to {largest}: renumber them."
        )
    return array.astype(np.min_scalar_type(largest))


def check_shape(path: Path, shape: tuple[int, int]) -> None:
    """Raise a `ProjectError` where the ledger at `path` gives an image a size that no image can have."""
    if min(shape) < 1 or shape[0] * shape[1] > MAX_PIXELS:
        raise ProjectError(
            f"{short_path(path)} is damaged, it has an image of {shape[0]}x{shape[1]} pixels: restore a backup."
        )


def write_mask(path: Path, mask: BoolArray) -> str:
    """Write a bool mask `(H, W)` durably as 0 and 255; return the SHA-256 of the file."""
    return write_map(path, mask.astype(np.uint8) * np.uint8(255))


def write_map(path: Path, values: npt.NDArray[Any]) -> str:
    """Write states or object numbers `(H, W)` durably as they are; return the SHA-256 of the file."""
    content = encode_tiff(values)
    write_atomically(path, lambda temporary: temporary.write_bytes(content))
    return hashlib.sha256(content).hexdigest()


def read_mask(path: Path, shape: tuple[int, int], sha256: str) -> BoolArray:
    """Read a mask that `write_mask` wrote; bool, `shape`. Errors are those of `read_map`."""
    return np.asarray(read_map(path, shape, sha256) != 0, dtype=np.bool_)


def read_map(path: Path, shape: tuple[int, int], sha256: str) -> npt.NDArray[Any]:
    """Read what `write_map` wrote, `shape`.

    Raises
    ------
    ProjectError
        The file is gone, or is not bit by bit what was written, or not of its image's shape.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ProjectError(
            f"the mask {short_path(path)} cannot be read ({error.strerror}): restore it from a backup, or accept that "
            "image again."
        ) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ProjectError(
            f"the mask {short_path(path)} was changed after it was accepted: restore it from a backup, or accept that "
            "image again."
        )
    check_shape(path, shape)
    try:
        # The hash stands in the same ledger, so it tells of an accident but not of a stranger's file.
        with reading(path, quiet=False), tifffile.TiffFile(io.BytesIO(content)) as file:
            series = file.series[0]
            if series.shape != shape or series.dtype.kind not in "bu":
                raise ProjectError(
                    f"the mask {short_path(path)} has the shape {series.shape} where its image has {shape}: accept "
                    "that image again."
                )
            return np.asarray(series.asarray())
    except ImageError as error:
        raise ProjectError(f"the mask cannot be read: {error}") from error


def checked_maps(image: ImageRecord, answer: Answer) -> dict[str, npt.NDArray[Any]]:
    """Return the masks of an answer by kind, each of its image's shape.

    Raises
    ------
    LabelsError
        A mask does not fit the image, or the objects do not cover the mask.
    """
    maps: dict[str, npt.NDArray[Any]] = {"mask": as_mask(answer.mask, image.shape, f"the mask of {image.name}")}
    if answer.before is not None:
        maps["before"] = as_mask(answer.before, image.shape, f"the earlier mask of {image.name}")
    if answer.reviewed is not None:
        looked_at = as_mask(answer.reviewed, image.shape, f"the reviewed pixels of {image.name}")
        if not looked_at.all():
            maps["reviewed"] = looked_at
    if answer.objects is not None:
        maps["objects"] = as_objects(answer.objects, image.shape, f"the objects of {image.name}")
        if not np.array_equal(maps["objects"] > 0, maps["mask"]):
            raise LabelsError(f"the objects of {image.name} must cover just its mask: take mask = objects > 0.")
    if answer.magnification is not None and not answer.magnification > 0:
        raise LabelsError(f"the magnification of {image.name} must be above 0, but is {answer.magnification}.")
    return maps


class MaskFiles:
    """The mask files in one folder of a project."""

    def __init__(self, root: Path, folder: str) -> None:
        self._root = root
        self._folder = folder

    @contextlib.contextmanager
    def written(self, image_id: int, maps: dict[str, npt.NDArray[Any]]) -> Iterator[dict[str, str]]:
        """Write masks, and yield the columns `KIND_file` and `KIND_sha256` of their row.

        The files are removed again where the body fails to enter that row.

        Raises
        ------
        StorageError
            The disk refused; no file is left.
        """
        token = uuid.uuid4().hex
        columns: dict[str, str] = {}
        files = {kind: f"{self._folder}/{image_id:06d}-{token}-{kind}.tif" for kind in maps}
        try:
            for kind, values in maps.items():
                write = write_mask if values.dtype == np.bool_ else write_map
                columns[f"{kind}_sha256"] = write(inside(self._root, files[kind]), values)
                columns[f"{kind}_file"] = files[kind]
            yield columns
        except Exception as error:
            cause = error.__cause__ if isinstance(error, StorageError) else None
            if getattr(cause, "sqlite_errorcode", None) not in _UNSURE:
                self.remove(files.values())
            raise

    def mask(self, record: CorrectionRecord | DraftRecord, kind: str, shape: tuple[int, int]) -> BoolArray:
        """Return the file of a kind as bool `shape`; `ProjectError` where it is gone or was changed."""
        return read_mask(*self._file(record, kind, shape))

    def map(self, record: CorrectionRecord | DraftRecord, kind: str, shape: tuple[int, int]) -> npt.NDArray[Any]:
        """Return the file of a kind as it is, `shape`; `ProjectError` where it is gone or was changed."""
        return read_map(*self._file(record, kind, shape))

    def _file(
        self, record: CorrectionRecord | DraftRecord, kind: str, shape: tuple[int, int]
    ) -> tuple[Path, tuple[int, int], str]:
        file, sha256 = getattr(record, f"{kind}_file"), getattr(record, f"{kind}_sha256")
        return inside(self._root, file), shape, sha256 or ""

    def remove(self, files: Iterable[str]) -> None:
        """Remove files that no row names any more."""
        for relative in files:
            remove_quietly(inside(self._root, relative))
