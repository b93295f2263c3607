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
        settled = _surrounded(settled, chosen.take(parts), len(small))
    return settled


def _surrounded(probability: NDArray[np.float32], parts: NDArray[np.int32], count: int) -> NDArray[np.float32]:
    """Give every part 1..count the mean probability of the pixels outside all parts that touch it."""
    # Only the parts' own pixels are gone through: there are few of them, and a map may be large.
    at = np.flatnonzero(parts)
    rows, columns = np.divmod(at, parts.shape[1])
    number = parts.ravel()[at]
    total, touched = np.zeros(count + 1), np.zeros(count + 1)
    for down, right in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        y, x = rows + down, columns + right
        there = (y >= 0) & (y < parts.shape[0]) & (x >= 0) & (x < parts.shape[1])
        y, x, part = y[there], x[there], number[there]
        beside = parts[y, x] == 0
        total += np.bincount(part[beside], probability[y[beside], x[beside]], count + 1)
        touched += np.bincount(part[beside], minlength=count + 1)
    mean = np.divide(total, touched, out=np.zeros(count + 1), where=touched > 0)
    inside = touched[number] > 0  # a part without surroundings fills the map: it stays
    settled = probability.copy()
    settled[rows[inside], columns[inside]] = mean[number[inside]]
    return settled
