"""Whether a new model is better than the one it came from, on images that it never learnt from."""

from __future__ import annotations

import math
from enum import StrEnum

ENOUGH_HELD_OUT = 3
"""With fewer held-out images than this a score says nothing, and a person decides."""


class Verdict(StrEnum):
    """What the held-out images say about a new model."""

    IMPROVED = "improved"
    WORSE = "worse"
    TOO_FEW = "too_few"


def judge(before: float | None, after: float | None, n_held_out: int) -> Verdict:
    """Compare the mean Dice on held-out images before and after a run.

    Parameters
    ----------
    before, after
        Dice in [0, 1]; None when it was not measured.
    n_held_out
        Number of held-out images.

    Returns
    -------
    Verdict
        `IMPROVED` only where `after` is truly larger; `TOO_FEW` below `ENOUGH_HELD_OUT` images or without figures.
    """
    if n_held_out < ENOUGH_HELD_OUT or before is None or after is None:
        return Verdict.TOO_FEW
    return Verdict.IMPROVED if math.isfinite(after) and after > before else Verdict.WORSE
