"""Words that name a position in the image, which changes when the image is turned or mirrored."""

from __future__ import annotations

import re

_POSITIONS = re.compile(
    r"\b(left|right|upper|lower|top|bottom|above|below|superior|inferior|anterior|posterior)", re.IGNORECASE
)


def names_position(prompt: str) -> bool:
    """Tell whether a prompt names a position in the image.

    Examples
    --------
    >>> [names_position(prompt) for prompt in ("Nuclei in the upper-right corner", "bright nuclei", "left-sided")]
    [True, False, True]
    """
    return _POSITIONS.search(prompt) is not None
