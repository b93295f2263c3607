"""Image and mask files to arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import LabelsError
from napari_amvlm.imaging.decoding import decode

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class ImageData:
    """An image as it is stored.

    Attributes
    ----------
    data
        `(H, W)` or `(H, W, 3)` in its own dtype; 1-bit images are uint8 with 0 and 255.
    name
        Stem of the file.
    path
        The file, None for an image that has none.
    rgb
        Whether the last axis is colour.
    """

    data: NDArray[Any]
    name: str
    path: Path | None
    rgb: bool


def read_image(path: str | Path) -> ImageData:
    """Read a PNG, JPEG or TIFF file: 8 or 16 bit or float, gray, RGB, RGBA (alpha is dropped), palette or 1-bit.

    Raises
    ------
    ImageError
        The file is not there, unreadable, of another kind, cut off, larger than 400 million pixels, a stack, or has 2
        channels.
    """
    file = Path(path)
    pixels = decode(file, indices=False).pixels
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    return ImageData(pixels, file.stem, file, pixels.ndim == 3)


def read_mask(path: str | Path, shape: tuple[int, ...] | None = None) -> NDArray[Any]:
    """Read label values, `(H, W)`, of an integer type.

    Values are taken as they are stored: palette files give their indices, 1-bit files 0 and 1, and TIFF files in which
    0 is shown as white are not inverted.  A colour file must have equal channels.  JPEG blurs
    values, so in it 128 and above is 255, all else 0.

    Parameters
    ----------
    path
        PNG, TIFF or JPEG file.
    shape
        Height and width that the mask must have, pixels; None accepts any.

    Raises
    ------
    ImageError
        The file cannot be read.
    LabelsError
        Another shape, a colour picture, or values that are not whole numbers.
    """
    file = Path(path)
    decoded = decode(file, indices=True)
    labels = decoded.pixels
    if labels.ndim == 3:
        if not (labels == labels[..., :1]).all():
            raise LabelsError(
                f"{file}: expected a mask with one value per pixel, but it is a colour picture; save it as gray."
            )
        labels = np.ascontiguousarray(labels[..., 0])
    if shape is not None and labels.shape != tuple(shape[:2]):
        height, width = labels.shape
        raise LabelsError(
            f"{file}: expected a mask of {shape[0]}x{shape[1]} pixels like its image, but got {height}x{width}; "
            "give the mask that belongs to the image."
        )
    if decoded.lossy:
        return np.where(labels >= 128, np.uint8(255), np.uint8(0))
    if labels.dtype == np.bool_:
        return labels.astype(np.uint8)
    return _whole_numbers(labels, file)


def _whole_numbers(labels: NDArray[Any], file: Path) -> NDArray[Any]:
    """Return labels of an integer type."""
    if np.issubdtype(labels.dtype, np.integer):
        return labels
    limit = np.iinfo(np.int32).max
    if not (np.isfinite(labels).all() and (np.abs(labels) <= limit).all() and (labels == np.rint(labels)).all()):
        raise LabelsError(
            f"{file}: expected whole numbers as label values, but got {labels.dtype} values with fractions or beyond "
            f"{limit}; save labels as integers, or a probability map after a threshold."
        )
    return labels.astype(np.int32)
