"""Words that name a place in the image: what they are true of changes when the image is turned or mirrored."""

from __future__ import annotations

import re

_PLACES = re.compile(
    r"\b(left|right|upper|lower|top|bottom|above|below|superior|inferior|anterior|posterior)", re.IGNORECASE
)


def names_place(prompt: str) -> bool:
    """Tell whether a prompt says where in the image its thing is.

    Examples
    --------
    >>> names_place("Nuclei in the upper-right corner"), names_place("bright nuclei"), names_place("left-sided")
    (True, False, True)
    """
    return _PLACES.search(prompt) is not None
