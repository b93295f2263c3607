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


@dataclass(frozen=True)
class ObjectScores:
    """How well predicted objects fit those of the target.

    Attributes
    ----------
    aji
        Aggregated Jaccard index (Kumar et al., IEEE TMI 2017), in `[0, 1]`.
    pq
        Panoptic quality (Kirillov et al., CVPR 2019), `f1` times the mean IoU of matched objects, in `[0, 1]`.
    f1
        F1 of objects, matched where their IoU is above 0.5, in `[0, 1]`.
    predicted, wanted
        Numbers of objects.

    Where both are empty, all scores are 1.
    """

    aji: float
    pq: float
    f1: float
    predicted: int
    wanted: int

    @property
    def count_error(self) -> float:
        """Difference of the numbers of objects, relative to the target's (to 1 where it has none)."""
        return abs(self.predicted - self.wanted) / max(self.wanted, 1)


def object_scores(prediction: NDArray[np.integer], target: NDArray[np.integer]) -> ObjectScores:
    """Return AJI, PQ and F1 at an IoU of 0.5 of one image.

    Parameters
    ----------
    prediction, target
        Object numbers of one shape; 0 is background, numbers may have gaps.

    Raises
    ------
    LabelsError
        The two shapes differ, or an array does not hold whole numbers from 0 on.

    Examples
    --------
    >>> object_scores(np.array([[1, 1, 0, 2]]), np.array([[7, 7, 0, 0]])).f1
    0.6666666666666666
    """
    if prediction.shape != target.shape:
        raise LabelsError(
            f"The prediction has shape {prediction.shape} and its target {target.shape}; they must have one shape: "
            "resize one of them with nearest-neighbour interpolation first."
        )
    for name, numbers in (("prediction", prediction), ("target", target)):
        if numbers.dtype.kind not in "iu":
            raise LabelsError(f"The {name} holds {numbers.dtype}; expected the numbers of objects: label them first.")
        if numbers.min(initial=0) < 0:
            raise LabelsError(f"The {name} has values below 0; expected 0 for background: number objects from 1 on.")
    _, predicted = np.unique(prediction, return_inverse=True)
    _, wanted = np.unique(target, return_inverse=True)
    # Background is number 0 of both, also where an image has none.
    predicted = predicted.reshape(-1) + int(not (prediction == 0).any())
    wanted = wanted.reshape(-1) + int(not (target == 0).any())
    rows, columns = int(predicted.max(initial=0)) + 1, int(wanted.max(initial=0)) + 1
    from scipy.sparse import coo_array

    counts = coo_array((np.ones(predicted.size, np.int64), (predicted, wanted)), shape=(rows, columns)).tocsr()
    predicted_sizes = np.bincount(predicted, minlength=rows)[1:]
    wanted_sizes = np.bincount(wanted, minlength=columns)[1:]
    pairs = counts[1:, 1:].tocoo()
    shared = pairs.data.astype(float)
    union = predicted_sizes[pairs.row] + wanted_sizes[pairs.col] - shared
    overlaps = shared / union
    if not len(predicted_sizes) and not len(wanted_sizes):
        return ObjectScores(1.0, 1.0, 1.0, 0, 0)
    matched = overlaps[overlaps > 0.5]
    f1 = 2 * len(matched) / (len(predicted_sizes) + len(wanted_sizes))
    pq = f1 * float(matched.mean()) if len(matched) else 0.0
    return ObjectScores(
        _aggregated_jaccard(pairs.row, pairs.col, shared, union, predicted_sizes, wanted_sizes),
        pq,
        f1,
        len(predicted_sizes),
        len(wanted_sizes),
    )


def _aggregated_jaccard(
    rows: NDArray[Any],
    columns: NDArray[Any],
    shared: NDArray[Any],
    union: NDArray[Any],
    predicted_sizes: NDArray[Any],
    wanted_sizes: NDArray[Any],
) -> float:
    """Join each object of the target with the predicted one of highest IoU; what is left over counts as union."""
    order = np.lexsort((-shared / union, columns))
    best = order[np.unique(columns[order], return_index=True)[1]]
    missed = np.ones(len(wanted_sizes), dtype=bool)
    missed[columns[best]] = False
    unused = np.ones(len(predicted_sizes), dtype=bool)
    unused[rows[best]] = False
    whole = union[best].sum() + wanted_sizes[missed].sum() + predicted_sizes[unused].sum()
    return float(shared[best].sum() / whole) if whole else 0.0
