"""What a model finds of each word in each set: Dice and boundary F1 at the images' own size."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_amvlm.evaluation import THRESHOLD
from napari_amvlm.metrics import dice
from napari_amvlm.models.inference import auto_scale, decode_prompt, encode_image
from training.datasets.splits import spread_evenly

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
        pixels = image.image.astype(np.float32) / np.float32(255)
        encoded: dict[object, object] = {}
        for word in (*image.shown(), *image.spec.paired):
            scale = auto_scale(model, word, image.labels.shape)
            if scale not in encoded:
                encoded[scale] = encode_image(model, pixels, scale)
            answer = decode_prompt(model, encoded[scale], word)  # type: ignore[arg-type]
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


def by_pair(scores: Sequence[WordScore]) -> list[dict[str, object]]:
    """Return a row for each set and word: n, mean Dice and mean boundary F1."""
    groups: dict[tuple[str, str], list[WordScore]] = defaultdict(list)
    for score in scores:
        groups[score.set, score.word].append(score)
    return [
        {
            "set": name,
            "word": word,
            "n": len(group),
            "dice": round(float(np.mean([s.dice for s in group])), 4),
            "boundary_f1": round(float(np.mean([s.boundary for s in group])), 4),
        }
        for (name, word), group in sorted(groups.items())
    ]


def mean_dice(rows: Sequence[dict[str, object]]) -> float:
    """Return the mean of the rows' Dice; 0 without rows."""
    return float(np.mean([float(str(row["dice"])) for row in rows])) if rows else 0.0


def few_of_each(images: Sequence[LabelledImage], count: int) -> list[LabelledImage]:
    """Return up to `count` images of each set, evenly spread over their order."""
    of_set: dict[str, list[LabelledImage]] = defaultdict(list)
    for image in images:
        of_set[image.spec.name].append(image)
    return [image for each in of_set.values() for image in spread_evenly(each, count)]
