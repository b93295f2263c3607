"""The steering benchmark on the shipped samples, with a tiny model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_amvlm.predictor import Predictor
from training.benchmarks.text_steering import ABSENT, PRESENT, steering

if TYPE_CHECKING:
    from napari_amvlm.models.amvlm import AMVLM


def test_every_prompt_of_every_sample_is_reported(tiny_model: AMVLM) -> None:
    report = steering(Predictor(tiny_model, device="cpu"))

    for name in PRESENT:
        assert set(report[name]) == {*PRESENT[name], *ABSENT[name]}
        assert all(0 <= row["presence"] <= 1 for row in report[name].values())
    assert set(report["agreement_iou"]) == {
        "nuclei / cell nuclei",
        "left lung / the patient's left lung",
        "left lung / right lung",
        "left lung / lungs",
    }
