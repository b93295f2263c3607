"""What weights know of each word, written into their configuration: where it belongs, and how well they find it."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.evaluation import THRESHOLD
from napari_amvlm.imaging.spine_levels import LEVELS
from napari_amvlm.metrics import dice
from napari_amvlm.predictor import Predictor
from training.words.fields import body_part, image_kind
from training.words.scores import few_of_each, score_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_amvlm.config import ModelConfig
    from napari_amvlm.models.amvlm import AMVLM
    from training.words.corpus import LabelledImage

_LEVELS_ON = 6
"""Images of a spine on which numbered levels are measured: each is asked for ten."""


def describe_words(
    model: AMVLM, images: Sequence[LabelledImage], validation: Sequence[LabelledImage], *, count: int = 12
) -> ModelConfig:
    """Return the configuration of `model` with part of the body, kinds of image and measured Dice of each concept.

    Parameters
    ----------
    model
        In eval mode.
    images
        All images of the sets that taught it.
    validation
        Those that it did not learn from; up to `count` of each set are asked.
    """
    # A level that was measured is counted, as in the program; 1 stands for that until it is.
    plain = tuple(c.model_copy(update={"dice": 1.0 if c.name in LEVELS else None}) for c in model.config.concepts)
    model.config = model.config.model_copy(update={"concepts": plain})
    found: dict[str, list[float]] = defaultdict(list)
    for score in score_words(model, few_of_each(validation, count), boundaries=False):
        found[score.word].append(score.dice)
    _score_levels(model, validation, found)
    modalities: dict[str, dict[str, None]] = defaultdict(dict)
    for image in images:
        levels = LEVELS if image.levels is not None else ()
        for word in (*image.words, *image.spec.paired, *levels):
            modalities[word][image.spec.modality] = None
    concepts = []
    for concept in plain:
        seen = tuple(modalities.get(concept.name, {}))
        told = {
            "body": body_part(concept.name, seen[0]) if seen else "",
            "modalities": tuple(dict.fromkeys(map(image_kind, seen))),
            "dice": round(float(np.mean(found[concept.name])), 3) if found[concept.name] else None,
        }
        concepts.append(concept.model_copy(update=told))
    return model.config.model_copy(update={"concepts": tuple(concepts)})


def _score_levels(model: AMVLM, images: Sequence[LabelledImage], found: dict[str, list[float]]) -> None:
    known = {concept.name for concept in model.config.concepts}
    predictor = Predictor(model, device=str(model.device))
    for image in few_of_each([image for image in images if image.levels is not None], _LEVELS_ON):
        assert image.levels is not None
        predictor.set_image(image.image)
        for number, level in enumerate(LEVELS, start=1):
            truth = image.levels == number
            if level in known and truth.any():
                found[level].append(float(dice(predictor.predict(level).probability >= THRESHOLD, truth)))
