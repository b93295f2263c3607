"""What is drawn of an answer, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_amvlm.config import Concept, ModelConfig
from napari_amvlm.imaging import WorkingScale
from napari_amvlm.models.words.taught import taught
from napari_amvlm.prediction import SURELY_ABSENT, Prediction

_EVERYWHERE = np.ones((8, 8), np.float32)
_SEEN = Prediction("nuclei", _EVERYWHERE, _EVERYWHERE, 0.9, WorkingScale("tiles", 1.0), 0.1, calibrated=True)


@pytest.mark.parametrize(
    ("presence", "known", "calibrated", "drawn"),
    [
        pytest.param(0.9, True, True, True, id="present"),
        pytest.param(SURELY_ABSENT, True, True, True, id="doubtful"),
        pytest.param(SURELY_ABSENT - 0.01, True, True, False, id="surely absent"),
        pytest.param(SURELY_ABSENT - 0.01, True, False, True, id="not calibrated"),
        pytest.param(0.9, False, False, False, id="not taught"),
    ],
)
def test_a_mask_is_drawn_where_the_word_is_taught_and_not_surely_absent(presence, known, calibrated, drawn):
    prediction = replace(_SEEN, presence=presence, taught=known, calibrated=calibrated)

    assert prediction.is_drawn is drawn
    assert prediction.mask().all() == prediction.mask().any() == drawn
    assert bool(prediction.objects(0.5).any()) == drawn


def test_anatomy_is_drawn_whatever_its_presence():
    assert replace(_SEEN, presence=0.01, scale=WorkingScale("whole", 0.5)).is_drawn


def test_presence_is_calibrated_for_plain_words_that_were_measured():
    measured = Concept(name="lungs", prompts=("lungs",), scale="whole", dice=0.9)
    config = ModelConfig(concepts=(measured, Concept(name="heart", prompts=("heart",), scale="whole")), structure=True)

    found = {text: taught(config, text) for text in ("lungs", "heart", "everything except the lungs")}

    assert [meaning is not None and meaning.measured for meaning in found.values()] == [True, False, False]
