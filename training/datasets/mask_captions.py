"""Captions of images that have masks and no sentence: what is there, how often, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_COUNTS = ("no", "one", "two", "three", "four", "five")
_ROWS, _COLUMNS = ("upper", "middle", "lower"), ("left", "centre", "right")
_SMALLEST = 0.0005
"""Share of an image below which a piece of a mask is not counted."""


def caption_of(masks: Mapping[str, NDArray[Any]]) -> str:
    """Return a sentence about masks `(H, W)` by what they show; sides are those of the picture.

    Examples
    --------
    >>> mask = np.zeros((30, 30), bool)
    >>> mask[2:6, 2:6] = True
    >>> caption_of({"bone metastasis": mask})
    'one area of bone metastasis, upper left'
    """
    if len(masks) > 1:
        there = [name for name, mask in masks.items() if np.asarray(mask).any()]
        return ", ".join(there) if there else f"none of {len(masks)} structures"
    ((name, mask),) = masks.items()
    labels, count = ndimage.label(mask)
    least = _SMALLEST * np.asarray(mask).size
    kept = [i for i in range(1, count + 1) if (labels == i).sum() >= least] if count <= 50 else [0] * count
    if not kept:
        return f"no {name}"
    number = _COUNTS[len(kept)] if len(kept) < len(_COUNTS) else "many"
    said = f"{number} area{'s' if len(kept) > 1 else ''} of {name}"
    if number == "many":
        return said
    return f"{said}, {' and '.join(dict.fromkeys(_place(labels == i) for i in kept))}"


def _place(mask: NDArray[np.bool_]) -> str:
    row, column = (int(3 * c / side) for c, side in zip(ndimage.center_of_mass(mask), mask.shape, strict=True))
    return f"{_ROWS[min(row, 2)]} {_COLUMNS[min(column, 2)]}"
