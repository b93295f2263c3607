"""Views of a sentence that keep its meaning, and the one that a mirrored image asks for (Pan et al. 2025, step 1)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

_SIDES = re.compile(r"\b(left|right)", re.IGNORECASE)
_NOTHING_SAID = frozenset(("a", "an", "the", "of", "in", "with", "showing", "image", "section", "on", "all"))
"""Words that a sentence about an image can lose without saying anything else."""


def swap_sides(text: str) -> str:
    """Return the sentence that is true of the mirrored image: left and right change places, spelt as they were.

    Examples
    --------
    >>> swap_sides("Left lung and right upper lobe, left-sided")
    'Right lung and left upper lobe, right-sided'
    """

    def other(match: re.Match[str]) -> str:
        word = match[0]
        swapped = "right" if word.lower() == "left" else "left"
        return swapped.upper() if word.isupper() else swapped.capitalize() if word[0].isupper() else swapped

    return _SIDES.sub(other, text)


def drop_words(text: str, chance: random.Random, *, share: float = 0.5) -> str:
    """Return the sentence without some of the words that say nothing about the image; at least one word is left.

    Parameters
    ----------
    text
        A sentence; its words are told apart by spaces.
    share
        Probability with which each droppable word goes.
    """
    words = text.split()
    kept = [word for word in words if word.strip(".,").lower() not in _NOTHING_SAID or chance.random() >= share]
    return " ".join(kept or words)
