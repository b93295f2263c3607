"""What a model finds of each word in each set: Dice and boundary F1 at the images' own size."""

from __future__ import annotations

import functools
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from napari_amvlm.evaluation import THRESHOLD
from napari_amvlm.metrics import dice
from napari_amvlm.models.inference import auto_scale, decode_prompt, encode_image
from training.datasets.splits import spread_evenly

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_amvlm.models.amvlm import AMVLM
    from training.words.corpus import LabelledImage

_TOLERANCE = 2 / 512
"""Distance that boundaries may be apart, as a share of the longer side."""


@dataclass(frozen=True)
class WordScore:
    """What a model found of one word in one image.

    Attributes
    ----------
    image, set, word
        `SET/NAME`, the set, and the word.
    dice, boundary
        Dice, and F1 of the boundaries within 2 px of 512.
    presence
        Probability that the word is in the image.
    """

    image: str
    set: str
    word: str
    dice: float
    boundary: float
    presence: float


def score_words(model: AMVLM, images: Iterable[LabelledImage], *, boundaries: bool = True) -> list[WordScore]:
    """Return the scores of all words that each image shows, asked as they are, seen as the model serves them."""
    found: list[WordScore] = []
    for image in images:
        look = functools.cache(functools.partial(encode_image, model, image.pixels))
        for word in (*image.shown(), *image.spec.paired):
            answer = decode_prompt(model, look(auto_scale(model, word, image.labels.shape)), word)
            mask, truth = answer.probability >= THRESHOLD, image.mask(word)
            edge = boundary_f1(mask, truth) if boundaries else 0.0
            found.append(WordScore(image.key, image.spec.name, word, float(dice(mask, truth)), edge, answer.presence))
    return found


def boundary_f1(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return F1 of two masks' boundaries `(H, W)`: pixels of one within 2 px (at 512) of the other's are right."""
    one, other = (m & ~ndimage.binary_erosion(m) for m in (mask, truth))
    if not one.any() or not other.any():
        return float(one.any() == other.any())
    reach = max(1.0, _TOLERANCE * max(mask.shape))
    precision = float((ndimage.distance_transform_edt(~other)[one] <= reach).mean())
    recall = float((ndimage.distance_transform_edt(~one)[other] <= reach).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def by_pair(scores: Sequence[WordScore]) -> list[dict[str, Any]]:
    """Return a row for each set and word: n, mean Dice and mean boundary F1."""
    each = [({"set": s.set, "word": s.word}, {"dice": s.dice, "boundary_f1": s.boundary}) for s in scores]
    return mean_rows(each)


def mean_rows(scores: Iterable[tuple[Mapping[str, str], Mapping[str, float]]]) -> list[dict[str, Any]]:
    """Return a row for each that scores are of, sorted: what it is, the number n of scores, and their means."""
    groups: dict[tuple[tuple[str, str], ...], list[Mapping[str, float]]] = defaultdict(list)
    for of, values in scores:
        groups[tuple(of.items())].append(values)
    return [
        dict(of) | {"n": len(group)} | {name: round(float(np.mean([v[name] for v in group])), 4) for name in group[0]}
        for of, group in sorted(groups.items())
    ]


def mean_dice(rows: Sequence[Mapping[str, Any]]) -> float:
    """Return the mean of the rows' Dice; 0 without rows."""
    return float(np.mean([row["dice"] for row in rows])) if rows else 0.0


def few_of_each(images: Sequence[LabelledImage], count: int) -> list[LabelledImage]:
    """Return up to `count` images of each set, evenly spread over their order."""
    of_set: dict[str, list[LabelledImage]] = defaultdict(list)
    for image in images:
        of_set[image.spec.name].append(image)
    return [image for each in of_set.values() for image in spread_evenly(each, count)]
