"""Finished objects: locked unless somebody unlocked them, and never painted over by a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


def set_locked(unlocked: frozenset[int], values: Iterable[int], locked: bool) -> frozenset[int]:
    """Return the numbers of the unlocked objects after locking, or unlocking, the objects `values`."""
    chosen = frozenset(int(value) for value in values)
    return unlocked - chosen if locked else unlocked | chosen


def locked_pixels(objects: NDArray[np.integer], unlocked: Iterable[int]) -> NDArray[np.bool_]:
    """Return the pixels of all objects but the unlocked ones, bool `(H, W)`."""
    return np.asarray((objects > 0) & ~np.isin(objects, list(unlocked)))


def visible_objects(
    proposed: NDArray[np.integer], locked: NDArray[np.bool_], *, least_visible: float = 0.5
) -> NDArray[np.integer]:
    """Return what of the objects `proposed` a person would see beside the lock; their numbers stay.

    Parameters
    ----------
    proposed
        `(H, W)`, objects that the model proposes.
    locked
        `(H, W)`, pixels that stay as they are.
    least_visible
        An object of which a smaller share lies outside the lock is left out as a whole, in [0, 1].

    Examples
    --------
    >>> visible_objects(np.array([[1, 1, 1, 2, 2]]), np.array([[True, True, False, True, False]]))
    array([[0, 0, 0, 0, 2]])
    """
    values, index, sizes = np.unique(proposed, return_inverse=True, return_counts=True)
    index = index.reshape(proposed.shape)
    visible = np.bincount(index[~locked], minlength=len(values))
    shown = (values > 0) & (visible > 0) & (visible >= least_visible * sizes)
    return np.where(shown[index] & ~locked, proposed, 0).astype(proposed.dtype, copy=False)
