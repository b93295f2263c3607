"""Sentences about a view, made of what it shows: one sentence fits many images, and one image has many sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from training.pretraining.text_views import drop_words

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence

    from training.words.referents import View

SENTENCES = ("{0}", "an image of the {0}", "a picture that shows {0}", "image with {0}", "{0} in a medical image")
"""Ways of saying what an image shows."""
_MOST = 3
"""Words that a sentence names at most."""


class Caption(NamedTuple):
    """A sentence, what it means, and the same said differently: the second view of it for ICL."""

    text: str
    meaning: str
    other: str


def caption_of(view: View, modality: str, wordings: Mapping[str, Sequence[str]], chance: random.Random) -> Caption:
    """Return a sentence that names one to three of the words that a view shows.

    A view that shows no word is said to be of its modality. Sides are those of the view, so a mirrored one is named
    rightly, and so is each other look of it.

    Parameters
    ----------
    modality
        How the image was made; may be empty.
    wordings
        Ways of saying each word.
    """
    words = chance.sample(view.shown, min(len(view.shown), chance.randint(1, _MOST)))
    said = [wordings[word] for word in words] or [(modality or "a medical image",)]
    meaning = " | ".join(sorted(words)) or f"of {modality}"
    return Caption(_sentence(said, chance), meaning, drop_words(_sentence(said, chance), chance))


def _sentence(said: Sequence[Sequence[str]], chance: random.Random) -> str:
    named = [chance.choice(texts) for texts in said]
    chance.shuffle(named)
    listed = f"{', '.join(named[:-1])} and {named[-1]}" if len(named) > 1 else named[0]
    return chance.choice(SENTENCES).format(listed)
