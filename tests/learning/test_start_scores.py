"""The starting model is scored on what labelled images show."""

import copy
from dataclasses import replace

import numpy as np
import pytest

from napari_amvlm.config import LearningConfig
from napari_amvlm.errors import Cancelled
from napari_amvlm.generators import drain
from napari_amvlm.learning import LabelledImage, LearningData, StepReport, UnlabelledImage, fine_tune
from napari_amvlm.learning.start_scores import start_scores
from napari_amvlm.learning.validation import prompt_means, validate


def _image(name, masks, scale="whole", side=96, reviewed=None):
    image = np.random.default_rng(len(name)).random((side, side, 3)).astype(np.float32)
    return LabelledImage(name, image, masks, dict.fromkeys(masks, scale), reviewed)


def _mask(rows, columns, side=96):
    mask = np.zeros((side, side), np.bool_)
    mask[rows, columns] = True
    return mask


def test_images_that_do_not_show_it_are_not_counted(tiny_model):
    shown, empty = _mask(np.s_[20:60], np.s_[30:50]), _mask(np.s_[:0], np.s_[:])
    images = (_image("a", {"left lung": shown}), _image("bb", {"left lung": empty, "nuclei": empty}))

    scores = start_scores(tiny_model, LearningData(images), 64)

    assert scores == prompt_means(validate(tiny_model, images[:1]))


def test_of_whole_images_all_is_looked_at_wherever_it_lies(tiny_model):
    low = _image("a", {"left lung": _mask(np.s_[70:94], np.s_[60:94])})

    scores = start_scores(tiny_model, LearningData((low,)), 64)

    assert scores == prompt_means(validate(tiny_model, [low]))


def test_the_square_of_a_tile_lies_within_the_image(tiny_model):
    whole = _image("a", {"nuclei": _mask(np.s_[240:256], np.s_[236:256], 256)}, "tiles", 256)
    part = np.s_[192:256, 192:256]
    piece = LabelledImage("a", whole.image[part], {"nuclei": whole.masks["nuclei"][part]}, {"nuclei": "tiles"})

    assert start_scores(tiny_model, LearningData((whole,)), 64) == prompt_means(validate(tiny_model, [piece]))


def test_of_tiles_the_square_around_what_is_shown_is_looked_at(tiny_model):
    shown = _mask(np.s_[150:170], np.s_[40:60], 256)
    reviewed = _mask(np.s_[140:256], np.s_[:], 256)
    whole = _image("a", {"nuclei": shown}, "tiles", 256, reviewed)
    part = np.s_[128:192, 8:72]
    piece = LabelledImage("a", whole.image[part], {"nuclei": shown[part]}, {"nuclei": "tiles"}, reviewed[part])
    shown[250, 250] = True  # among the last in order: the middle one stays

    scores = start_scores(tiny_model, LearningData((whole,)), 64)

    assert scores == prompt_means(validate(tiny_model, [piece]))


def test_a_stop_is_asked_for_at_each_image(tiny_model):
    images = tuple(_image(name, {"left lung": _mask(np.s_[20:60], np.s_[30:50])}) for name in ("a", "bb"))
    asked = []

    def should_stop():
        asked.append(1)
        return len(asked) > 2  # the first image is encoded and decoded

    with pytest.raises(Cancelled):
        start_scores(tiny_model, LearningData(images), 64, should_stop)

    result = drain(_run(tiny_model, should_stop=lambda: True), lambda _: None)
    assert (result.stopped, result.steps) == (True, 0)


class _Kept:
    """Keeps the last state."""

    def __init__(self, state=None):
        self.state = copy.deepcopy(state)

    def load(self):
        return self.state

    def due(self, step):
        return False

    def save(self, state):
        self.state = copy.deepcopy(state)


def _run(model, *, should_stop=lambda: False, keeper=None, **changes):
    image = _image("a", {"left lung": _mask(np.s_[20:60], np.s_[30:50])})
    data = LearningData((image,), tuple(UnlabelledImage(str(i), image.image) for i in range(4)))
    base = {"minutes": None, "steps": 3, "labelled_batch": 1, "unlabelled_batch": 1, "supervised_share": 0.0}
    return fine_tune(model, data, LearningConfig.model_validate(base | changes), should_stop=should_stop, keeper=keeper)


def _losses(run):
    return [report.loss for report in run if isinstance(report, StepReport)]


def test_a_continued_run_knows_what_its_start_failed_at(tiny_model):
    whole, kept, steps = _losses(_run(tiny_model, start_least=1.0)), _Kept(), []

    run = _run(tiny_model, start_least=1.0, keeper=kept, should_stop=lambda: len(steps) > 1)
    drain(run, lambda report: steps.append(report) if isinstance(report, StepReport) else None)

    assert kept.state.progress.failed == ("left lung",)
    # what an earlier version saved does not say it, and it is found out again
    for failed, alike in ((("left lung",), True), (None, True), ((), False)):
        state = replace(kept.state, progress=replace(kept.state.progress, failed=failed))
        rest = _losses(_run(tiny_model, start_least=1.0, keeper=_Kept(state)))
        assert (rest == pytest.approx(whole[2:])) == alike


@pytest.mark.parametrize(("least", "alike"), [(0.0, False), (1.0, True)])
def test_a_word_that_the_start_fails_at_is_learnt_as_a_new_one(tiny_model, least, alike):
    """A new word has labels of full weight beside pseudo-labels, whatever the number of unlabelled images."""
    as_new = _losses(_run(tiny_model, start_least=0.0, start_share=0.0, labelled_weight=1.0))

    assert (_losses(_run(tiny_model, start_least=least)) == pytest.approx(as_new)) == alike
