"""Objects that keep their number from slice to slice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

LEAST_OVERLAP = 0.5


class ObjectLinker:
    """Gives objects of a slice the numbers of those that they overlap in the slice before.

    Two objects are one where they share at least half of the pixels of the smaller; pairs with the most pixels in
    common are joined first, and each object once.  All others get a number that was never used.
    """

    def __init__(self) -> None:
        self._before: NDArray[np.int32] | None = None
        self._used = 0

    def start_again(self) -> None:
        """Forget the slice before: the next one begins another volume.  Numbers go on."""
        self._before = None

    def link(self, objects: ArrayLike) -> NDArray[np.int32]:
        """Return the objects of the next slice, int32 `(H, W)` with 0 for background, under their lasting numbers."""
        now = np.asarray(objects, dtype=np.int32)
        numbers = np.zeros(int(now.max(initial=0)) + 1, np.int32)
        if self._before is not None:
            for own, earlier in _partners(now, self._before):
                numbers[own] = earlier
        for own in np.unique(now[now > 0]):
            if numbers[own] == 0:
                self._used += 1
                numbers[own] = self._used
        self._before = numbers[now]
        return self._before.copy()


def _partners(now: NDArray[np.int32], before: NDArray[np.int32]) -> list[tuple[int, int]]:
    """Return pairs of an object and the one before it, those with most pixels in common first, each object once."""
    both = (now > 0) & (before > 0)
    pairs, shared = np.unique(np.stack([now[both], before[both]]), axis=1, return_counts=True)
    sizes_now, sizes_before = np.bincount(now.ravel()), np.bincount(before.ravel())
    taken_now: set[int] = set()
    taken_before: set[int] = set()
    partners = []
    for index in np.argsort(-shared, kind="stable"):
        own, earlier = int(pairs[0, index]), int(pairs[1, index])
        smaller = min(sizes_now[own], sizes_before[earlier])
        if own in taken_now or earlier in taken_before or shared[index] < LEAST_OVERLAP * smaller:
            continue
        taken_now.add(own)
        taken_before.add(earlier)
        partners.append((own, earlier))
    return partners
