"""Three kinds of pixel: never looked at, reviewed and right, corrected. Only the last two are labels."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class PixelState(IntEnum):
    """What a person did at a pixel; the values are those of the stored state maps."""

    NEVER = 0
    """Nobody looked: neither foreground nor background is known."""
    RIGHT = 1
    """Somebody looked, and left it as the model had proposed."""
    CORRECTED = 2
    """Somebody changed it."""


def pixel_states(
    mask: NDArray[np.bool_], before: NDArray[np.bool_] | None, reviewed: NDArray[np.bool_] | None
) -> NDArray[np.uint8]:
    """Return the state of every pixel of one answer.

    Parameters
    ----------
    mask
        What the person accepted, `(H, W)`.
    before
        What the model had proposed; None counts as a proposal of nothing, so that all foreground was drawn by hand.
    reviewed
        Pixels that the person looked at; None is all of them.

    Returns
    -------
    ndarray
        uint8 `(H, W)`, values of `PixelState`.

    Examples
    --------
    >>> pixel_states(np.array([[True, True, False]]), np.array([[True, False, True]]), np.array([[True, True, False]]))
    array([[1, 2, 0]], dtype=uint8)
    """
    changed = mask if before is None else mask != before
    states = np.where(changed, np.uint8(PixelState.CORRECTED), np.uint8(PixelState.RIGHT))
    if reviewed is not None:
        states[~reviewed] = PixelState.NEVER
    return states


def carry_states(
    states: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    earlier_states: NDArray[np.uint8],
    earlier_mask: NDArray[np.bool_],
) -> NDArray[np.uint8]:
    """Return `states` with the corrections of an earlier answer of the same image and prompt kept.

    A pixel that a person once corrected, and that has the same value now, stays "corrected" where the model has learnt
    it since.

    Parameters
    ----------
    states, mask
        Of the new answer, `(H, W)`.
    """
    kept = (mask == earlier_mask) & (states == PixelState.RIGHT) & (earlier_states == PixelState.CORRECTED)
    return np.where(kept, np.uint8(PixelState.CORRECTED), states)
