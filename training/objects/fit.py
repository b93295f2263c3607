"""Fits the object head of a model whose other weights stay as they are."""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_amvlm.device import autocast
from napari_amvlm.imaging import split_instances
from napari_amvlm.learning.budget import Budget, cosine
from napari_amvlm.learning.loop import Loop
from napari_amvlm.learning.module_state import descend
from napari_amvlm.losses import depth_loss
from napari_amvlm.metrics import object_scores
from napari_amvlm.models.build import build_model
from napari_amvlm.models.words.taught import taught
from napari_amvlm.predictor import Predictor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_amvlm.metrics import ObjectScores
    from napari_amvlm.models.amvlm import AMVLM
    from training.objects.data import ObjectCrops, ObjectImage
    from training.objects.recipe import ObjectRecipe

log = logging.getLogger("training.objects")
_LOG_EVERY = 100


def with_head(model: AMVLM, recipe: ObjectRecipe) -> AMVLM:
    """Return a model of the same weights with a new object head, for those of the recipe's concepts that it knows."""
    known = tuple(name for name in recipe.head.concepts if taught(model.config, name) is not None)
    config = model.config.model_copy(update={"objects": recipe.head.model_copy(update={"concepts": known})})
    other = build_model(config, text_encoder=model.text_encoder, seed=recipe.seed)
    kept = {name: value for name, value in model.state_dict().items() if not name.startswith("objects.")}
    other.load_state_dict(kept, strict=False)
    return other.to(model.device)


def fit_head(model: AMVLM, crops: ObjectCrops, recipe: ObjectRecipe, *, minutes: float | None = None) -> int:
    """Fit the object head of `model` in place, and return the steps that were made.

    Parameters
    ----------
    model
        With a head; it stays in eval mode.
    crops
        What the head learns from.
    recipe
        Steps and rates.
    minutes
        Minutes of one core: the learning rate falls to 0 within this processor time, if the steps take longer.
    """
    head, device = model.objects, model.device
    assert head is not None
    optimiser = torch.optim.AdamW(head.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    budget, mean = Budget(steps=recipe.steps, minutes=minutes, clock=time.process_time), 0.0

    def make_step() -> float:
        rate = recipe.learning_rate * min(1.0, budget.step / 50 + 0.02) * cosine(budget.fraction)
        images, probability, depth, weight = crops.draw()
        with autocast(device):
            logits = head(images, probability)
        loss = depth_loss(logits, depth, weight, inside=recipe.inside).mean()
        descend(optimiser, [loss], rate, longest=math.inf)
        return loss.item()

    for loss in Loop(budget).made(make_step):
        mean += (loss - mean) / min(budget.step, _LOG_EVERY)
        if budget.step % _LOG_EVERY == 0:
            log.info("step %d: loss %.4f, %.0f s", budget.step, mean, budget.seconds)
    return budget.step


def score_objects(model: AMVLM, images: Sequence[ObjectImage]) -> dict[str, list[tuple[ObjectScores, ObjectScores]]]:
    """Return the scores of each set's images at native scale and threshold 0.5: with the head, and by watershed."""
    predictor = Predictor(model, device=str(model.device))
    found: dict[str, list[tuple[ObjectScores, ObjectScores]]] = {}
    for image in images:
        predictor.set_image((image.image * 255).round().astype(np.uint8))
        prediction = predictor.predict(image.spec.prompt, scale="tiles")
        # Whether the prompt is in the image at all is another question: both ways part the same mask.
        mask, depth, marker = prediction.probability, prediction.depth, prediction.marker
        both = (split_instances(mask, depth=depth, marker=marker), split_instances(mask))
        scores = [object_scores(objects, image.objects) for objects in both]
        found.setdefault(image.spec.folder, []).append((scores[0], scores[1]))
    return found


def mean_row(scores: Sequence[ObjectScores]) -> dict[str, float]:
    """Return the means over images of AJI, PQ, F1 and count error."""
    names = {"AJI": "aji", "PQ": "pq", "F1": "f1", "count error": "count_error"}
    return {title: round(float(np.mean([getattr(s, name) for s in scores])), 4) for title, name in names.items()}
