"""The pixels of images that a project keeps, and the hashes by which images are known."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import ImageError, ProjectError
from napari_amvlm.imaging import read_image
from napari_amvlm.project.storage import sha256_of_file, short_path

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from napari_amvlm.project.records import ImageRecord


def storable_array(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array as it is kept: without alpha, in this machine's byte order.

    Raises
    ------
    ImageError
        It is no image, or holds no numbers.
    """
    array = np.asarray(array)
    if array.ndim == 3 and array.shape[-1] == 4:
        array = array[..., :3]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[-1] != 3) or 0 in array.shape:
        raise ImageError(f"an image must have the shape (H, W) or (H, W, 3), but has {array.shape}: pick one plane.")
    if array.dtype.kind not in "buif":
        raise ImageError(f"an image must hold numbers, but holds {array.dtype}: convert it to integers or floats.")
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    array = np.ascontiguousarray(array)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def array_hash(array: npt.NDArray[Any]) -> str:
    """Return the hex SHA-256 of dtype, shape and pixels."""
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape} ".encode())
    digest.update(array.tobytes())
    return digest.hexdigest()


def has_content(path: Path, sha256: str) -> bool:
    """Tell whether a file can be read and has this hash."""
    try:
        return sha256_of_file(path) == sha256
    except OSError:
        return False


def read_stored(record: ImageRecord) -> npt.NDArray[Any]:
    """Return the pixels of an image that the project keeps itself; `ProjectError` where its file is gone or changed."""
    try:
        array: npt.NDArray[Any] = np.asarray(read_image(record.path).data)
    except ImageError as error:
        raise ProjectError(
            f"the stored image {short_path(record.path)} cannot be read: restore it from a backup."
        ) from error
    if array_hash(array) != record.sha256:
        raise ProjectError(f"the stored image {short_path(record.path)} was changed: restore it from a backup.")
    return array
