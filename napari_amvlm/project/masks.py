"""Masks as compressed TIFF files that are written whole or not at all, and checked when read."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import tifffile

from napari_amvlm.errors import ImageError, LabelsError, ProjectError
from napari_amvlm.files import write_atomically
from napari_amvlm.imaging.formats.lazy import reading
from napari_amvlm.imaging.formats.limits import MAX_PIXELS
from napari_amvlm.project.storage import short_path

if TYPE_CHECKING:
    from pathlib import Path

BoolArray = npt.NDArray[np.bool_]


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
        Another shape than the image's, or values that are no whole numbers from 0 to 2**32 - 1.
    """
    array = np.asarray(values)
    if array.shape != shape:
        raise LabelsError(
            f"{name} must have the shape {shape} of its image, but have {array.shape}: use that image's labels."
        )
    if not np.issubdtype(array.dtype, np.integer):
        raise LabelsError(f"{name} must be whole numbers, but are {array.dtype}: give a label image.")
    least, largest = int(array.min()), int(array.max())
    if least < 0 or largest > np.iinfo(np.uint32).max:
        raise LabelsError(f"{name} must lie between 0 and 2**32 - 1, but go from {least} to {largest}: renumber them.")
    kind = np.min_scalar_type(largest)
    return array.astype(np.uint32 if kind.itemsize > 4 else kind)


def check_shape(path: Path, shape: tuple[int, int]) -> None:
    """Raise a `ProjectError` where the ledger at `path` gives an image a size that no image can have."""
    if shape[0] * shape[1] > MAX_PIXELS:
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
