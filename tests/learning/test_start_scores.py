"""The starting model is scored on what labelled images show."""

import numpy as np
import pytest

from napari_amvlm.config import LearningConfig
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


def test_of_tiles_the_square_around_what_is_shown_is_looked_at(tiny_model):
    shown = _mask(np.s_[150:170], np.s_[40:60], 256)
    reviewed = _mask(np.s_[140:256], np.s_[:], 256)
    whole = _image("a", {"nuclei": shown}, "tiles", 256, reviewed)
    part = np.s_[128:192, 8:72]
    piece = LabelledImage("a", whole.image[part], {"nuclei": shown[part]}, {"nuclei": "tiles"}, reviewed[part])
    shown[250, 250] = True  # among the last in order: the middle one stays

    scores = start_scores(tiny_model, LearningData((whole,)), 64)

    assert scores == prompt_means(validate(tiny_model, [piece]))


@pytest.mark.parametrize(("least", "alike"), [(0.0, False), (1.0, True)])
def test_a_word_that_the_start_fails_at_is_learnt_as_a_new_one(tiny_model, least, alike):
    """A new word has labels of full weight beside pseudo-labels, whatever the number of unlabelled images."""
    image = _image("a", {"left lung": _mask(np.s_[20:60], np.s_[30:50])})
    data = LearningData((image,), tuple(UnlabelledImage(str(i), image.image) for i in range(4)))

    def losses(**changes):
        base = {"minutes": None, "steps": 3, "labelled_batch": 1, "unlabelled_batch": 1, "supervised_share": 0.0}
        run = fine_tune(tiny_model, data, LearningConfig.model_validate(base | changes))
        return [report.loss for report in run if isinstance(report, StepReport)]

    as_new = losses(start_least=0.0, start_share=0.0, labelled_weight=1.0)

    assert (losses(start_least=least) == pytest.approx(as_new)) == alike
