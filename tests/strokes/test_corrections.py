import numpy as np
import pytest
import torch
from torch import nn

from napari_amvlm.errors import LabelsError
from napari_amvlm.metrics import dice
from napari_amvlm.models.feature_maps import FeatureMaps
from napari_amvlm.strokes import Spread
from training.simulation.corrections import steps, until
from training.simulation.mouse import MouseModel

SIDE = 96


@pytest.fixture
def truth():
    y, x = np.indices((SIDE, SIDE))
    return ((y - 30) ** 2 + (x - 30) ** 2 < 150) | ((y - 65) ** 2 + (x - 60) ** 2 < 150)


@pytest.fixture
def faint(truth):
    """Return a probability that shows both objects, but below one half, and one object that is not there."""
    y, x = np.indices((SIDE, SIDE))
    wrong = (y - 20) ** 2 + (x - 75) ** 2 < 80
    return (0.05 + 0.3 * truth + 0.7 * wrong).astype(np.float32)


def spread_on(truth, probability):
    values = (0.2 + 0.6 * truth + np.random.default_rng(0).normal(0, 0.02, truth.shape)).astype(np.float32)
    pixels = torch.from_numpy(np.repeat(values[None], 3, 0))
    half = nn.functional.avg_pool2d(pixels[None], 2)[0]
    return Spread(FeatureMaps(truth.shape, "whole", pixels, (0, 0, SIDE, SIDE), (half,)), probability)


@pytest.mark.parametrize("kind", ["paint", "strokes", "clicks"])
def test_each_way_comes_to_the_target_and_takes_time(kind, truth, faint):
    spread = spread_on(truth, faint) if kind == "strokes" else None

    step, reached = until(steps(kind, faint, truth, MouseModel(), spread), truth, 0.9)

    assert reached
    assert dice(step.mask, truth) >= 0.9
    assert step.seconds > MouseModel().look_seconds


def test_clicks_cost_less_than_outlines_where_the_probability_shows_the_objects(truth, faint):
    slow = MouseModel(pixels_per_second=20)

    clicked, _ = until(steps("clicks", faint, truth, slow), truth, 0.9)
    painted, _ = until(steps("paint", faint, truth, slow), truth, 0.9)

    assert clicked.seconds < painted.seconds / 2


def test_the_number_of_actions_is_bounded(truth, faint):
    step, reached = until(steps("clicks", faint, truth, MouseModel()), truth, 1.0, most=1)

    assert not reached
    assert dice(step.mask, truth) > dice(faint >= 0.5, truth)


def test_strokes_need_something_to_spread_on(truth, faint):
    with pytest.raises(LabelsError, match="features"):
        steps("strokes", faint, truth, MouseModel())
