"""Pictures of a run: outlines of predicted masks over those that are right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from scipy import ndimage

from napari_amvlm.evaluation import THRESHOLD
from napari_amvlm.imaging import binary_mask, read_image, to_rgb01
from training.datasets.splits import spread_evenly

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_amvlm.config import ScaleName
    from napari_amvlm.evaluation import PromptPredictor
    from napari_amvlm.imaging import ImagePair

_RIGHT, _FOUND = (0, 220, 90), (255, 0, 200)
_LONG_SIDE, _WINDOW = 640, 400


def spread_by_score(per_image: Mapping[str, Mapping[str, float]], count: int) -> list[str]:
    """Return up to `count` names from the worst Dice to the best, evenly spread between them."""
    ranked = sorted(per_image, key=lambda name: (per_image[name]["dice"], name))
    return spread_evenly(ranked, count)


def draw_overlay(
    predictor: PromptPredictor,
    pair: ImagePair,
    asked: Mapping[str, int | None],
    texts: Mapping[str, str],
    scale: ScaleName,
    path: Path,
) -> None:
    """Draw an image, of small objects its middle, with outlines of the masks (green) and of what was found (magenta).

    Parameters
    ----------
    asked, texts
        What is asked with its mask value, and the text to ask it with.
    """
    image = read_image(pair.image).data
    labels = pair.labels(image.shape)
    pixels = (to_rgb01(image, name=pair.name) * 255).astype(np.uint8)
    predictor.set_image(image)
    width = max(1, round(max(labels.shape) / _LONG_SIDE)) if scale == "whole" else 1
    for thing, value in asked.items():
        mask = predictor.predict(texts[thing], scale=scale).probability >= THRESHOLD
        pixels[_outline(binary_mask(labels, value), width)] = _RIGHT
        pixels[_outline(mask, width)] = _FOUND
    if scale == "tiles":
        top, left = (max(0, (side - _WINDOW) // 2) for side in labels.shape)
        pixels = pixels[top : top + _WINDOW, left : left + _WINDOW]
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture.thumbnail((_LONG_SIDE, _LONG_SIDE))
    picture.save(path)


def _outline(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    return np.asarray(mask & ~ndimage.binary_erosion(mask, iterations=width))
