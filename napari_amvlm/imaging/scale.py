"""The working scale of an image, and the resampling between it and the image's own size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.errors import ImageError, InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from napari_amvlm.config import ScaleName


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


def resize(image: ArrayLike, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Resample an image: bilinear where it grows, with a triangle filter as wide as the step where it shrinks.

    Pixel centres lie at half-integers, so resizing to `shape` and back does not shift anything.

    Parameters
    ----------
    image
        `(H, W)` or `(H, W, C)`, real numbers.
    shape
        Height and width wanted, pixels.

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
    if source.shape[:2] == (height, width):
        return source.copy()
    planes = source[..., None] if source.ndim == 2 else source
    result = np.empty((height, width, planes.shape[2]), np.float32)
    for channel in range(planes.shape[2]):
        plane = Image.fromarray(np.ascontiguousarray(planes[..., channel]))
        result[..., channel] = np.asarray(plane.resize((width, height), Image.Resampling.BILINEAR))
    return result[..., 0] if source.ndim == 2 else result
