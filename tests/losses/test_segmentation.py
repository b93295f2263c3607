"""Segmentation losses against plain float64 loops and at their limits."""

import math

import pytest
import torch

from napari_amvlm.losses import balanced_cross_entropy, depth_loss, dice_loss, segmentation_loss


def _pairs(seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn((3, 1, 5, 7), generator=generator) * 3
    target = (torch.rand((3, 1, 5, 7), generator=generator) < 0.3).float()
    weight = torch.rand((3, 1, 5, 7), generator=generator)
    return logits, target, weight


def _reference_dice(logits, target, weight):
    overlap = total = 0.0
    for z, t, w in zip(logits, target, weight, strict=True):
        p = 1 / (1 + math.exp(-z))
        overlap += w * p * t
        total += w * p + w * t
    return 1 - (2 * overlap + 1) / (total + 1)


def _reference_cross_entropy(logits, target, weight, balance):
    count = sum(weight)
    foreground = sum(w * t for w, t in zip(weight, target, strict=True))
    floor = max(0.02 * count, 1e-6)
    up = (count / (2 * max(foreground, floor))) ** balance
    down = (count / (2 * max(count - foreground, floor))) ** balance
    loss = norm = 0.0
    for z, t, w in zip(logits, target, weight, strict=True):
        p = 1 / (1 + math.exp(-z))
        w *= t * up + (1 - t) * down
        loss -= w * (t * math.log(p) + (1 - t) * math.log(1 - p))
        norm += w
    return loss / norm


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("balance", [0.0, 0.3, 1.0])
def test_losses_match_plain_loops(seed, balance):
    logits, target, weight = _pairs(seed)

    dice = dice_loss(logits, target, weight)
    entropy = balanced_cross_entropy(logits, target, weight, balance=balance)

    for row in range(3):
        flat = [x[row].double().flatten().tolist() for x in (logits, target, weight)]
        assert float(dice[row]) == pytest.approx(_reference_dice(*flat), abs=1e-5)
        assert float(entropy[row]) == pytest.approx(_reference_cross_entropy(*flat, balance), rel=1e-4)


def test_pixels_of_weight_zero_have_no_influence():
    logits, target, _ = _pairs(0)
    weight = torch.ones_like(target)
    weight[..., :3] = 0
    other = logits.clone()
    other[..., :3] += 5

    before, after = (segmentation_loss(z, target, weight) for z in (logits, other))

    assert torch.equal(before, after)


def test_nothing_predicted_where_nothing_is_costs_almost_nothing():
    logits = torch.full((1, 1, 8, 8), -12.0)

    loss = segmentation_loss(logits, torch.zeros_like(logits))

    assert float(loss) < 1e-3


def test_everything_predicted_where_nothing_is_costs_much():
    logits = torch.full((1, 1, 8, 8), 6.0)

    loss = segmentation_loss(logits, torch.zeros_like(logits))

    assert float(loss) > 1


def test_gradients_are_right():
    logits, target, weight = (x.double() for x in _pairs(1))
    logits.requires_grad_()

    assert torch.autograd.gradcheck(
        lambda z: balanced_cross_entropy(z.double(), target, weight), logits, eps=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("value", [1e4, -1e4])
def test_huge_logits_stay_finite(value):
    logits = torch.full((1, 1, 4, 4), value, requires_grad=True)

    loss = segmentation_loss(logits, torch.ones_like(logits).detach()).sum()
    loss.backward()

    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_each_pair_may_have_a_balance_of_its_own():
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(2, 1, 6, 6, generator=generator)
    target = (torch.rand(2, 1, 6, 6, generator=generator) < 0.2).float()

    both = balanced_cross_entropy(logits, target, balance=torch.tensor([0.0, 0.5]).reshape(2, 1, 1, 1))

    for row, balance in enumerate((0.0, 0.5)):
        torch.testing.assert_close(both[row], balanced_cross_entropy(logits, target, balance=balance)[row])


def test_depth_loss_is_four_times_a_weighted_squared_error():
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(2, 1, 5, 6, generator=generator)
    depth = torch.rand(2, 1, 5, 6, generator=generator) * (torch.rand(2, 1, 5, 6, generator=generator) < 0.5)
    weight = torch.rand(2, 1, 5, 6, generator=generator)

    found = depth_loss(logits, depth, weight, inside=4.0)

    for row in range(2):
        total = weights = 0.0
        for z, t, w in zip(logits[row].flatten(), depth[row].flatten(), weight[row].flatten(), strict=True):
            factor = float(w) * (4.0 if t > 0 else 1.0)
            p = 1 / (1 + math.exp(-float(z)))
            total += factor * 4 * (p - float(t)) ** 2
            weights += factor
        assert float(found[row]) == pytest.approx(total / weights, rel=1e-5)


def test_depth_loss_of_nothing_known_is_zero():
    assert depth_loss(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)).tolist() == [0.0]
