"""A seeded run gives the losses that it gave when this test was written: a refactoring must not change learning."""

import numpy as np
import pytest

from napari_amvlm.config import LearningConfig
from napari_amvlm.learning import LabelledImage, LearningData, StepReport, UnlabelledImage, fine_tune

# Loss, supervised and consistency part of each step.
IN_PLACE = [
    [0.90661, 0.90661, 0.0],
    [0.9566, 0.9566, 0.0],
    [0.86128, 0.86128, 0.0],
    [0.8456, 0.8456, 0.0],
    [1.32971, 0.8584, 0.4713],
    [1.28369, 0.83633, 0.44735],
    [1.30899, 0.86542, 0.44356],
    [1.28968, 0.84867, 0.44101],
]
MOVED = [
    [0.90661, 0.90661, 0.0],
    [0.9566, 0.9566, 0.0],
    [0.86128, 0.86128, 0.0],
    [0.8456, 0.8456, 0.0],
    [1.39762, 0.8584, 0.53922],
    [1.38411, 0.83866, 0.54544],
    [1.40239, 0.86144, 0.54095],
    [1.37025, 0.84975, 0.5205],
]
OTHERS = [
    [0.9373, 0.9373, 0.0],
    [0.90278, 0.90278, 0.0],
    [0.87896, 0.87896, 0.0],
    [0.91091, 0.91091, 0.0],
    [1.46591, 0.87044, 0.59548],
    [1.51817, 0.9051, 0.61308],
    [1.49241, 0.89728, 0.59513],
    [1.45386, 0.82663, 0.62723],
]


def _picture(seed, prompt, scale, *, part=False):
    chance = np.random.default_rng(seed)
    image = chance.random((96, 96, 3)).astype(np.float32)
    reviewed = np.zeros((96, 96), np.bool_)
    reviewed[20:70, 10:60] = True
    return LabelledImage(f"p{seed}", image, {prompt: image[..., 0] > 0.5}, {prompt: scale}, reviewed if part else None)


def _data():
    labelled = (
        _picture(0, "nuclei", "tiles"),
        _picture(1, "nuclei", "tiles", part=True),
        _picture(2, "left lung", "whole"),
        _picture(3, "bright dots", "tiles"),
    )
    unlabelled = tuple(UnlabelledImage(f"u{i}", _picture(10 + i, "nuclei", "tiles").image) for i in range(3))
    return LearningData(labelled, unlabelled)


def _losses(model, **changes):
    base = {
        "minutes": None,
        "steps": 8,
        "crop": 64,
        "labelled_batch": 2,
        "unlabelled_batch": 2,
        "supervised_share": 0.4,
        "start_least": 0,
    }
    run = fine_tune(model, _data(), LearningConfig.model_validate(base | changes))
    reports = [report for report in run if isinstance(report, StepReport)]
    return np.array([(report.loss, report.supervised, report.consistency) for report in reports])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, IN_PLACE),
        ({"moved_views": True}, MOVED),
        (
            {"seed": 4, "text_evidence": 0.5, "cutmix": 0.8, "anchor": 0.6, "hard_labels": False, "class_balance": 0.5},
            OTHERS,
        ),
    ],
    ids=["in place", "moved views", "other weights"],
)
def test_a_seeded_run_gives_the_same_losses(tiny_model, monkeypatch, changes, expected):
    monkeypatch.setattr("napari_amvlm.device.supports_bfloat16", lambda _device: False)

    assert _losses(tiny_model, **changes) == pytest.approx(np.array(expected), rel=2e-3, abs=2e-4)
