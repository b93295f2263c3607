"""Objects that a person told apart: the head learns from them, keeps what it knew elsewhere, and is scored by PQ."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_amvlm.config import LearningConfig
from napari_amvlm.learning.crop_source import CropSource
from napari_amvlm.learning.data import LabelledImage, LearningData
from napari_amvlm.learning.mean_teacher import MeanTeacher
from napari_amvlm.learning.new_concepts import with_prompts
from napari_amvlm.learning.validation import predicted_masks, validate
from napari_amvlm.metrics import object_scores


def _config(**changes):
    base = {"minutes": None, "steps": 4, "crop": 64, "labelled_batch": 2, "unlabelled_batch": 0, "strong_views": False}
    return LearningConfig.model_validate(base | changes)


def _image(prompt="nuclei", *, told=True):
    """Return two touching squares in noise."""
    objects = np.zeros((96, 96), np.int32)
    objects[20:60, 20:45], objects[20:60, 45:70] = 70_001, 3
    image = np.random.default_rng(0).random((96, 96, 3), dtype=np.float32) / 2 + (objects > 0)[..., None] * 0.4
    told_apart = {prompt: objects} if told else {}
    return LabelledImage("a", image.astype(np.float32), {prompt: objects > 0}, {prompt: "tiles"}, None, told_apart)


def _source(model, *images, **changes):
    return CropSource(LearningData(images), _config(**changes), model.config, torch.device("cpu"))


def test_the_depth_of_a_crop_lies_where_its_objects_do(counting_model):
    source = _source(counting_model, _image(), _image("left lung", told=False), labelled_batch=8)

    batch = source.draw()

    assert batch.depth is not None
    told = ~batch.depth.isnan().flatten(1).any(1)
    assert told.tolist() == [prompt in ("nuclei", "cell nuclei") for prompt in batch.prompts]
    assert torch.equal(batch.depth[told] > 0, batch.target[told] > 0)
    assert float(batch.depth[told].max()) == 1


def test_models_without_the_head_learn_masks_alone(tiny_model):
    batch = _source(tiny_model, _image()).draw()

    assert batch.depth is None
    assert np.isfinite(MeanTeacher(tiny_model, _config()).step(batch, learning_rate=0.01, consistency=0.0).supervised)


def test_the_head_learns_from_accepted_objects(counting_model):
    batch = _source(counting_model, _image()).draw()
    teaching = MeanTeacher(counting_model, _config())

    losses = [teaching.step(batch, learning_rate=0.01, consistency=0.0).supervised for _ in range(20)]
    without = MeanTeacher(counting_model, _config(object_weight=0.0)).step(batch, learning_rate=0.0, consistency=0.0)

    assert losses[-1] < losses[0]
    assert without.supervised < losses[0]
    changed = teaching.student["objects"].state_dict()
    assert any(not torch.equal(value, changed[name]) for name, value in counting_model.objects.state_dict().items())


@pytest.mark.parametrize(("told", "retained"), [(True, []), (False, ["left lung"])])
def test_depth_that_nobody_corrected_is_kept(counting_model, told, retained):
    batch = _source(counting_model, _image(told=told)).draw()
    teaching = MeanTeacher(counting_model, _config())
    with torch.no_grad():
        teaching.student["objects"].out.bias.add_(2.0)

    teaching.step(batch, learning_rate=0.0, consistency=0.0, retained=retained)

    gradient = teaching.student["objects"].out.bias.grad
    assert gradient is not None
    assert bool((gradient > 0).all())  # back to where it was


def test_concepts_whose_objects_were_told_apart_can_be_counted(counting_model, tiny_model):
    data = LearningData((_image("glands"), _image("ducts", told=False)))

    served = with_prompts(counting_model, data)

    assert served.objects is not None
    assert served.objects.concepts == ("nuclei", "glands")
    assert with_prompts(tiny_model, data).objects is None


def test_where_objects_were_told_apart_the_score_is_their_quality(counting_model):
    image = _image()

    found = predicted_masks(counting_model, image)["nuclei"]
    itself = replace(image, name="b", masks={"nuclei": found > 0}, objects={"nuclei": found})
    scores = validate(counting_model, [image, itself])

    assert found.max() > 1
    assert scores["nuclei"]["a"] == pytest.approx(object_scores(found, image.objects["nuclei"]).pq)
    assert scores["nuclei"]["b"] == 1.0
