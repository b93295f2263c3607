"""Masks as compressed TIFF files that are written whole or not at all, and checked when read."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import tifffile

from napari_amvlm.errors import LabelsError, ProjectError
from napari_amvlm.project.storage import write_atomically

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


def write_mask(path: Path, mask: BoolArray) -> str:
    """Write a bool mask `(H, W)` durably as 0 and 255; return the SHA-256 of the file."""
    content = encode_tiff(mask.astype(np.uint8) * np.uint8(255))
    write_atomically(path, content)
    return hashlib.sha256(content).hexdigest()


def read_mask(path: Path, shape: tuple[int, int], sha256: str) -> BoolArray:
    """Read a mask that `write_mask` wrote; bool, `shape`.

    Raises
    ------
    ProjectError
        The file is gone, or is not bit by bit what was written, or not of its image's shape.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ProjectError(
            f"the mask {path} cannot be read ({error.strerror}): restore it from a backup, or accept that image again."
        ) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ProjectError(
            f"the mask {path} was changed after it was accepted: restore it from a backup, or accept that image again."
        )
    array = tifffile.imread(io.BytesIO(content))
    if array.shape != shape:
        raise ProjectError(
            f"the mask {path} has the shape {array.shape} where its image has {shape}: accept that image again."
        )
    return np.asarray(array != 0, dtype=np.bool_)
