"""Pixel values of any type to float32 RGB in [0, 1]."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import ImageError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

MIN_SIDE = 16
"""Images with a shorter side, pixels, show nothing that can be segmented."""

PERCENTILES = (0.5, 99.5)
_SAMPLE = 1 << 20


def to_rgb01(
    array: ArrayLike, *, name: str = "image", limits: tuple[float, float] | None = None
) -> NDArray[np.float32]:
    """Bring an image to three channels with values in [0, 1].

    uint8 colour is divided by 255.  Everything else is stretched: the percentiles 0.5 and 99.5 of its finite pixels,
    all channels jointly, become 0 and 1 (taken from an even sample where there are more than a million pixels); where
    both are the same, the least and the greatest value do.  A constant image becomes 0.  Pixels that are not finite
    take the lowest finite value.

    Parameters
    ----------
    array
        `(H, W)`, `(H, W, 1)`, `(H, W, 3)` or `(H, W, 4)` (alpha is dropped): bool, integers or floats.
    limits
        The values that become 0 and 1 where something is stretched, for a part of a larger image: see `value_limits`.
        The part may then be of any size, and have no finite pixel.

    Returns
    -------
    ndarray
        float32 `(H, W, 3)` in [0, 1].

    Raises
    ------
    ImageError
        Another number of dimensions or channels, a side below 16 pixels, no finite pixel, or values that are not
        real numbers.
    """
    pixels = _checked(np.asarray(array), name, least=MIN_SIDE if limits is None else 1)
    if pixels.dtype == np.bool_:
        values = pixels.astype(np.float32)
    elif pixels.dtype == np.uint8 and pixels.ndim == 3:
        values = pixels.astype(np.float32) / np.float32(255)
    else:
        values = _stretched(pixels, name, limits)
    if values.ndim == 2:
        values = np.repeat(values[..., None], 3, axis=2)
    return values


def value_limits(array: ArrayLike, *, name: str = "image") -> tuple[float, float]:
    """Return the values that `to_rgb01` makes 0 and 1, from an image or a sample of it, for the parts of the image.

    Raises
    ------
    ImageError
        As `to_rgb01` does.
    """
    pixels = _checked(np.asarray(array), name)
    if pixels.dtype == np.bool_:
        return 0.0, 1.0
    if pixels.dtype == np.uint8 and pixels.ndim == 3:
        return 0.0, 255.0
    low, high = _limits(_finite(pixels, name, None))
    return float(low), float(high)


def is_gray(pixels: NDArray[Any]) -> bool:
    """Tell whether an image `(H, W)` or `(H, W, C)` has no colours; alpha does not count."""
    return pixels.ndim == 2 or bool((pixels[..., :1] == pixels[..., 1:3]).all())


def count_nonfinite(array: ArrayLike) -> int:
    """Return how many values are NaN or infinite.

    Examples
    --------
    >>> count_nonfinite([[1.0, float("nan")], [float("inf"), 2.0]])
    2
    """
    values = np.asarray(array)
    if not np.issubdtype(values.dtype, np.inexact):
        return 0
    return int(values.size - np.count_nonzero(np.isfinite(values)))


def _checked(pixels: NDArray[Any], name: str, *, least: int = MIN_SIDE) -> NDArray[Any]:
    """Return `(H, W)` or `(H, W, 3)`, once shape and type are known to be right."""
    if pixels.dtype.kind not in "buif":
        raise ImageError(f"{name}: expected integers or real numbers, but got {pixels.dtype}; convert it first.")
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim not in (2, 3):
        raise ImageError(
            f"{name}: expected one image, gray (H, W) or RGB (H, W, 3), but got the shape {pixels.shape}; "
            "take one plane of it."
        )
    if pixels.ndim == 3 and pixels.shape[2] not in (3, 4):
        raise ImageError(
            f"{name}: expected 1 (gray), 3 (RGB) or 4 (RGBA) channels in the last dimension, but got "
            f"{pixels.shape[2]}, shape {pixels.shape}; give one channel, or three as RGB."
        )
    if min(pixels.shape[:2]) < least:
        height, width = pixels.shape[:2]
        raise ImageError(
            f"{name}: expected at least {least}x{least} pixels, but got {height}x{width}; give a larger image."
        )
    return pixels[..., :3] if pixels.ndim == 3 else pixels


def _stretched(pixels: NDArray[Any], name: str, limits: tuple[float, float] | None) -> NDArray[np.float32]:
    """Stretch between two values, by default two percentiles, to [0, 1]."""
    work = _finite(pixels, name, None if limits is None else limits[0])
    low, high = _limits(work) if limits is None else (work.dtype.type(limit) for limit in limits)
    # Halves, so that the difference of the two cannot overflow.
    half_span = high / 2 - low / 2
    if half_span == 0:
        return np.zeros(work.shape, np.float32)
    np.clip(work, low, high, out=work)
    np.multiply(work, 0.5, out=work)
    np.subtract(work, low / 2, out=work)
    np.divide(work, half_span, out=work)
    return np.asarray(np.clip(work, 0, 1), dtype=np.float32)


def _finite(pixels: NDArray[Any], name: str, lowest: float | None) -> NDArray[np.floating[Any]]:
    """Return a copy as real numbers, with `lowest`, by default the lowest finite value, for what is not finite."""
    # What 16 bits hold is exact in float32; all else keeps its precision until it is in [0, 1].
    narrow = pixels.dtype.itemsize <= 2 or pixels.dtype == np.float32
    work: NDArray[np.floating[Any]] = pixels.astype(np.float32 if narrow else np.float64)
    if pixels.dtype.kind == "f":
        finite = np.isfinite(work)
        if lowest is None and not finite.any():
            raise ImageError(f"{name}: expected a finite pixel, but all are NaN or infinite; check the file.")
        work[~finite] = work.min(where=finite, initial=np.inf) if lowest is None else lowest
    return work


def _limits(work: NDArray[np.floating[Any]]) -> tuple[Any, Any]:
    """Return the values that become 0 and 1, of the same type as those given."""
    step = max(1, math.isqrt(work.shape[0] * work.shape[1] // _SAMPLE))
    # Existing values (no interpolation between neighbours) cannot overflow.
    low, high = np.percentile(work[::step, ::step], PERCENTILES, method="nearest")
    if low == high:
        low, high = work.min(), work.max()
    return work.dtype.type(low), work.dtype.type(high)
