"""Scores on held-out images: reviewed pixels only, and every prompt at its scale."""

import numpy as np
import pytest
import torch

from napari_amvlm.config import LearningConfig
from napari_amvlm.learning import LabelledImage, LearningData, fine_tune
from napari_amvlm.learning.validation import mean_score, predicted_masks, prompt_means, validate
from napari_amvlm.models.build import build_model
from napari_amvlm.models.inference import decode_prompt, encode_image, named_scale
from napari_amvlm.predictor import Predictor

_IMAGE = np.random.default_rng(0).random((64, 80, 3), dtype=np.float32)


def _found(model, prompt, scale):
    encoded = encode_image(model, _IMAGE, named_scale(model, scale, (64, 80)))
    return decode_prompt(model, encoded, prompt).probability >= 0.5


def test_a_perfect_mask_scores_one_and_its_opposite_nothing(tiny_model):
    found = _found(tiny_model, "nuclei", "tiles")
    images = [
        LabelledImage("right", _IMAGE, {"nuclei": found}, {"nuclei": "tiles"}),
        LabelledImage("wrong", _IMAGE, {"nuclei": ~found}, {"nuclei": "tiles"}),
    ]

    assert validate(tiny_model, images) == {"nuclei": {"right": 1.0, "wrong": 0.0}}


def test_pixels_that_nobody_reviewed_do_not_count(tiny_model):
    found = _found(tiny_model, "nuclei", "tiles")
    reviewed = np.zeros((64, 80), np.bool_)
    reviewed[:, :40] = True
    mask = np.where(reviewed, found, ~found)

    image = LabelledImage("half", _IMAGE, {"nuclei": mask}, {"nuclei": "tiles"}, reviewed)

    assert validate(tiny_model, [image])["nuclei"]["half"] == 1.0


def test_prompts_are_scored_each_at_its_own_scale(tiny_model):
    masks = {"nuclei": _found(tiny_model, "nuclei", "tiles"), "left lung": ~_found(tiny_model, "left lung", "whole")}

    image = LabelledImage("both", _IMAGE, masks, {"nuclei": "tiles", "left lung": "whole"})

    scores = validate(tiny_model, [image])

    assert scores == {"nuclei": {"both": 1.0}, "left lung": {"both": 0.0}}
    assert mean_score(scores) == 0.5


def test_a_prompt_without_a_scale_is_asked_in_tiles(tiny_model):
    image = LabelledImage("plain", _IMAGE, {"nuclei": _found(tiny_model, "nuclei", "tiles")}, {})

    assert validate(tiny_model, [image]) == {"nuclei": {"plain": 1.0}}


@pytest.mark.parametrize("prompt", ["upper left lung", "everything except nuclei", "left lung and nuclei"])
def test_a_prompt_with_structure_is_composed_as_it_is_served(tiny_config, text_encoder, prompt):
    model = build_model(tiny_config.model_copy(update={"structure": True}), text_encoder=text_encoder, seed=0)
    predictor = Predictor(model, device="cpu")
    predictor.set_image(_IMAGE)
    served = predictor.predict(prompt).mask()
    image = LabelledImage("one", _IMAGE, {prompt: served}, {prompt: "whole"})

    assert 0 < served.mean() < 1
    # The predictor stretches the image's values a little.
    assert np.mean(predicted_masks(model, image)[prompt] != served) < 0.01


@pytest.mark.parametrize("prompt", ["nuclei", "everything except nuclei", "left lung and nuclei"])
def test_tissue_that_is_surely_absent_is_scored_as_it_is_served(tiny_config, text_encoder, prompt):
    nuclei, lung = tiny_config.concepts
    config = tiny_config.model_copy(
        update={"structure": True, "concepts": (nuclei.model_copy(update={"dice": 0.8}), lung)}
    )
    model = build_model(config, text_encoder=text_encoder, seed=0)
    painted = _found(model, "nuclei", "tiles")
    torch.nn.init.constant_(model.presence.mix.bias, -20)
    predictor = Predictor(model, device="cpu")
    predictor.set_image(_IMAGE)
    served = predictor.predict(prompt).mask()
    image = LabelledImage("one", _IMAGE, {prompt: served}, {prompt: "tiles"})

    assert painted.any()
    assert not predictor.predict("nuclei").mask().any()
    # The predictor stretches the image's values a little.
    assert np.mean(predicted_masks(model, image)[prompt] != served) < 0.01


def test_a_run_on_a_prompt_with_structure_is_compared_with_what_was_served(tiny_config, text_encoder):
    model = build_model(tiny_config.model_copy(update={"structure": True}), text_encoder=text_encoder, seed=0)
    prompt = "upper left lung"
    predictor = Predictor(model, device="cpu")
    predictor.set_image(_IMAGE)
    image = LabelledImage("one", _IMAGE, {prompt: predictor.predict(prompt).mask()}, {prompt: "whole"})
    config = LearningConfig(minutes=None, steps=1, labelled_batch=1, unlabelled_batch=0, crop=64)

    first, *_ = fine_tune(model, LearningData((image,), (), (image,)), config)

    assert first.dice == pytest.approx(1, abs=0.01)


def test_an_image_without_a_mask_is_left_out(tiny_model):
    assert validate(tiny_model, [LabelledImage("none", _IMAGE, {}, {})]) == {}


def test_every_prompt_counts_the_same_however_many_images_it_has():
    scores = {"nuclei": {"a": 1.0, "b": 1.0, "c": 0.4}, "gland": {"a": 0.2}}

    assert prompt_means(scores) == {"nuclei": pytest.approx(0.8), "gland": 0.2}
    assert mean_score(scores) == pytest.approx(0.5)
