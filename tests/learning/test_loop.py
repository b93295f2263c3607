"""What all runs share: the budget, the loop and the step of an optimiser."""

import math

import pytest
import torch
from torch import nn

from napari_amvlm.learning.budget import Budget, cosine
from napari_amvlm.learning.loop import Loop
from napari_amvlm.learning.module_state import descend


@pytest.mark.parametrize(
    ("limits", "made"), [({"steps": 3}, 3), ({"minutes": 1}, 6), ({"steps": 9, "minutes": 0.5}, 3)]
)
def test_a_run_ends_with_the_first_of_its_limits(limits, made):
    now = [0.0]
    budget = Budget(**limits, clock=lambda: now[0])

    def make_step():
        now[0] += 10
        return budget.fraction

    fractions = list(Loop(budget).made(make_step))

    assert len(fractions) == budget.step == made
    assert budget.fraction == 1
    assert budget.seconds == 10 * made


def test_a_cosine_falls_from_one_to_nothing():
    assert [cosine(p) for p in (0, 0.5, 1)] == pytest.approx([1, 0.5, 0])


def test_a_step_goes_down_a_sum_of_losses_each_group_at_its_own_rate():
    one, other = (nn.Parameter(torch.zeros(2)) for _ in range(2))
    optimiser = torch.optim.SGD([{"params": [one]}, {"params": [other], "factor": 0.5}], lr=1)
    losses = (part.sum() for part in (3 * one, 4 * other, one))

    descend(optimiser, losses, 0.1, longest=math.inf)
    assert one.tolist() == pytest.approx([-0.4, -0.4])
    assert other.tolist() == pytest.approx([-0.2, -0.2])

    descend(optimiser, [3 * one[0] + 4 * other[0]], 0.1)
    assert one.tolist() == pytest.approx([-0.46, -0.4])
    assert other.tolist() == pytest.approx([-0.24, -0.2])


def test_gradients_of_other_processes_are_added_before_the_step():
    weight = nn.Parameter(torch.zeros(1))

    descend(
        torch.optim.SGD([weight]), [weight.sum()], 0.5, longest=math.inf, gather=lambda parts: parts[0].grad.add_(2)
    )

    assert weight.item() == pytest.approx(-1.5)
