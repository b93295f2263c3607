"""Small holes and specks in a probability map, which no object of the kind that is looked for has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_EVEN = 0.5


def settle(probability: NDArray[np.float32], *, hole: int = 0, speck: int = 0) -> NDArray[np.float32]:
    """Let small holes and specks have the probability of what surrounds them.

    Foreground and background are told apart at 0.5. A connected part (by edges) that is small enough gets the mean
    probability of the pixels that touch it, so that it is gone at other thresholds near 0.5 as well.

    Parameters
    ----------
    probability
        float32 `(H, W)` in [0, 1]; it is not changed.
    hole
        Largest hole in the foreground that is filled, pixels; 0 fills none.
    speck
        Largest piece of foreground that is taken off, pixels; 0 takes none.
    """
    from scipy import ndimage

    settled = probability
    for largest, outside in ((hole, False), (speck, True)):
        if not largest:
            continue
        parts, count = ndimage.label((settled >= _EVEN) == outside)
        sizes = np.bincount(parts.ravel(), minlength=count + 1)
        small = np.flatnonzero(sizes <= largest)
        small = small[small > 0]
        if not len(small):
            continue
        chosen = np.zeros(count + 1, np.int32)
        chosen[small] = np.arange(1, len(small) + 1)
        settled = _surrounded(settled, chosen[parts], len(small))
    return settled


def _surrounded(probability: NDArray[np.float32], parts: NDArray[np.int32], count: int) -> NDArray[np.float32]:
    """Give every part 1..count the mean probability of the pixels outside all parts that touch it."""
    total, touched = np.zeros(count + 1), np.zeros(count + 1)
    for axis in (0, 1):
        near = parts if axis == 0 else parts.T
        values = probability if axis == 0 else probability.T
        for one, other in ((slice(None, -1), slice(1, None)), (slice(1, None), slice(None, -1))):
            beside = (near[one] > 0) & (near[other] == 0)
            total += np.bincount(near[one][beside], values[other][beside], count + 1)
            touched += np.bincount(near[one][beside], minlength=count + 1)
    mean = np.divide(total, touched, out=np.zeros(count + 1), where=touched > 0)
    inside = (parts > 0) & (touched[parts] > 0)  # a part without surroundings fills the map: it stays
    settled = probability.copy()
    settled[inside] = mean[parts[inside]]
    return settled
