"""Dice of a model on images in memory, which pretraining watches, and how well scores tell two groups apart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.evaluation import THRESHOLD
from napari_amvlm.imaging import tile_scale, whole_scale
from napari_amvlm.metrics import dice
from napari_amvlm.models.inference import decode_prompt, encode_image

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import torch

    from napari_amvlm.models.amvlm import AMVLM
    from training.pretraining.data import TaughtImage


@dataclass(frozen=True)
class ImageScores:
    """What a model finds in one image.

    Attributes
    ----------
    image
        `SOURCE/NAME`.
    dice, text_dice
        Dice at threshold 0.5 of the segmentation, and of the text-guided mask alone, by concept that the image shows.
    absent
        Share of the pixels that a concept which it does not show is found in.
    """

    image: str
    dice: dict[str, float]
    text_dice: dict[str, float]
    absent: float


def score_each(model: AMVLM, images: list[TaughtImage], device: torch.device) -> list[ImageScores]:
    """Return the scores of each image.

    Whole images are scored on their square canvas. Every image is also asked for "nuclei" or "lungs", whichever it
    does not show.
    """
    scores: list[ImageScores] = []
    for image in images:
        pixels = image.image.astype(np.float32) / np.float32(255)
        scale = tile_scale() if image.kind == "tissue" else whole_scale(pixels.shape[:2], model.config.whole)
        encoded = encode_image(model, pixels, scale, device=device)
        of_mask: dict[str, float] = {}
        of_text: dict[str, float] = {}
        for name, mask in zip(image.concepts, image.masks, strict=True):
            answer = decode_prompt(model, encoded, name)
            of_mask[name] = float(dice(answer.probability >= THRESHOLD, mask > 0))
            of_text[name] = float(dice(answer.text_probability >= THRESHOLD, mask > 0))
        absent = decode_prompt(model, encoded, "lungs" if image.kind == "tissue" else "nuclei").probability
        share = float((absent >= THRESHOLD).mean())
        scores.append(ImageScores(f"{image.source}/{image.name}", of_mask, of_text, share))
    return scores


def mean_scores(scores: Sequence[ImageScores]) -> dict[str, float]:
    """Return the mean Dice of the segmentation of each concept, and the mean share where it is absent as `absent`."""
    means = by_concept([scored.dice for scored in scores])
    return means | ({"absent": round(float(np.mean([s.absent for s in scores])), 4)} if scores else {})


def by_concept(values: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each concept's values over the images that show it."""
    lists: dict[str, list[float]] = {}
    for of_image in values:
        for name, value in of_image.items():
            lists.setdefault(name, []).append(value)
    return {name: round(float(np.mean(scores)), 4) for name, scores in lists.items()}


def roc_auc(present: Sequence[float], absent: Sequence[float]) -> float:
    """Return the area under the ROC curve: how often a present concept scores above an absent one; ties count half.

    Not a number where one of the groups is empty.
    """
    if not present or not absent:
        return math.nan
    a, b = np.asarray(present)[:, None], np.asarray(absent)[None]
    return float(np.mean((a > b) + 0.5 * (a == b)))
