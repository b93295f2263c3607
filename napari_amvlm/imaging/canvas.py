"""The square canvas that an image is fitted into when it is seen whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.imaging.scale import resize, whole_scale

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
