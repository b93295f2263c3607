"""Dice of a model on images in memory, which pretraining watches, and how well scores tell two groups apart."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.imaging import tile_scale, whole_scale
from napari_amvlm.metrics import dice
from napari_amvlm.models.inference import decode_prompt, encode_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from napari_amvlm.models.amvlm import AMVLM
    from training.data import TaughtImage


def score_images(model: AMVLM, images: list[TaughtImage], device: torch.device) -> dict[str, float]:
    """Return the mean Dice at threshold 0.5 of each concept, and the mean predicted share where it is absent.

    Whole images are scored on their square canvas. Every image is also asked for "nuclei" or "lungs", whichever it
    does not show; the share of pixels found then is reported as `absent`.
    """
    found: dict[str, list[float]] = {}
    for image in images:
        pixels = image.image.astype(np.float32) / np.float32(255)
        shape = pixels.shape[:2]
        scale = tile_scale() if image.kind == "tissue" else whole_scale(shape, model.config.whole)
        encoded = encode_image(model, pixels, scale, device=device)
        for name, mask in zip(image.concepts, image.masks, strict=True):
            probability = decode_prompt(model, encoded, name).probability
            found.setdefault(name, []).append(dice(probability >= 0.5, mask > 0))
        absent = "lungs" if image.kind == "tissue" else "nuclei"
        share = float((decode_prompt(model, encoded, absent).probability >= 0.5).mean())
        found.setdefault("absent", []).append(share)
    return {name: round(float(np.mean(values)), 4) for name, values in found.items()}


def roc_auc(present: Sequence[float], absent: Sequence[float]) -> float:
    """Return the area under the ROC curve: how often a present concept scores above an absent one; ties count half.

    Not a number where one of the groups is empty.
    """
    if not present or not absent:
        return math.nan
    a, b = np.asarray(present)[:, None], np.asarray(absent)[None]
    return float(np.mean((a > b) + 0.5 * (a == b)))
