"""The working scale of an image, and the resampling between it and the image's own size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import ImageError, InputError
from napari_amvlm.imaging.image_data import MICROMETERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    from napari_amvlm.config import ScaleName
    from napari_amvlm.imaging.image_data import ImageData, Spacing


_SAME_SIZE = 0.1
_MOST_RESIZED = 8.0


@dataclass(frozen=True)
class WorkingScale:
    """How an image is looked at.

    Attributes
    ----------
    name
        "whole": the image is resized to one canvas; "tiles": it is cut into tiles.
    factor
        The image is resized by this factor before the network sees it.
    """

    name: ScaleName
    factor: float


def whole_scale(shape: tuple[int, int], long_side: int) -> WorkingScale:
    """Return the scale at which the longer side of `shape` (height, width) is `long_side` pixels."""
    if min(shape) < 1 or long_side < 1:
        raise InputError(f"Expected an image shape and a long side of at least 1 pixel, but got {shape}, {long_side}.")
    return WorkingScale("whole", long_side / max(shape))


def tile_scale(magnification: float = 1.0) -> WorkingScale:
    """Return the scale for tiles: native, or native times `magnification`."""
    if not (math.isfinite(magnification) and magnification > 0):
        raise InputError(f"Expected a magnification above 0, for instance 1.0, but got {magnification}.")
    return WorkingScale("tiles", float(magnification))


def magnification_by_size(image: ImageData, micrometers: float) -> float | None:
    """Return the magnification at which the pixels of an image have the size that a model was taught at.

    See `magnification_by_spacing`.
    """
    return magnification_by_spacing(image.spacing or {}, micrometers)


def magnification_by_spacing(spacing: Mapping[str, Spacing], micrometers: float) -> float | None:
    """Return the magnification at which pixels have the size that a model was taught at.

    Parameters
    ----------
    spacing
        By axis letter, the distance of neighbours and its unit; those of Y and X count where they are lengths.
    micrometers
        Of a pixel that the model was taught at.

    Returns
    -------
    float or None
        1.0 where both sizes differ by less than 10 %; None where the file does not say, pixels are not square, or the
        sizes differ by more than a factor of 8: then the image is no picture through a microscope.
    """
    given = [spacing[axis] for axis in "YX" if axis in spacing]
    sizes = [size * MICROMETERS[unit] for size, unit in given if unit in MICROMETERS]
    if len(sizes) < 2 or abs(sizes[0] / sizes[1] - 1) > _SAME_SIZE:
        return None
    factor = (sizes[0] * sizes[1]) ** 0.5 / micrometers
    if abs(factor - 1) < _SAME_SIZE:
        return 1.0
    return factor if 1 / _MOST_RESIZED <= factor <= _MOST_RESIZED else None


def resize(
    image: ArrayLike, shape: tuple[int, int], *, box: tuple[float, float, float, float] | None = None
) -> NDArray[np.float32]:
    """Resample an image: bilinear where it grows, with a triangle filter as wide as the step where it shrinks.

    Pixel centres lie at half-integers, so resizing to `shape` and back does not shift anything.

    Parameters
    ----------
    image
        `(H, W)` or `(H, W, C)`, real numbers.
    shape
        Height and width wanted, pixels.
    box
        The part of the image that becomes the result: top, left, bottom and right in pixels of the image, which need
        not be whole.  What lies around it is still looked at by the filter.  None takes all of the image.

    Returns
    -------
    ndarray
        float32 `(*shape[, C])`, values within the range of the input's.

    Raises
    ------
    ImageError
        An empty image, other dimensions, or a shape below 1 pixel.
    """
    from PIL import Image

    source = np.asarray(image, dtype=np.float32)
    height, width = shape
    if source.ndim not in (2, 3) or 0 in source.shape or height < 1 or width < 1:
        raise ImageError(
            f"Expected an image (H, W) or (H, W, C) and a size of at least 1 pixel, but got {source.shape} and {shape}."
        )
    top, left, bottom, right = box or (0, 0, *source.shape[:2])
    if (top, left, bottom, right) == (0, 0, height, width) and source.shape[:2] == (height, width):
        return source.copy()
    planes = source[..., None] if source.ndim == 2 else source
    result = np.empty((height, width, planes.shape[2]), np.float32)
    for channel in range(planes.shape[2]):
        plane = Image.fromarray(np.ascontiguousarray(planes[..., channel]))
        sampled = plane.resize((width, height), Image.Resampling.BILINEAR, (left, top, right, bottom))
        result[..., channel] = np.asarray(sampled)
    return result[..., 0] if source.ndim == 2 else result


def canvas_box(shape: tuple[int, int], side: int) -> tuple[int, int, int, int]:
    """Return where an image of `shape` lies in its canvas: top, left, height, width in canvas pixels."""
    factor = whole_scale(shape, side).factor
    height, width = (max(1, min(side, round(length * factor))) for length in shape)
    return (side - height) // 2, (side - width) // 2, height, width


def fit_square(image: NDArray[np.generic], side: int) -> NDArray[np.float32]:
    """Resize so that the long side is `side` pixels and pad with zeros to a centred square.

    Parameters
    ----------
    image
        `(H, W)` or `(H, W, C)`. A bool image stays binary: 1 where at least half of a pixel was True.
    side
        Side of the canvas, pixels.

    Returns
    -------
    ndarray
        float32 `(side, side[, C])`.
    """
    top, left, height, width = canvas_box((image.shape[0], image.shape[1]), side)
    small = resize(image.astype(np.float32), (height, width))
    if image.dtype == np.bool_:
        small = (small >= 0.5).astype(np.float32)
    canvas = np.zeros((side, side, *image.shape[2:]), np.float32)
    canvas[top : top + height, left : left + width] = small
    return canvas


def stretched(image: NDArray[Any], side: int) -> NDArray[Any]:
    """Return `image`, `(H, W)` or `(H, W, 3)`, as a square: bilinear, without antialiasing, of the same dtype.

    This is how LViT and AMVLM resize; `resize` filters where it shrinks.
    """
    from skimage.transform import resize as sample

    shape = (side, side, *image.shape[2:])
    wide = image.astype(np.float64)
    resized = sample(wide, shape, order=1, mode="edge", anti_aliasing=False, preserve_range=True)
    if np.issubdtype(image.dtype, np.integer):
        return np.asarray(np.rint(resized).astype(image.dtype))
    return np.asarray(resized.astype(np.float32))


def stretched_labels(labels: NDArray[Any], side: int) -> NDArray[Any]:
    """Return `labels`, `(H, W)`, as a square by nearest neighbour."""
    rows, columns = (((np.arange(side) + 0.5) * length / side).astype(np.intp) for length in labels.shape)
    return np.asarray(labels[np.ix_(rows, columns)])
