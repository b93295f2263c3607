"""What is drawn: scales, borders, and views that leave places where the words say they are."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_amvlm.config import LearningConfig
from napari_amvlm.learning.crop_source import CropSource
from napari_amvlm.learning.data import LabelledImage, LearningData, UnlabelledImage
from napari_amvlm.learning.labelled_memory import LabelledMemory
from napari_amvlm.learning.views import warp

_CPU = torch.device("cpu")


def _config(**changes):
    base = {"steps": 1, "minutes": None, "crop": 64, "labelled_batch": 8, "unlabelled_batch": 0}
    return LearningConfig.model_validate(base | changes)


def _image(prompt, scale, shape=(96, 128)):
    """Gray levels that rise from left to right, and a mask of the brighter half."""
    rising = np.linspace(0, 1, shape[1], dtype=np.float32)
    image = np.broadcast_to(rising[None, :, None], (*shape, 3)).copy()
    return LabelledImage(prompt, image, {prompt: image[..., 0] > 0.5}, {prompt: scale})


def test_what_lies_outside_a_whole_image_is_known_to_be_background(tiny_config):
    source = CropSource(LearningData((_image("lungs", "whole"),)), _config(), tiny_config, _CPU)

    views = [source.draw() for _ in range(6)]

    assert not source.has_unknown
    assert all(bool(v.known.all()) for v in views)
    assert any(float(v.target.mean()) > 0.2 for v in views)


def test_nothing_is_known_of_an_unlabelled_whole_image(tiny_config):
    image = _image("lungs", "whole")
    data = LearningData((image,), (UnlabelledImage("u", image.image),))
    source = CropSource(data, _config(labelled_batch=1, unlabelled_batch=3), tiny_config, _CPU)

    known = source.draw().known

    assert [bool(k.any()) for k in known] == [True, False, False, False]


@pytest.mark.parametrize("scale", ["tiles", "whole"])
def test_only_unlabelled_views_of_the_student_are_moved(tiny_config, scale):
    image = _image("lungs", scale)
    data = LearningData((image,), (UnlabelledImage("u", image.image),))
    config = _config(labelled_batch=2, unlabelled_batch=4, strong_views=False, moved_views=True)
    source = CropSource(data, config, tiny_config, _CPU)

    together, alone = source.draw(), source.draw(labelled_alone=True)

    changed = (together.strong - together.weak).abs().amax((1, 2, 3)) > 1e-3
    expected, _ = warp(together.weak, together.weak[:, :1], together.theta, 64, mirror=scale == "tiles")
    assert changed.tolist() == [False, False, True, True, True, True]
    assert torch.allclose(together.strong, expected, atol=1e-5)
    assert alone.theta is None
    assert torch.equal(alone.strong, alone.weak)


def test_the_teacher_sees_a_whole_unlabelled_image_as_it_is(tiny_config):
    image = _image("lungs", "whole")
    data = LearningData((image,), (UnlabelledImage("u", image.image),))
    source = CropSource(data, _config(labelled_batch=1, unlabelled_batch=3, moved_views=True), tiny_config, _CPU)

    weak = source.draw().weak

    assert torch.equal(weak[1], weak[2])
    assert not torch.allclose(weak[0], weak[1], atol=0.05)


def test_unlabelled_views_of_the_student_keep_sides_that_the_prompt_names(tiny_config):
    image = _image("nuclei in the right part", "tiles")
    data = LearningData((image,), (UnlabelledImage("u", image.image),))
    source = CropSource(data, _config(labelled_batch=1, unlabelled_batch=7, moved_views=True), tiny_config, _CPU)

    tiles = torch.cat([source.draw().strong for _ in range(3)])

    assert bool((tiles[..., 40:].mean((1, 2, 3)) > tiles[..., :24].mean((1, 2, 3))).all())


@pytest.mark.parametrize(("prompt", "turned"), [("bright nuclei", True), ("nuclei in the right part", False)])
def test_tiles_are_not_turned_where_the_prompt_names_a_place(tiny_config, prompt, turned):
    source = CropSource(LearningData((_image(prompt, "tiles"),)), _config(), tiny_config, _CPU)

    tiles = torch.cat([source.draw().weak for _ in range(4)])

    rises = tiles[..., 40:].mean((1, 2, 3)) - tiles[..., :24].mean((1, 2, 3))
    assert bool((rises < 0).any()) == turned


def test_an_image_that_has_no_room_is_drawn_as_one_in_memory(counting_model):
    config = counting_model.config
    nuclei, lungs = _image("nuclei", "tiles"), _image("lungs", "whole")
    part = np.zeros((96, 128), np.bool_)
    part[:48] = True
    objects = {"nuclei": nuclei.masks["nuclei"].astype(np.int32)}
    given = [replace(nuclei, reviewed=part, objects=objects), replace(lungs, reviewed={"lungs": part})]
    reads = []

    def kept(image, limit):
        return LabelledMemory(limit).kept(image, lambda: reads.append(image.name) or image)

    roomy, tight = ([kept(image, limit) for image in given] for limit in (1 << 20, 1000))
    sources = [CropSource(LearningData(tuple(images)), _config(), config, _CPU) for images in (roomy, tight)]

    assert [image.nbytes for image in given] == [96 * 128 * (12 + 1 + 1 + 4), 96 * 128 * (12 + 1 + 1)]
    assert roomy == given
    assert [source.has_unknown for source in sources] == [True, True]
    assert not reads
    assert LearningData(tuple(tight)).shown_prompts() == {"nuclei", "lungs"}
    for source in sources:
        batches = [source.draw() for _ in range(6)]
        assert {batch.prompts[0] for batch in batches} == {"nuclei", "lungs"}
        assert all((batch.depth is not None) == (batch.prompts[0] == "nuclei") for batch in batches)
        assert all(0.2 < float(batch.known.mean()) < 1 for batch in batches)
    assert set(reads) == {"nuclei", "lungs"}


def test_a_prompt_is_learnt_at_the_scale_of_most_images(tiny_config):
    images = [_image("cells", scale) for scale in ("whole", "tiles", "tiles")]
    data = LearningData(tuple(images), validation=(_image("cells", "whole"), _image("others", "whole")))

    settled = data.at_one_scale()

    assert data.prompt_scales() == {"cells": "tiles"}
    assert [i.scales for i in settled.labelled] == [{"cells": "tiles"}] * 3
    assert [i.scales for i in settled.validation] == [{"cells": "tiles"}, {"others": "whole"}]
    assert not bool(CropSource(data, _config(), tiny_config, _CPU).draw().whole.any())
