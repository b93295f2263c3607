"""Prompts with structure out of the masks of plain words: parts, extremes, unions, exclusions, levels of the spine.

A network of this size hardly learns them from pictures (docs/experiments/vocabulary.md), and they need not be learnt:
what "the upper third of the left lung" is follows from the left lung. All is said of the image as it is seen: "upper"
and "leftmost" mean the image's, "left lung" the patient's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_amvlm.imaging.spine_levels import LEVELS, SPINE, predicted_levels
from napari_amvlm.models.words.taught import Term, taught
from napari_amvlm.wording import shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_amvlm.config import ModelConfig

_THIRDS = ("upper", "middle", "lower")
_LEAST = 12
"""Pieces of fewer pixels are none."""


class Composition(NamedTuple):
    """How a prompt follows from plain words.

    Attributes
    ----------
    words
        The plain words, each once.
    terms
        What they are put together by, in order; none for a level of the spine.
    level
        1 + the index in `LEVELS`, or 0.
    """

    words: tuple[str, ...]
    terms: tuple[Term, ...] = ()
    level: int = 0

    def compose(self, masks: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return the probability of what the prompt says, float32 `(H, W)`, from those of its words, in their order.

        A level is empty where the levels of a spine cannot be counted.
        """
        if self.level:
            return self._level(masks)
        of = dict(zip(self.words, masks, strict=True))
        found = np.zeros_like(masks[0])
        for term in self.terms:
            mask = np.ones_like(masks[0]) if term.concept is None else _detail(of[term.concept.name], term.detail)
            found = np.minimum(found, 1 - mask) if term.excluded else np.maximum(found, mask)
        return found

    def present(self, presences: Sequence[float]) -> float:
        """Return how probably what the prompt says is there: as its most probable word that is not excluded."""
        of = dict(zip(self.words, presences, strict=True))
        wanted = [1.0 if t.concept is None else of[t.concept.name] for t in self.terms if not t.excluded]
        return max(wanted) if wanted else min(presences)

    def _level(self, masks: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        likeliest = np.argmax(masks, axis=0)
        labels = np.where(np.max(masks, axis=0) >= 0.5, likeliest + 1, 0).astype(np.uint8)
        levels = predicted_levels(labels, self.words)
        if levels is None:
            return np.zeros_like(masks[0])
        return np.asarray(np.max(masks, axis=0) * (levels == self.level), np.float32)


def composition(config: ModelConfig, prompt: str) -> Composition | None:
    """Return how `prompt` follows from plain words that a model of this configuration knows; None if it does not.

    A prompt that a person taught the model by itself is answered by the model, whatever it says.
    """
    meaning = taught(config, prompt)
    if meaning is None:
        return None
    if meaning.terms:
        return Composition(tuple(dict.fromkeys(concept.name for concept in meaning.concepts)), meaning.terms)
    names = {concept.name for concept in config.concepts}
    level = meaning.concepts[0] if len(meaning.concepts) == 1 else None
    if level is not None and level.name in LEVELS and level.dice is not None and names.issuperset(SPINE):
        return Composition(SPINE, level=LEVELS.index(level.name) + 1)
    return None


def needs_whole_image(config: ModelConfig, prompt: str) -> str:
    """Return a sentence about a prompt that says nothing of single tiles: a third, a piece, a level; else nothing.

    Unions and exclusions are the same in tiles as in a whole image.
    """
    composed = composition(config, prompt)
    if composed is None or not (composed.level or any(term.detail for term in composed.terms)):
        return ""
    return f"{shortened(prompt)} is a part of a whole image, and tiles of a slide do not show which: ask for all of it."


def _detail(mask: NDArray[np.float32], detail: str) -> NDArray[np.float32]:
    """Return a third of a mask by the rows that it takes, or its largest, smallest, leftmost or rightmost piece."""
    if not detail:
        return mask
    shown = mask >= 0.5
    if detail in _THIRDS:
        rows = np.flatnonzero(shown.any(1))
        if not len(rows):
            return mask
        bounds = np.linspace(rows[0], rows[-1] + 1, 4).round().astype(int)
        bounds[0], bounds[3] = 0, len(mask)
        third = _THIRDS.index(detail)
        kept = np.zeros_like(mask)
        kept[bounds[third] : bounds[third + 1]] = mask[bounds[third] : bounds[third + 1]]
        return kept
    return mask * _piece(shown, detail)


def _piece(shown: NDArray[np.bool_], which: str) -> NDArray[np.bool_]:
    from skimage.measure import label, regionprops

    numbered = label(shown, connectivity=1)
    pieces = [piece for piece in regionprops(numbered) if piece.area >= _LEAST]
    if not pieces:
        return shown
    choose = max if which in ("largest", "rightmost") else min
    by_size = which in ("largest", "smallest")
    chosen = choose(pieces, key=lambda piece: piece.area if by_size else piece.centroid[1])
    return np.asarray(numbered == chosen.label)
