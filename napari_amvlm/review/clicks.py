"""What a click or a drawn line does to a label image `(H, W)`, 0 is background. Every function returns a new image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.errors import LabelsError
from napari_amvlm.review.objects import drawn_line, split_at_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from napari_amvlm.review.objects import Labels

_SMOOTHING = 1.0
"""Standard deviation of the Gaussian that smooths the probability before levels are compared, pixels."""

_LEVELS = 24
"""Levels between the click and its surroundings at which the border of the object is tried."""

_RISE = 0.25
"""An object's logits rise at least so far above those around it."""

_LEAST = 4
"""Smallest object, pixels."""


def object_at(probability: ArrayLike, row: int, column: int, *, radius: int = 64) -> NDArray[np.bool_]:
    """Return the object under a click: the pieces around it that lie above one level, at the level of steepest border.

    The level is not fixed: an object that the model finds improbable is found too if its probability stands out from
    what surrounds it.

    Parameters
    ----------
    probability
        `(H, W)`, in [0, 1].
    row, column
        Pixel that was clicked.
    radius
        The object lies in a square that reaches so far from the click, pixels.

    Returns
    -------
    ndarray
        bool `(H, W)`: one connected object without holes, around the click.

    Raises
    ------
    LabelsError
        The click lies outside, or nothing stands out there.
    """
    from scipy import ndimage

    values = np.asarray(probability, np.float64)
    _require_inside(values.shape, row, column)
    top, left = max(row - radius, 0), max(column - radius, 0)
    window = (slice(top, row + radius + 1), slice(left, column + radius + 1))
    smooth = ndimage.gaussian_filter(np.nan_to_num(values[window]), _SMOOTHING)
    logits, steepness = _logits(smooth), ndimage.gaussian_gradient_magnitude(smooth, _SMOOTHING)
    seed = (row - top, column - left)
    best: NDArray[np.bool_] | None = None
    steepest = 0.0
    for level in np.linspace(smooth[seed], smooth.min(), _LEVELS, endpoint=False)[1:]:
        piece = _piece_at(smooth >= level, seed)
        if _leaves(piece, window, values.shape):
            break
        border = ndimage.binary_dilation(piece) & ~piece
        if piece.sum() < _LEAST or not border.any() or logits[piece].mean() - logits[border].mean() < _RISE:
            continue
        if steepness[border].mean() > steepest:
            best, steepest = piece, float(steepness[border].mean())
    if best is None:
        raise LabelsError(
            f"Nothing stands out at row {row}, column {column}: click on the middle of an object, or paint it."
        )
    mask = np.zeros(values.shape, np.bool_)
    mask[window] = ndimage.binary_fill_holes(best)
    return mask


def add_object(labels: Labels, mask: NDArray[np.bool_]) -> tuple[Labels, int]:
    """Return labels with one more object where the mask shows it and no other object lies, and its number.

    Raises
    ------
    LabelsError
        Other objects cover all of it, shapes differ, or the type of the labels has no free number.
    """
    if mask.shape != labels.shape:
        raise LabelsError(f"The object has the shape {mask.shape}, but the labels have {labels.shape}: give one image.")
    free = mask & (labels == 0)
    if not free.any():
        raise LabelsError("The object is covered by others: select and remove them first.")
    number = int(labels.max(initial=0)) + 1
    if number > np.iinfo(labels.dtype).max:
        raise LabelsError(f"Labels of the type {labels.dtype} have no free number left: convert them to int32.")
    added = labels.copy()
    added[free] = number
    return added, number


def remove_objects(labels: Labels, values: Iterable[int]) -> Labels:
    """Return labels without some objects; numbers that are not there are ignored.

    Examples
    --------
    >>> remove_objects(np.array([[1, 2, 3]]), [2, 9]).tolist()
    [[1, 0, 3]]
    """
    return np.where(np.isin(labels, [value for value in values if value]), 0, labels).astype(labels.dtype)


def cut_along(labels: Labels, line: Sequence[tuple[float, float]]) -> Labels:
    """Return labels in which a drawn line parts every object that it crosses.

    The largest piece keeps the number of its object. Objects that the line enters and does not cross stay as they are.

    Parameters
    ----------
    labels
        `(H, W)`, of an integer type.
    line
        Points `(row, column)` of an open line, at least two.

    Raises
    ------
    LabelsError
        The line parts no object.
    """
    if len(line) < 2:
        raise LabelsError("A line needs at least two points: draw it across an object.")
    crossed = np.unique(labels[drawn_line(line, labels.shape)])
    cut = labels
    for value in crossed[crossed > 0].tolist():
        try:
            cut = split_at_line(cut, value, line)
        except LabelsError:
            continue  # the line ends inside this object
    if cut is labels:
        raise LabelsError("The line parts no object: draw it across one, from side to side.")
    return cut


def _require_inside(shape: tuple[int, ...], row: int, column: int) -> None:
    if len(shape) != 2 or not (0 <= row < shape[0] and 0 <= column < shape[1]):
        raise LabelsError(f"The click at row {row}, column {column} is outside the image of shape {shape}.")


def _logits(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    bounded = np.clip(probability, 1e-4, 1 - 1e-4)
    return np.asarray(np.log(bounded / (1 - bounded)))


def _piece_at(mask: NDArray[np.bool_], seed: tuple[int, int]) -> NDArray[np.bool_]:
    from scipy import ndimage

    pieces, _ = ndimage.label(mask)
    return np.asarray(pieces == pieces[seed]) & mask


def _leaves(piece: NDArray[np.bool_], window: tuple[slice, slice], shape: tuple[int, ...]) -> bool:
    """Tell whether a piece reaches a side of the window that is no side of the image."""
    rows, columns = window
    return bool(
        (rows.start > 0 and piece[0].any())
        or (rows.stop < shape[0] and piece[-1].any())
        or (columns.start > 0 and piece[:, 0].any())
        or (columns.stop < shape[1] and piece[:, -1].any())
    )
