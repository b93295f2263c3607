"""Objects in a label image `(H, W)`, 0 is background: merged, split and renamed. Every function returns a new image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.errors import LabelsError
from napari_amvlm.imaging import bounded_numbers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike, NDArray

    Labels = NDArray[np.integer]

_TOPS_APART = 5
"""Two tops of the probability count as two objects if they are farther apart, pixels."""
_SMOOTHING = 1.0
"""Of a probability before its hills are counted, pixels (standard deviation)."""


def connected_objects(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return numbers, from 1 on, for the pieces of a mask that hang together through pixel sides."""
    from skimage.measure import label

    return np.asarray(label(mask, connectivity=1), dtype=np.int32)


def replace_region(objects: Labels, mask: NDArray[np.bool_], region: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return `objects` with what lies inside `region` as `mask` says; outside nothing changes.

    Pixels that stay keep their object. Pieces that are new belong to the object that they touch along most pixel sides,
    else they are objects of their own.

    Parameters
    ----------
    objects
        Numbers, `(H, W)`.
    mask, region
        Bool `(H, W)`.

    Examples
    --------
    >>> objects, mask = np.array([[1, 2, 0, 0, 0]]), np.array([[False, True, True, False, True]])
    >>> replace_region(objects, mask, np.array([[False, True, True, True, True]])).tolist()
    [[1, 2, 2, 0, 3]]
    """
    kept = np.where(region & ~mask, 0, objects).astype(np.int32)
    pieces = connected_objects(mask & region & (kept == 0))
    count = int(pieces.max(initial=0))
    if not count:
        return kept
    touching: list[NDArray[np.int32]] = []
    for axis in (0, 1):
        ahead, behind = (np.moveaxis(np.stack([pieces, kept]), axis + 1, 1)[:, s] for s in (slice(1, None), slice(-1)))
        touching += [np.stack([ahead[0], behind[1]]).reshape(2, -1), np.stack([behind[0], ahead[1]]).reshape(2, -1)]
    pairs = np.concatenate(touching, axis=1)
    pairs = pairs[:, (pairs > 0).all(axis=0)]
    numbers = np.zeros(count + 1, np.int32)
    if pairs.size:
        pairs, sides = np.unique(pairs, axis=1, return_counts=True)
        order = np.argsort(sides, kind="stable")  # the longest border comes last, and counts
        for piece, number in pairs[:, order].T:
            numbers[piece] = number
    alone = np.flatnonzero(numbers[1:] == 0) + 1
    numbers[alone] = int(kept.max(initial=0)) + np.arange(1, len(alone) + 1)
    return np.where(pieces > 0, numbers[pieces], kept)


def separate_pieces(objects: Labels, joined: Iterable[int] = ()) -> NDArray[np.int32]:
    """Return `objects` with every cut-off piece as an object of its own; the largest piece keeps the number.

    Pieces hang together through pixel sides and corners. Objects of the numbers `joined` stay as they are.

    Examples
    --------
    >>> separate_pieces(np.array([[4, 4, 0, 4, 0, 7, 0, 7]]), joined=[7]).tolist()
    [[4, 4, 0, 8, 0, 7, 0, 7]]
    """
    from skimage.measure import label

    pieces = label(objects, connectivity=2)
    numbers = np.zeros(int(pieces.max(initial=0)) + 1, np.int32)
    numbers[pieces] = objects
    order = np.argsort(-np.bincount(pieces.ravel()), kind="stable")
    seen, highest = {0, *(int(value) for value in joined)}, int(objects.max(initial=0))
    whole = set(seen)
    for piece in order.tolist():
        number = int(numbers[piece])
        if number in seen and number not in whole:
            highest += 1
            numbers[piece] = highest
        seen.add(number)
    return np.asarray(numbers[pieces], dtype=np.int32)


def keep_numbers(objects: Labels, before: Labels) -> NDArray[np.int32]:
    """Return new `objects` with the numbers that they had `before`: an object stays the one that it lies on most.

    Where two lie on one, the one with more of it keeps the number. Objects that lie on none get free numbers.

    Parameters
    ----------
    objects, before
        Numbers, `(H, W)`.

    Examples
    --------
    >>> keep_numbers(np.array([[1, 1, 0, 2, 3]]), np.array([[0, 5, 0, 0, 1]])).tolist()
    [[5, 5, 0, 2, 1]]
    """
    count = int(objects.max(initial=0))
    numbers = np.zeros(count + 1, np.int32)
    span = int(before.max(initial=0)) + 1
    both = (objects > 0) & (before > 0)
    pairs, sizes = np.unique(objects[both].astype(np.int64) * span + before[both], return_counts=True)
    taken: set[int] = set()
    for pair in pairs[np.argsort(-sizes, kind="stable")].tolist():
        piece, number = divmod(pair, span)
        if not numbers[piece] and number not in taken:
            numbers[piece] = number
            taken.add(number)
    used = set(np.unique(before).tolist())
    free = (number for number in range(1, count + len(used) + 2) if number not in used)
    for piece in np.flatnonzero(numbers[1:] == 0) + 1:
        numbers[piece] = next(free)
    return np.asarray(numbers[objects])


def taken_objects(values: ArrayLike, before: Labels) -> NDArray[np.int32]:
    """Return the objects of another label image with numbers that those `before` do not have.

    One value alone says foreground: then each connected piece is an object.

    Examples
    --------
    >>> taken_objects(np.array([[9, 9, 0, 4]]), np.array([[0, 0, 2, 0]])).tolist()
    [[4, 4, 0, 3]]
    >>> taken_objects(np.array([[True, False, True]]), np.array([[0, 2, 0]])).tolist()
    [[3, 0, 4]]
    """
    from skimage.segmentation import relabel_sequential

    chosen = np.maximum(np.asarray(values), 0)
    several = len(np.unique(chosen[chosen > 0])) > 1
    numbers = relabel_sequential(bounded_numbers(chosen))[0] if several else connected_objects(chosen > 0)
    return np.where(numbers > 0, numbers + int(before.max(initial=0)), 0).astype(np.int32)


def merge_objects(labels: Labels, values: Iterable[int]) -> Labels:
    """Return `labels` with the objects `values` as one, which has the smallest of their numbers.

    Raises
    ------
    LabelsError
        One of them is not in the image, or none was given.
    """
    wanted = sorted({int(value) for value in values})
    if not wanted:
        raise LabelsError("no object was given to merge: choose at least two.")
    for value in wanted:
        _require(labels, value)
    merged = labels.copy()
    merged[np.isin(labels, wanted)] = wanted[0]
    return merged


def relabel(labels: Labels, old: int, new: int) -> Labels:
    """Return `labels` with the object `old` numbered `new`; 0 erases it.

    Raises
    ------
    LabelsError
        `old` is not there, or `new` is another object: merge them instead, so that none is lost by accident.
    """
    _require(labels, old)
    if new < 0 or new > np.iinfo(labels.dtype).max:
        raise LabelsError(f"{new} is no number for an object in {labels.dtype} labels: choose one that fits.")
    if new not in (0, old) and (labels == new).any():
        raise LabelsError(f"{new} is another object already: choose a free number, or merge the two.")
    renamed = labels.copy()
    renamed[labels == old] = new
    return renamed


def split_at_line(labels: Labels, value: int, line: Sequence[tuple[float, float]]) -> Labels:
    """Cut an object along a drawn line; its largest piece keeps the number, the others get new ones.

    The pixels under the line go to the piece nearest to them, so that none is lost.

    Parameters
    ----------
    labels
        `(H, W)`, of an integer type.
    line
        Points `(row, column)` of an open line, at least two.

    Raises
    ------
    LabelsError
        The object is not there, or the line does not part it.
    """
    _require(labels, value)
    if len(line) < 2:
        raise LabelsError("a line needs at least two points: draw it across the object.")
    own = labels == value
    pieces = connected_objects(own & ~drawn_line(line, own.shape))
    if pieces.max() <= connected_objects(own).max():
        raise LabelsError(f"the line does not part object {value}: draw it from one side to the other.")
    return _renumbered(labels, value, _grown(pieces, own))


def split_by_probability(labels: Labels, value: int, probability: ArrayLike) -> Labels:
    """Part an object where the model was least sure: watershed on the smoothed probability.

    Parameters
    ----------
    labels
        `(H, W)`, of an integer type.
    probability
        `(H, W)`, in [0, 1].

    Raises
    ------
    LabelsError
        The object is not there, shapes differ, or there is one top only.
    """
    from scipy import ndimage
    from skimage.feature import peak_local_max
    from skimage.segmentation import watershed

    _require(labels, value)
    sure = np.asarray(probability, dtype=np.float64)
    if sure.shape != labels.shape:
        raise LabelsError(
            f"the probability must have the shape {labels.shape} of the labels, but has {sure.shape}: run the prompt "
            "on this image again."
        )
    own = labels == value
    # Smoothed within the object alone, so that its narrow places are not pale for being near the background.
    weight = ndimage.gaussian_filter(own.astype(np.float64), _SMOOTHING)
    smooth = ndimage.gaussian_filter(np.where(own, sure, 0.0), _SMOOTHING) / np.where(own, weight, 1.0)
    tops = peak_local_max(smooth, min_distance=_TOPS_APART, labels=own.astype(np.int32), exclude_border=False)
    if len(tops) < 2:
        raise LabelsError(
            f"the probability has one top in object {value}, so it was not split: erase a line through it instead."
        )
    markers = np.zeros(labels.shape, np.int32)
    markers[tuple(tops.T)] = np.arange(1, len(tops) + 1)
    return _renumbered(labels, value, _grown(watershed(-smooth, markers, mask=own), own))


def _require(labels: Labels, value: int) -> None:
    if value == 0 or not (labels == value).any():
        raise LabelsError(f"there is no object {value} in the labels: choose one that is there.")


def drawn_line(line: Sequence[tuple[float, float]], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the pixels under a line, thick enough to part what hangs together through pixel sides."""
    from skimage.draw import line as straight

    drawn = np.zeros(shape, np.bool_)
    points = np.rint(np.asarray(line, dtype=np.float64)).astype(int)
    for (row, column), (next_row, next_column) in zip(points[:-1].tolist(), points[1:].tolist(), strict=True):
        rows, columns = straight(row, column, next_row, next_column)
        inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
        drawn[rows[inside], columns[inside]] = True
    return drawn


def _grown(pieces: NDArray[np.integer], own: NDArray[np.bool_]) -> NDArray[np.integer]:
    """Give each pixel of `own` that has no piece the number of the nearest one."""
    from scipy import ndimage

    left = own & (pieces == 0)
    if not left.any():
        return pieces
    nearest = ndimage.distance_transform_edt(pieces == 0, return_distances=False, return_indices=True)
    grown = pieces.copy()
    grown[left] = pieces[tuple(nearest)][left]
    return grown


def _renumbered(labels: Labels, value: int, pieces: NDArray[np.integer]) -> Labels:
    sizes = np.bincount(pieces[pieces > 0].ravel())
    largest = int(sizes.argmax())
    others = [piece for piece in np.flatnonzero(sizes).tolist() if piece != largest]
    first = int(labels.max()) + 1
    if first + len(others) - 1 > np.iinfo(labels.dtype).max:
        raise LabelsError(f"labels of the type {labels.dtype} have no free numbers left: convert them to int32.")
    split = labels.copy()
    for number, piece in enumerate(others, start=first):
        split[pieces == piece] = number
    return split
