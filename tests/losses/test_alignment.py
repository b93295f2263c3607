"""InfoNCE against a plain float64 loop, with and without shared texts."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from napari_amvlm.losses import info_nce


def _reference(a, b, tau, same):
    n = len(a)
    sims = [[sum(x * y for x, y in zip(a[i], b[j], strict=True)) / tau for j in range(n)] for i in range(n)]
    total = 0.0
    for i in range(n):
        row = math.log(sum(math.exp(sims[i][j]) for j in range(n)))
        column = math.log(sum(math.exp(sims[j][i]) for j in range(n)))
        positives = [j for j in range(n) if same[i][j]]
        total -= sum(sims[i][j] - row for j in positives) / len(positives)
        total -= sum(sims[j][i] - column for j in positives) / len(positives)
    return total / (2 * n)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("groups", [None, [0, 1, 0, 2, 1], [0, 0, 0, 0, 0]])
def test_matches_a_plain_loop(seed, groups):
    generator = torch.Generator().manual_seed(seed)
    a, b = (normalize(torch.randn((5, 8), generator=generator), dim=1) for _ in range(2))
    names = groups or list(range(5))
    same = [[x == y for y in names] for x in names]

    loss = info_nce(a, b, temperature=0.2, same=None if groups is None else torch.tensor(same))

    assert float(loss) == pytest.approx(_reference(a.double().tolist(), b.double().tolist(), 0.2, same), rel=1e-4)


def test_matched_pairs_cost_less_than_mismatched_ones():
    a = torch.eye(4)

    assert float(info_nce(a, a)) < 1e-3 < float(info_nce(a, a.roll(1, 0)))


def test_one_pair_alone_costs_nothing():
    one = torch.tensor([[1.0, 0.0]])

    assert float(info_nce(one, one)) == 0


def test_gradient_reaches_both_sides():
    a, b = (normalize(torch.randn(4, 8), dim=1).requires_grad_() for _ in range(2))

    info_nce(a, b).backward()

    assert a.grad is not None
    assert b.grad is not None
    assert float(a.grad.abs().sum()) > 0
    assert float(b.grad.abs().sum()) > 0


@pytest.mark.parametrize(("shape", "temperature"), [((3, 4), 0.1), ((2, 4), 0.0)])
def test_wrong_arguments_are_named(shape, temperature):
    with pytest.raises(ValueError, match="Expected argument"):
        info_nce(torch.zeros(2, 4), torch.zeros(shape), temperature=temperature)
