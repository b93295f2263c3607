"""What a run is not told, so that it can be asked for it: some wordings of its words, and some words altogether."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.errors import InputError
from napari_amvlm.imaging.spine_levels import LEVELS
from training.words.corpus import LabelledImage, sided

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from napari_amvlm.config import Concept

_ENOUGH = 3
"""Wordings that a word needs before any of them is held out."""


def without_some_wordings(concepts: Sequence[Concept]) -> tuple[Concept, ...]:
    """Return the concepts without one in four of their wordings, by a hash of the text.

    Words as they are stay, and so do wordings of a word that has less than three, or of a numbered level. A wording of
    several words is left out of all of them or of none.
    """
    kept = {text for c in concepts if len(c.prompts) < _ENOUGH or c.name in LEVELS for text in c.prompts}
    kept |= {concept.name for concept in concepts}

    def told(text: str) -> bool:
        return text in kept or zlib.crc32(text.casefold().encode()) % 4 != 0

    return tuple(c.model_copy(update={"prompts": tuple(filter(told, c.prompts))}) for c in concepts)


def without_words(images: Sequence[LabelledImage], words: Collection[str]) -> list[LabelledImage]:
    """Return the images as if nobody had labelled `words`, without those that show nothing else.

    What shows such a word is unknown then, and not background; an image's own caption could name it, and goes.

    Raises
    ------
    InputError
        No set teaches one of the words.
    """
    unknown = sorted(set(words) - {word for image in images for word in (*image.words, *image.spec.paired)})
    if unknown:
        raise InputError(f"The recipe holds out {unknown[0]!r}, which no set teaches; take it out.")
    stripped = [_without(image, words) if {*image.words, *image.spec.paired} & {*words} else image for image in images]
    return [image for image in stripped if image.words and image.shown()]


def _without(image: LabelledImage, words: Collection[str]) -> LabelledImage:
    left = tuple(word for word in image.words if word not in words)
    numbers = [0, *(left.index(word) + 1 if word in left else 0 for word in image.words)]
    paired = tuple(word for word in image.spec.paired if not {word, *sided(word)} & {*words})
    spec = image.spec.model_copy(update={"paired": paired, "notes": f"{image.spec.notes} (partial truth)"})
    labels = np.array(numbers, np.uint8)[image.labels]
    return replace(image, spec=spec, labels=labels, words=left, caption=None)
