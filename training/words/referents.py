"""Prompts with structure and their masks, out of labels: parts, extremes, unions, exclusions, levels, background.

All is said of the view as it is seen: "upper" and "leftmost" mean the image's, "left lung" the patient's. Some
combinations of a form with its words are never trained, so that it can be measured whether forms carry over.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_amvlm.imaging.spine_levels import LEVELS
from training.words.corpus import word_mask

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

_LEAST = 12
"""Pixels below which a part or a piece is no target."""
_CLEAR = 1.3
"""How much larger than the next a piece must be to be called the largest."""

_PARTS = {
    "upper": ("upper {0}", "upper part of the {0}", "the top third of the {0}"),
    "middle": ("middle {0}", "middle part of the {0}", "the middle third of the {0}"),
    "lower": ("lower {0}", "lower part of the {0}", "the bottom third of the {0}"),
}
_EXTREMES = {
    "largest": ("largest {1}", "the largest of the {0}", "biggest {1}"),
    "smallest": ("smallest {1}", "the smallest of the {0}"),
    "leftmost": ("leftmost {1}", "the leftmost of the {0}"),
    "rightmost": ("rightmost {1}", "the rightmost of the {0}"),
}
_UNION = ("{0} and {1}", "{0} together with {1}", "{0} and the {1}")
_WITHOUT = ("{0} without the {1}", "{0} without {1}", "{0} but not the {1}")
_EXCEPT = ("everything except {0}", "everything but {0}", "all except the {0}", "everything that is not {0}")
_BACKGROUND = ("background", "the background", "image background")
_ONE = {"nuclei": "nucleus", "glomeruli": "glomerulus", "vertebrae": "vertebra", "mitochondria": "mitochondrion"}


@dataclass(frozen=True, eq=False)
class Referent:
    """What one prompt means in one image.

    Attributes
    ----------
    form
        "plain", "part", "extreme", "union", "without", "except", "background" or "level".
    meaning
        Form and words; prompts of one meaning say the same.
    words
        The words that the prompt is made of.
    mask
        bool `(H, W)`.
    """

    form: str
    meaning: str
    words: tuple[str, ...]
    wordings: tuple[str, ...]
    mask: NDArray[np.bool_]


def held_out_combination(form: str, *words: str) -> bool:
    """Tell whether a combination is never trained: one in four of each form, by a hash; "everything except nuclei" is.

    Plain words, levels and the background are always trained.
    """
    if form.split()[0] in ("plain", "level", "background") or (form, *words) == ("except", "nuclei"):
        return False
    return zlib.crc32("|".join((form, *sorted(words))).encode()) % 4 == 0


def one_of(word: str) -> str:
    """Return the singular of a word: "vertebrae" -> "vertebra", "kidneys" -> "kidney"."""
    return _ONE.get(word, word.removesuffix("s"))


class View:
    """Labels of an image as it is seen, of which referents are made.

    Parameters
    ----------
    labels
        uint8 `(H, W)`, 0 or 1 + the index of the word.
    shown
        Words that may be asked: those of the labels and of pairs.
    valid
        bool `(H, W)`: where the image is, not the padding.
    levels
        uint8 `(H, W)` as `spine_levels` gives; None without.
    complete
        Whether what is not named is background.
    whole
        Whether the image is seen whole: extremes and parts mean something then.
    """

    def __init__(
        self,
        labels: NDArray[np.uint8],
        words: Sequence[str],
        shown: Sequence[str],
        valid: NDArray[np.bool_],
        *,
        levels: NDArray[np.uint8] | None = None,
        complete: bool = True,
        whole: bool = True,
    ) -> None:
        self.labels, self.words, self.valid, self.levels = labels, tuple(words), valid, levels
        self.complete, self.whole = complete, whole
        self.masks = {word: word_mask(labels, self.words, word) for word in shown}
        self.shown = tuple(word for word, mask in self.masks.items() if int(mask.sum()) >= _LEAST)

    def numbered(self) -> Iterator[Referent]:
        """Yield the levels of the spine that are to be seen."""
        if self.levels is None:
            return
        for index, name in enumerate(LEVELS, start=1):
            mask = self.levels == index
            if int(mask.sum()) >= _LEAST:
                yield Referent("level", name, (name,), level_wordings(name), mask)

    def structured(self, form: str, chance: random.Random, allowed: Callable[..., bool]) -> Referent | None:
        """Return a referent of `form` drawn by chance, or None if there is none that `allowed(form, *words)` takes."""
        makers: dict[str, Callable[[random.Random, Callable[..., bool]], Referent | None]] = {
            "part": self._part,
            "extreme": self._extreme,
            "union": self._union,
            "without": self._without,
            "except": self._except,
            "background": self._background,
        }
        return makers[form](chance, allowed)

    def _part(self, chance: random.Random, allowed: Callable[..., bool]) -> Referent | None:
        if not self.shown or not self.whole:
            return None
        word, part = chance.choice(self.shown), chance.choice(tuple(_PARTS))
        return self.part(word, part) if allowed(f"part {part}", word) else None

    def part(self, word: str, part: str) -> Referent | None:
        """Return the upper, middle or lower third of `word`, by the rows that it takes."""
        mask = self.masks[word]
        rows = np.nonzero(mask.any(1))[0]
        if len(rows) < 12:
            return None
        bounds = np.linspace(rows[0], rows[-1] + 1, 4).round().astype(int)
        third = tuple(_PARTS).index(part)
        kept = np.zeros_like(mask)
        kept[bounds[third] : bounds[third + 1]] = mask[bounds[third] : bounds[third + 1]]
        if int(kept.sum()) < _LEAST:
            return None
        return Referent("part", f"part {part}|{word}", (word,), _said(_PARTS[part], word), kept)

    def _extreme(self, chance: random.Random, allowed: Callable[..., bool]) -> Referent | None:
        if not self.shown or not self.whole:
            return None
        word, which = chance.choice(self.shown), chance.choice(tuple(_EXTREMES))
        return self.extreme(word, which) if allowed(f"extreme {which}", word) else None

    def extreme(self, word: str, which: str) -> Referent | None:
        """Return the largest, smallest, leftmost or rightmost piece of `word`, where there is no doubt."""
        numbered, count = ndimage.label(self.masks[word])
        areas = np.bincount(numbered.ravel(), minlength=count + 1)[1:]
        pieces = [index for index in range(count) if areas[index] >= _LEAST]
        if len(pieces) < 2 or len(pieces) > 40:
            return None
        centres = ndimage.center_of_mass(numbered > 0, numbered, [index + 1 for index in pieces])
        sizes = which in ("largest", "smallest")
        value = [float(areas[index]) for index in pieces] if sizes else [centre[1] for centre in centres]
        order = np.argsort(value)
        first, next_ = (order[-1], order[-2]) if which in ("largest", "rightmost") else (order[0], order[1])
        high, low = max(value[first], value[next_]), min(value[first], value[next_])
        if (high < _CLEAR * low) if sizes else (high - low < 0.03 * self.labels.shape[1]):
            return None
        mask = numbered == pieces[int(first)] + 1
        return Referent("extreme", f"extreme {which}|{word}", (word,), _said(_EXTREMES[which], word), mask)

    def _union(self, chance: random.Random, allowed: Callable[..., bool]) -> Referent | None:
        pair = self._two(chance)
        if pair is None or not allowed("union", *pair):
            return None
        return self.union(*pair)

    def union(self, one: str, other: str) -> Referent:
        """Return where either of two words is."""
        said = tuple(text.format(one, other) for text in _UNION) + tuple(text.format(other, one) for text in _UNION)
        meaning = "union|" + "|".join(sorted((one, other)))
        return Referent("union", meaning, (one, other), said, self.masks[one] | self.masks[other])

    def _without(self, chance: random.Random, allowed: Callable[..., bool]) -> Referent | None:
        pairs = [(a, b) for a in self.shown for b in self.shown if a != b]
        parts = [(a, b) for a, b in pairs if (self.masks[a] & self.masks[b]).any()]
        inner = [(a, b) for a, b in parts if (self.masks[a] & ~self.masks[b]).any()]
        if not pairs:
            return None
        one, other = chance.choice(inner or pairs)
        if not allowed("without", one, other):
            return None
        return self.without(one, other)

    def without(self, one: str, other: str) -> Referent | None:
        """Return where `one` is and `other` is not."""
        mask = self.masks[one] & ~self.masks[other]
        said = tuple(text.format(one, other) for text in _WITHOUT)
        return Referent("without", f"without|{one}|{other}", (one, other), said, mask) if mask.sum() >= _LEAST else None

    def _except(self, chance: random.Random, allowed: Callable[..., bool]) -> Referent | None:
        if not self.shown or not self.complete:
            return None
        word = chance.choice(self.shown)
        return self.all_but(word) if allowed("except", word) else None

    def all_but(self, word: str) -> Referent:
        """Return all of the image but `word`."""
        return Referent("except", f"except|{word}", (word,), _said(_EXCEPT, word), self.valid & ~self.masks[word])

    def _background(self, chance: random.Random, allowed: Callable[..., bool]) -> Referent | None:
        if not self.complete or not allowed("background"):
            return None
        mask = self.valid & (self.labels == 0)
        return Referent("background", "background", (), _BACKGROUND, mask) if mask.sum() >= _LEAST else None

    def _two(self, chance: random.Random) -> tuple[str, str] | None:
        apart = [w for w in self.shown if w in self.words]
        if len(apart) < 2:
            return None
        one, other = chance.sample(apart, 2)
        return one, other


FORMS = ("part", "extreme", "union", "without", "except", "background")
"""Forms that `View.structured` makes."""


def level_wordings(name: str) -> tuple[str, ...]:
    """Return the ways of saying "L5 vertebra" or "L4/L5 disc"."""
    level, kind = name.split()
    if kind == "vertebra":
        bodies = (f"vertebra {level}", f"{level} vertebral body", f"the {level} vertebra", f"lumbar vertebra {level}")
        return (name, *bodies)
    dashed = level.replace("/", "-")
    return (name, f"disc {level}", f"{level} intervertebral disc", f"{dashed} disc", f"intervertebral disc {dashed}")


def _said(texts: Sequence[str], word: str) -> tuple[str, ...]:
    return tuple(text.format(word, one_of(word)) for text in texts)
