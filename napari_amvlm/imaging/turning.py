"""The eight ways to turn and mirror an image without resampling, and back; and prompts that forbid it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    T = TypeVar("T", bound=np.generic)

_POSITIONS = re.compile(
    r"\b(left|right|upper|lower|top|bottom|above|below|superior|inferior|anterior|posterior)", re.IGNORECASE
)

Views = Literal[1, 4, 8]
"""How many of them: the image as it is, its four turns by right angles, or these and their mirror images."""


def turned(image: NDArray[T], view: int) -> NDArray[T]:
    """Return an image `(H, W, ...)` turned by `view` right angles, from 4 on mirrored first; 0 leaves it as it is.

    Examples
    --------
    >>> turned(np.array([[1, 2], [3, 4]]), 1).tolist(), turned(np.array([[1, 2], [3, 4]]), 4).tolist()
    ([[2, 4], [1, 3]], [[2, 1], [4, 3]])
    """
    return np.rot90(image[:, ::-1] if view >= 4 else image, view % 4)


def turned_back(image: NDArray[T], view: int) -> NDArray[T]:
    """Return the `(H, W, ...)` that `turned` was given."""
    back = np.rot90(image, -(view % 4))
    return back[:, ::-1] if view >= 4 else back


def names_position(prompt: str) -> bool:
    """Tell whether a prompt names a position in the image, which changes when the image is turned or mirrored.

    Examples
    --------
    >>> [names_position(prompt) for prompt in ("Nuclei in the upper-right corner", "bright nuclei", "left-sided")]
    [True, False, True]
    """
    return _POSITIONS.search(prompt) is not None
