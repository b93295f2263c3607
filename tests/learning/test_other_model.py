"""A run beside another text model: it labels what ours was not taught, and answers until ours is better."""

import numpy as np
import pytest
import torch

from napari_amvlm.config import LearningConfig
from napari_amvlm.generators import drain
from napari_amvlm.learning import LabelledImage, LearningData, UnlabelledImage, fine_tune
from napari_amvlm.learning.networks import see
from napari_amvlm.learning.pseudo_labels import OtherModel
from napari_amvlm.models.text_prompted import answering, load_text_model


@pytest.fixture
def other(text_models):
    return load_text_model(text_models["clipseg"])


def _picture(seed, mask=None):
    chance = np.random.default_rng(seed)
    image = chance.random((64, 64, 3)).astype(np.float32)
    if mask is None:
        mask = np.zeros((64, 64), np.bool_)
        mask[16:48, 16:48] = True
    image[mask] *= 0.2
    return LabelledImage(f"p{seed}", image, {"stroma": mask}, {"stroma": "tiles"})


def _finish(model, data, other, **changes):
    base = {"minutes": None, "steps": 30, "crop": 64, "labelled_batch": 2, "unlabelled_batch": 1, "validations": 2}
    config = LearningConfig.model_validate(base | {"learning_rate": 0.01, "ema_decay": 0.8} | changes)
    return drain(fine_tune(model, data, config, text_model=other), lambda report: None)


def test_it_labels_only_the_prompts_that_it_answers(tiny_model, tiny_config, other):
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    seen, text = see(tiny_model, images, torch.zeros(2, dtype=torch.bool)), tiny_model.encode_text(["nuclei", "stroma"])

    found = list(OtherModel(other, tiny_config).weighted_logits(seen, text, ["nuclei", "stroma"]))

    wanted = torch.logit(other.probability(images[1:], ["stroma"]), eps=1e-4)
    assert len(found) == 1
    assert not found[0][0].any()
    torch.testing.assert_close(found[0][1:], wanted)
    assert not list(OtherModel(other, tiny_config).weighted_logits(seen, text, ["nuclei", "left lung"]))
    assert not list(OtherModel(None, tiny_config).weighted_logits(seen, text, ["stroma", "stroma"]))


def test_ours_takes_over_once_it_is_better_on_held_out_images(tiny_model, other):
    data = LearningData(
        (_picture(0), _picture(1)), (UnlabelledImage("u", _picture(9).image),), tuple(_picture(i) for i in (2, 3, 4))
    )

    result = _finish(tiny_model, data, other, steps=60)

    assert result.before is not None
    assert result.after is not None
    assert result.after > result.before  # before: what the other model drew
    assert answering(tiny_model.config, other, "stroma") is other
    assert answering(result.model.config, other, "stroma") is None


def test_the_other_model_goes_on_answering_while_it_is_better(tiny_model, other):
    held_out = _picture(2)
    found = other.probability(torch.from_numpy(held_out.image).permute(2, 0, 1)[None], ["stroma"])[0, 0].numpy() >= 0.5
    perfect = LabelledImage("p2", held_out.image, {"stroma": found}, {"stroma": "tiles"})

    result = _finish(tiny_model, LearningData((_picture(0),), (), (perfect,)), other, keep="last")

    assert (result.before, result.after) == (1.0, 1.0)
    assert answering(result.model.config, other, "stroma") is other
    assert answering(result.model.config, None, "stroma") is None
