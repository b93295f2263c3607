"""The answers present, absent and not taught, against what is so, and how well presence is calibrated."""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.models.inference import EncodedImage, auto_scale, decode_prompt, encode_image
from napari_amvlm.models.taught import taught
from napari_amvlm.prediction import answer_of
from training.words.fields import deniable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_amvlm.imaging import WorkingScale
    from napari_amvlm.models.amvlm import AMVLM
    from training.words.corpus import LabelledImage

ANSWERS = ("present", "absent", "not taught")
_BINS = 10
_ABSENT = 2
"""Absent words that an image is asked for: as many as it shows, and at most so many."""


@dataclass(frozen=True)
class Answered:
    """One prompt asked of one image.

    Attributes
    ----------
    image, prompt
        `SET/NAME`, and what was asked.
    truth, answer
        One of `ANSWERS`.
    presence
        Probability that the model gave.
    """

    image: str
    prompt: str
    truth: str
    answer: str
    presence: float


def answers(model: AMVLM, images: Sequence[LabelledImage], unknown: Sequence[str]) -> list[Answered]:
    """Ask each image for the words that it shows, for two that it does not, and for an unknown one.

    Parameters
    ----------
    model
        In eval mode.
    images
        Images of all sets that the model was taught.
    unknown
        Words that nobody taught it.
    """
    absent = deniable(images, {concept.name: concept.prompts for concept in model.config.concepts})
    found: list[Answered] = []
    for image in images:
        chance = random.Random(zlib.crc32(image.key.encode()))
        denied = absent[image.spec.name]
        asked = [(word, "present") for word in image.shown()]
        asked += [(word, "absent") for word in chance.sample(denied, min(_ABSENT, len(denied)))]
        asked.append((chance.choice(unknown), "not taught"))
        pixels = image.image.astype(np.float32) / np.float32(255)
        scales: dict[WorkingScale, EncodedImage] = {}
        for prompt, truth in asked:
            scale = auto_scale(model, prompt, image.labels.shape)
            if scale not in scales:
                scales[scale] = encode_image(model, pixels, scale)
            presence = decode_prompt(model, scales[scale], prompt).presence
            answer = answer_of(presence, taught=taught(model.config, prompt) is not None)
            found.append(Answered(image.key, prompt, truth, answer, presence))
    return found


def confusion(found: Sequence[Answered]) -> dict[str, dict[str, int]]:
    """Return how often each truth got each answer."""
    return {t: {a: sum(f.truth == t and f.answer == a for f in found) for a in ANSWERS} for t in ANSWERS}


def calibration_error(found: Sequence[Answered]) -> float:
    """Return the expected calibration error of presence over the taught words."""
    asked = [f for f in found if f.truth != "not taught"]
    return expected_calibration_error([f.presence for f in asked], [f.truth == "present" for f in asked])


def expected_calibration_error(presence: Sequence[float], there: Sequence[bool]) -> float:
    """Return how far probabilities are from how often they are right: the mean gap over ten bins of equal width.

    Each bin counts by its number of answers; 0 without answers.
    """
    if not presence:
        return 0.0
    said, truth = np.array(presence), np.array(there)
    rows = np.minimum((said * _BINS).astype(int), _BINS - 1)
    gaps = [abs(said[rows == b].mean() - truth[rows == b].mean()) * (rows == b).sum() for b in np.unique(rows)]
    return float(np.sum(gaps) / len(said))
