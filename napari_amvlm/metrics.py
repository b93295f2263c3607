"""Dice and IoU of two masks (Pan et al. 2025, metrics); numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import LabelsError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Overlap:
    """How well a predicted mask fits its target.

    Attributes
    ----------
    dice
        `2 |P & T| / (|P| + |T|)`, in `[0, 1]`; 1 where both are empty.
    iou
        `|P & T| / |P | T|`, in `[0, 1]`; 1 where both are empty.
    """

    dice: float
    iou: float


def overlap(prediction: NDArray[Any], target: NDArray[Any], *, threshold: float = 0.5) -> Overlap:
    """Return Dice and IoU of one image.

    Parameters
    ----------
    prediction, target
        Masks of one shape. Boolean arrays are taken as they are, in integer arrays every value above 0 is foreground,
        and floating-point arrays are probabilities: foreground at `threshold` and above.
    threshold
        Where a probability becomes foreground.

    Raises
    ------
    LabelsError
        The two shapes differ.

    Examples
    --------
    >>> overlap(np.array([True, True, False]), np.array([True, False, False])).iou
    0.5
    """
    if prediction.shape != target.shape:
        raise LabelsError(
            f"The prediction has shape {prediction.shape} and its target {target.shape}; they must have one shape: "
            "resize one of them with nearest-neighbour interpolation first."
        )
    predicted, wanted = _foreground(prediction, threshold), _foreground(target, threshold)
    shared = int(np.count_nonzero(predicted & wanted))
    total = int(np.count_nonzero(predicted)) + int(np.count_nonzero(wanted))
    if total == 0:
        return Overlap(1.0, 1.0)
    return Overlap(2 * shared / total, shared / (total - shared))


def dice(prediction: NDArray[Any], target: NDArray[Any], *, threshold: float = 0.5) -> float:
    """Return the Dice coefficient of one image; see `overlap`.

    Examples
    --------
    >>> dice(np.array([1.0, 0.0]), np.array([1.0, 0.0]))
    1.0
    """
    return overlap(prediction, target, threshold=threshold).dice


def iou(prediction: NDArray[Any], target: NDArray[Any], *, threshold: float = 0.5) -> float:
    """Return the intersection over union (Jaccard index) of one image; see `overlap`.

    Examples
    --------
    >>> iou(np.array([True, True]), np.array([False, False]))
    0.0
    """
    return overlap(prediction, target, threshold=threshold).iou


def mean_overlap(overlaps: Iterable[Overlap]) -> Overlap:
    """Return the mean of per-image (or per-class) values, each weighing the same.

    Raises
    ------
    LabelsError
        There is nothing to take the mean of.
    """
    values = list(overlaps)
    if not values:
        raise LabelsError("There is no scored image to take the mean of; give at least one image with its mask.")
    return Overlap(float(np.mean([v.dice for v in values])), float(np.mean([v.iou for v in values])))


def _foreground(mask: NDArray[Any], threshold: float) -> NDArray[np.bool_]:
    """Return the foreground of a boolean, integer or probability mask."""
    if mask.dtype == np.bool_:
        return mask
    if np.issubdtype(mask.dtype, np.integer):
        return np.asarray(mask > 0)
    return np.asarray(mask >= threshold)
