"""Numbered levels of the lumbar spine out of masks of vertebrae and discs: L5 is the lowest body, and so on upwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

BODIES = ("L5", "L4", "L3", "L2", "L1")
DISCS = ("L5/S1", "L4/L5", "L3/L4", "L2/L3", "L1/L2")
LEVELS = (*(f"{name} vertebra" for name in BODIES), *(f"{name} disc" for name in DISCS))
"""Words of the values 1 to 10 that `spine_levels` gives."""


def spine_levels(labels: NDArray[np.uint8], words: Sequence[str]) -> NDArray[np.uint8] | None:
    """Return the numbered bodies and discs of a sagittal slice, uint8 `(H, W)`, or None where they cannot be told.

    A body lies in front of the canal, which is left of it in the images. Levels can be told where the lowest disc lies
    below the lowest body, discs and bodies alternate from there, and five bodies or more are to be seen.

    Parameters
    ----------
    labels
        Labels of `words`, which hold "vertebrae", "intervertebral discs" and "spinal canal".
    words
        Words of the labels 1, 2, ...
    """
    needed = ("vertebrae", "intervertebral discs", "spinal canal")
    if not all(word in words for word in needed):
        return None
    bone, disc, canal = (labels == words.index(word) + 1 for word in needed)
    front = _canal_front(canal)
    if front is None:
        return None
    bodies, discs = _pieces(bone, front, 0.15), _pieces(disc, front, 0.15)
    if len(bodies) < len(BODIES) or len(discs) < len(DISCS):
        return None
    order = sorted(
        [(rows, "body", mask) for rows, mask in bodies] + [(rows, "disc", mask) for rows, mask in discs],
        key=lambda piece: -piece[0],
    )[: 2 * len(BODIES)]
    if [kind for _, kind, _ in order] != ["disc", "body"] * len(BODIES):
        return None
    out = np.zeros(labels.shape, np.uint8)
    for index, (_, kind, mask) in enumerate(order):
        out[mask] = index // 2 + 1 + (len(BODIES) if kind == "disc" else 0)
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


def _pieces(mask: NDArray[np.bool_], front: NDArray[np.float64], least: float) -> list[tuple[float, NDArray[np.bool_]]]:
    """Return row of the centre and mask of each connected piece in front of the canal that is not tiny."""
    numbered, count = ndimage.label(mask)
    pieces = [numbered == index for index in range(1, count + 1)]
    areas = [int(piece.sum()) for piece in pieces]
    found = []
    for piece, area in zip(pieces, areas, strict=True):
        row, column = ndimage.center_of_mass(piece)
        if column < front[round(row)] and area >= least * max(areas):
            found.append((float(row), piece))
    return found
