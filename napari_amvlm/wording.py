"""Words of messages: numbers with their nouns, long prompts, names of projects, the capital of a sentence."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SUFFIX = ".amvlm"
"""Ending of project folders."""

_LONGEST_PROMPT = 60


def counted(number: int, noun: str) -> str:
    """Return a number and its noun.

    Examples
    --------
    >>> counted(1, "image"), counted(2, "image")
    ('1 image', '2 images')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def tidied(text: str) -> str:
    """Return a text with single spaces and composed letters (NFC): systems give the same letters in two ways.

    Examples
    --------
    >>> tidied("  le\N{COMBINING ACUTE ACCENT}sion  of skin")
    'lésion of skin'
    """
    return " ".join(unicodedata.normalize("NFC", text).split())


def shortened(prompt: str) -> str:
    """Return a prompt as it is shown: of a long one the first words, up to 60 letters.

    Examples
    --------
    >>> shortened("left lung"), shortened("a spiculated mass in the upper lobe of the left lung, near the heart")
    ('left lung', 'a spiculated mass in the upper lobe of the left lung, near…')
    """
    if len(prompt) <= _LONGEST_PROMPT:
        return prompt
    start = prompt[:_LONGEST_PROMPT]
    return f"{start.rsplit(' ', 1)[0][: _LONGEST_PROMPT - 1]}\N{HORIZONTAL ELLIPSIS}"


def project_name(folder: Path) -> str:
    """Return the name of a project without the ending that all have.

    Examples
    --------
    >>> from pathlib import Path
    >>> project_name(Path("data/glands.amvlm"))
    'glands'
    """
    return folder.name.removesuffix(SUFFIX)


def capitalised(text: str) -> str:
    """Begin a message with a capital, unless its first word may be a name, as that of a file, or `mRNA`.

    Examples
    --------
    >>> capitalised("the disk is full"), capitalised("a.png was not found"), capitalised("mRNA has no mask")
    ('The disk is full', 'a.png was not found', 'mRNA has no mask')
    """
    word = text.split(" ", 1)[0]
    return text[:1].upper() + text[1:] if word.isalpha() and word.islower() else text
