"""Where a person who corrects a mask with strokes puts the next one: across the largest error, as a pure function."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_amvlm.review.followed import Stroke

if TYPE_CHECKING:
    from numpy.typing import NDArray

LENGTH, WIDTH = 30, 3
"""Of a stroke, pixels."""

_DIRECTIONS = 12
"""Directions that a person chooses between, over half a turn."""


def next_stroke(
    mask: NDArray[np.bool_], truth: NDArray[np.bool_], *, length: int = LENGTH, width: int = WIDTH
) -> Stroke | None:
    """Return a straight stroke through the largest connected error, or None where nothing is wrong.

    It goes through the pixel of the error that is farthest from its border, in that one of 12 directions in which it
    covers most of the error. Only pixels are painted that belong to the object, and only others are erased.

    Parameters
    ----------
    mask, truth
        bool `(H, W)`.
    length, width
        Of the stroke, pixels.
    """
    largest: tuple[int, NDArray[np.bool_], bool] | None = None
    for error, positive in ((truth & ~mask, True), (mask & ~truth, False)):
        pieces, _ = ndimage.label(error)
        sizes = np.bincount(pieces.ravel())[1:]
        if sizes.size and (largest is None or sizes.max() > largest[0]):
            largest = int(sizes.max()), pieces == sizes.argmax() + 1, positive
    if largest is None:
        return None
    _, piece, positive = largest
    row, column = deepest(piece)
    along = np.arange(length) - length // 2
    best: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None
    most = -1
    for angle in np.arange(_DIRECTIONS) * np.pi / _DIRECTIONS:
        rows = np.round(row + along * np.sin(angle)).astype(np.int64)
        columns = np.round(column + along * np.cos(angle)).astype(np.int64)
        inside = (rows >= 0) & (rows < piece.shape[0]) & (columns >= 0) & (columns < piece.shape[1])
        covered = int(piece[rows[inside], columns[inside]].sum())
        if covered > most:
            most, best = covered, (rows[inside], columns[inside])
    assert best is not None
    painted = np.zeros_like(mask)
    painted[best] = True
    painted = ndimage.binary_dilation(painted, np.ones((width, width), np.bool_)) & (truth == positive)
    rows, columns = np.nonzero(painted)
    return Stroke(rows, columns, positive)


def deepest(piece: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the pixel of a piece that is farthest from its border, which the image's border is part of."""
    box = ndimage.find_objects(piece.astype(np.int8))[0]
    depth = ndimage.distance_transform_edt(np.pad(piece[box], 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(row) + box[0].start, int(column) + box[1].start
