"""Scores of a model on held-out images, at their own size."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.imaging import is_gray, split_instances
from napari_amvlm.metrics import dice, object_scores
from napari_amvlm.models.device_model import TileLoad
from napari_amvlm.models.inference import auto_scale, decode_prompt, encode_image, named_scale
from napari_amvlm.models.prompt_prediction import predict_prompt, word_prediction
from napari_amvlm.models.text_prompted import answering, probability_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_amvlm.config import ModelConfig
    from napari_amvlm.imaging import WorkingScale
    from napari_amvlm.learning.data import LabelledImage
    from napari_amvlm.models.amvlm import AMVLM
    from napari_amvlm.models.inference import EncodedImage
    from napari_amvlm.models.text_prompted import TextPrompted
    from napari_amvlm.prediction import Prediction

Scores = dict[str, dict[str, float]]
"""Score of a model, for each prompt by the names of images: Dice, or PQ where a person told objects apart."""


def validate(
    model: AMVLM,
    images: Sequence[LabelledImage],
    *,
    load: TileLoad | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Scores:
    """Return the score of each prompt on each image at threshold 0.5; only reviewed pixels count.

    It is the Dice; where a person told the objects of a prompt apart, the panoptic quality, so that a model that counts
    worse is not better. Images without a mask are left out. `load` is how many tiles of which side are computed at
    once.

    Raises
    ------
    Cancelled
        `should_stop` said so.
    """
    scores: Scores = {}
    for image in (i for i in images if i.masks):
        masks = predicted_masks(model, image, load=load, should_stop=should_stop)
        for prompt, score in scores_of(image, masks).items():
            scores.setdefault(prompt, {})[image.name] = score
    return scores


def validate_other(model: TextPrompted, config: ModelConfig, images: Sequence[LabelledImage]) -> Scores:
    """Return the scores, as in `validate`, of another text model on the prompts that it answers for a model."""
    scores: Scores = {}
    for image in images:
        asked = [prompt for prompt in image.masks if answering(config, model, prompt)]
        found = {prompt: probability_of(model, image.pixels(), prompt) for prompt in asked}
        masks = {
            prompt: split_instances(each) if prompt in image.objects else (each >= 0.5).astype(np.int32)
            for prompt, each in found.items()
        }
        for prompt, score in scores_of(image, masks).items():
            scores.setdefault(prompt, {})[image.name] = score
    return scores


def prompt_means(scores: Scores) -> dict[str, float]:
    """Return the mean over images for each prompt."""
    return {prompt: float(np.mean(list(by_image.values()))) for prompt, by_image in scores.items()}


def mean_score(scores: Scores) -> float:
    """Return the mean over prompts of their means over images; every prompt counts the same."""
    return float(np.mean(list(prompt_means(scores).values())))


def predicted_masks(
    model: AMVLM,
    image: LabelledImage,
    *,
    load: TileLoad | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> dict[str, NDArray[np.int32]]:
    """Return what a model paints for each prompt of an image at threshold 0.5, int32 `(H, W)`.

    Where the image has objects of a prompt, each found object has a number; else the mask is 1. It is what is served;
    of a prompt that the model was not taught, of which nothing is served, it is what its network finds.

    Raises
    ------
    Cancelled
        `should_stop` said so.
    """
    load = load or TileLoad(4, model.config.tile)
    scales = {prompt: image.scales.get(prompt, "tiles") for prompt in image.masks}
    pixels = image.pixels()
    shape, gray = (pixels.shape[0], pixels.shape[1]), is_gray(pixels)

    @functools.lru_cache(maxsize=1)  # prompts of one scale follow one another; one encoded image is much memory
    def encoded(working: WorkingScale) -> EncodedImage:
        return encode_image(model, pixels, working, batch=load.batch, tile=load.side, should_stop=should_stop)

    def predict_word(prompt: str, word: str) -> Prediction:
        own = word == prompt
        working = named_scale(model, scales[word], shape) if own else auto_scale(model, word, shape, gray=gray)
        decoded = decode_prompt(model, encoded(working), word, should_stop=should_stop)
        return word_prediction(model.config, word, decoded, working)

    masks: dict[str, NDArray[np.int32]] = {}
    for prompt in sorted(image.masks, key=lambda prompt: scales[prompt]):
        found = predict_prompt(model.config, prompt, functools.partial(predict_word, prompt))
        found = replace(found, taught=True)  # of a new prompt a run has to beat what the network finds untaught
        masks[prompt] = found.objects() if prompt in image.objects else found.mask().astype(np.int32)
    return masks


def scores_of(image: LabelledImage, masks: Mapping[str, NDArray[np.int32]]) -> dict[str, float]:
    """Return the score of each prompt's mask, see `validate`, on the pixels that were reviewed for it."""
    scores: dict[str, float] = {}
    for prompt, mask in masks.items():
        reviewed = image.reviewed_for(prompt)
        known = np.ones(mask.shape, np.bool_) if reviewed is None else reviewed
        if prompt in image.objects:
            scores[prompt] = object_scores(mask * known, image.objects[prompt] * known).pq
        else:
            scores[prompt] = float(dice((mask > 0) & known, image.masks[prompt] & known))
    return scores
