"""Numbered levels of the lumbar spine out of masks of vertebrae and discs: L5 is the lowest body, and so on upwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SPINE = ("vertebrae", "intervertebral discs", "spinal canal")
"""Words out of whose masks levels are counted."""
BODIES = ("L5", "L4", "L3", "L2", "L1")
DISCS = ("L5/S1", "L4/L5", "L3/L4", "L2/L3", "L1/L2")
LEVELS = (*(f"{name} vertebra" for name in BODIES), *(f"{name} disc" for name in DISCS))
"""Words of the values 1 to 10 that `spine_levels` gives."""


_TINY = 0.15
"""Least area of a piece, relative to the largest of its kind."""
_SACRUM = 0.75
"""A lowest body smaller than this part of the usual one is the first of the sacrum, which models mistake for one."""
_ALIKE = (0.5, 1.6)
"""Least and largest area of a body, relative to the usual one: larger ones are two that have grown together."""


def spine_levels(labels: NDArray[np.uint8], words: Sequence[str]) -> NDArray[np.uint8] | None:
    """Return the numbered bodies and discs of a sagittal slice, uint8 `(H, W)`, or None where they cannot be told.

    A body lies in front of the canal, which is left of it in the images. Levels can be told where the lowest disc lies
    below the lowest body, discs and bodies alternate from there, and five bodies or more are to be seen.

    Parameters
    ----------
    labels
        A person's labels of `words`, which hold "vertebrae", "intervertebral discs" and "spinal canal".
    words
        Words of the labels 1, 2, ...
    """
    found = _bodies_and_discs(labels, words)
    if found is None:
        return None
    bodies, discs = found
    return _numbered(sorted(bodies + discs, key=lambda piece: -piece.row), labels.shape)


def predicted_levels(labels: NDArray[np.uint8], words: Sequence[str]) -> NDArray[np.uint8] | None:
    """Return what `spine_levels` does, for labels that a model has drawn.

    Pieces of one kind that follow each other are one, and what looks like the sacrum is left out with all below it.
    Where a body is much smaller or larger than the others, levels cannot be told.
    """
    found = _bodies_and_discs(labels, words)
    if found is None or not found[0]:
        return None
    ordered: list[_Piece] = []
    for piece in sorted(found[0] + found[1], key=lambda piece: -piece.row):
        if ordered and ordered[-1].disc == piece.disc:
            before = ordered.pop()
            piece = _Piece(before.row, piece.disc, before.mask | piece.mask)
        ordered.append(piece)
    areas = [int(piece.mask.sum()) for piece in ordered if not piece.disc]
    usual = float(np.median(areas))
    lowest = next(index for index, piece in enumerate(ordered) if not piece.disc)
    if areas[0] < _SACRUM * usual:
        ordered, areas = ordered[lowest + 1 :], areas[1:]
    if any(not _ALIKE[0] * usual <= area <= _ALIKE[1] * usual for area in areas[: len(BODIES)]):
        return None
    return _numbered(ordered, labels.shape)


class _Piece(NamedTuple):
    row: float
    disc: bool
    mask: NDArray[np.bool_]


def _bodies_and_discs(labels: NDArray[np.uint8], words: Sequence[str]) -> tuple[list[_Piece], list[_Piece]] | None:
    if not all(word in words for word in SPINE):
        return None
    bone, disc, canal = (labels == words.index(word) + 1 for word in SPINE)
    front = _canal_front(canal)
    return None if front is None else (_pieces(bone, front, disc=False), _pieces(disc, front, disc=True))


def _numbered(ordered: Sequence[_Piece], shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """Return the numbers of bodies and discs that alternate, the lowest first; None if they do not."""
    ordered = ordered[: 2 * len(BODIES)]
    if [piece.disc for piece in ordered] != [True, False] * len(BODIES):
        return None
    out = np.zeros(shape, np.uint8)
    for index, piece in enumerate(ordered):
        out[piece.mask] = index // 2 + 1 + (len(BODIES) if piece.disc else 0)
    return out


def _canal_front(canal: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """Return the column of the canal's middle for every row, extrapolated as a line beyond its ends."""
    rows = np.nonzero(canal.any(1))[0]
    if len(rows) < 20:
        return None
    middles = np.array([np.nonzero(canal[row])[0].mean() for row in rows])
    front = np.interp(np.arange(canal.shape[0]), rows, middles)
    step = max(10, len(rows) // 8)
    slope = (middles[-1] - middles[-step]) / (rows[-1] - rows[-step])
    below = np.arange(rows[-1] + 1, canal.shape[0])
    front[below] = middles[-1] + np.clip(slope, -2, 2) * (below - rows[-1])
    return np.asarray(front, np.float64)


def _pieces(mask: NDArray[np.bool_], front: NDArray[np.float64], *, disc: bool) -> list[_Piece]:
    """Return each connected piece in front of the canal that is not tiny, by the row of its centre."""
    numbered, count = ndimage.label(mask)
    masks = [numbered == index for index in range(1, count + 1)]
    least = _TINY * max((int(each.sum()) for each in masks), default=0)
    found = []
    for each in masks:
        row, column = ndimage.center_of_mass(each)
        if column < front[round(row)] and each.sum() >= least:
            found.append(_Piece(float(row), disc, each))
    return found
