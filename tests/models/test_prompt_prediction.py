"""How far a model is believed that answers a plain word."""

import numpy as np
import pytest

from napari_amvlm.config import Concept, ModelConfig
from napari_amvlm.imaging import WorkingScale
from napari_amvlm.models.inference import DecodedPrompt
from napari_amvlm.models.prompt_prediction import predict_prompt, word_prediction

_TUMOR = Concept(name="carcinoma", prompts=("carcinoma", "tumor"), scale="whole", modalities=("histology",))
_NUCLEI = Concept(name="nuclei", prompts=("nuclei",), scale="tiles", modalities=("histology", "light microscopy"))
_CONFIG = ModelConfig(concepts=(_TUMOR, _NUCLEI), structure=True)
_MAP = np.full((4, 4), 0.6, np.float32)


@pytest.mark.parametrize(
    ("word", "gray", "presence", "answer"),
    [
        ("tumor", True, 0.1, "not taught"),
        ("tumor", False, 0.1, "absent"),
        ("tumor", True, 0.9, "present"),  # a slide without colours, or what a person taught it since
        ("nuclei", True, 0.1, "absent"),
        ("nuclei without tumor", True, 0.1, "not taught"),
    ],
)
def test_what_was_learnt_from_stained_tissue_is_not_absent_from_a_gray_image(word, gray, presence, answer):
    def predicted(plain):
        decoded = DecodedPrompt(_MAP, _MAP, presence)
        return word_prediction(_CONFIG, plain, decoded, WorkingScale("whole", 1.0), gray=gray)

    found = predict_prompt(_CONFIG, word, predicted)

    assert found.answer == answer
    assert ("is not taught of gray images yet. Paint two strokes" in found.said) == (answer == "not taught")
    assert found.is_drawn == (answer != "not taught")
