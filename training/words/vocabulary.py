"""The words of a run: their wordings, how each is looked at, and the concepts that the weights will name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_amvlm.config import Concept
from napari_amvlm.errors import InputError
from napari_amvlm.imaging.spine_levels import LEVELS
from training.pretraining.prompts import CONCEPTS
from training.words.corpus import words_of
from training.words.referents import level_wordings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from training.words.corpus import LabelledImage

_OLD = {concept.name: concept for concept in CONCEPTS}


def concepts_of(
    images: Sequence[LabelledImage],
    wordings: Mapping[str, Sequence[str]],
    sides: Mapping[str, int],
) -> tuple[Concept, ...]:
    """Return the concepts that the images teach.

    Parameters
    ----------
    wordings
        Synonyms by word; a word without is said as it is.
    sides
        Words that are looked at in tiles of the image at this long side, pixels, whatever their set's kind.

    Raises
    ------
    InputError
        `sides` names a word that no set teaches.
    """
    kinds = words_of(images)
    unknown = [word for word in sides if word not in kinds]
    if unknown:
        raise InputError(f"The recipe gives {unknown[0]!r} a side, but no set teaches it; take it out.")
    found: list[Concept] = []
    for word, kind in kinds.items():
        old = _OLD.get(word)
        said = tuple(dict.fromkeys((word, *(old.prompts if old else ()), *wordings.get(word, ()))))
        sizes = {"hole": old.hole, "speck": old.speck} if old else {}
        side = sides.get(word, 0)
        found.append(Concept(name=word, prompts=said, scale="tiles" if side else kind, side=side, **sizes))
    if any(image.levels is not None for image in images):
        found += [Concept(name=name, prompts=level_wordings(name), scale="whole") for name in LEVELS]
    return tuple(found)
