"""ICL against plain float64 loops, at its limits, in half precision and by gradient checks."""

import math

import pytest
import torch

from napari_amvlm.losses import coarse_icl_loss, fine_icl_loss, icl_loss

PADDING = [[False] * 4, [False, False, True, True], [False, False, False, True]]


def _randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _cosine(a, b):
    def dot(x, y):
        return sum(p * q for p, q in zip(x, y, strict=True))

    return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))


def _reference_fine(cls, tokens, padding, same, tau):
    n, total = len(cls), 0.0
    for i in range(n):
        places = [p for p, out in enumerate(padding[i]) if not out]
        for p in places:
            others = [j for j in range(n) if not padding[j][p] and (j == i or not same[i][j])]
            denominator = sum(math.exp(_cosine(cls[i], tokens[j][p]) / tau) for j in others)
            total -= math.log(math.exp(_cosine(cls[i], tokens[i][p]) / tau) / denominator) / len(places)
    return total / n


@pytest.mark.parametrize("tau", [0.07, 1.0])
@pytest.mark.parametrize("groups", [(0, 1, 2), (0, 1, 0), (0, 0, 0)])
def test_both_parts_match_a_plain_loop(tau, groups):
    cls, cls_a, tokens_a = _randn(3, 6), _randn(3, 6, seed=1), _randn(3, 4, 6, seed=2)
    same = [[a == b for b in groups] for a in groups]
    mask = None if len(set(groups)) == 3 else torch.tensor(same)

    coarse = coarse_icl_loss(cls, cls_a, temperature=tau, same=mask)
    fine = fine_icl_loss(cls, tokens_a, torch.tensor(PADDING), temperature=tau, same=mask)
    both = icl_loss(cls, cls_a, tokens_a, torch.tensor(PADDING), temperature=tau, same=mask)

    single = [[row] for row in cls_a.tolist()]
    expected_coarse = _reference_fine(cls.tolist(), single, [[False]] * 3, same, tau)
    expected_fine = _reference_fine(cls.tolist(), tokens_a.tolist(), PADDING, same, tau)
    assert float(coarse) == pytest.approx(expected_coarse, rel=1e-9)
    assert float(fine) == pytest.approx(expected_fine, rel=1e-9)
    assert float(both) == pytest.approx((expected_coarse + expected_fine) / 2, rel=1e-9)


def test_views_of_the_same_item_cost_less_than_views_of_others():
    cls = torch.eye(4)

    assert float(coarse_icl_loss(cls, cls)) < 1e-4 < 10 < float(coarse_icl_loss(cls, cls.roll(1, 0)))


def test_identical_items_cost_the_logarithm_of_their_number_and_nothing_where_they_say_the_same():
    cls = _randn(1, 6).expand(3, 6)

    assert float(icl_loss(cls, cls, cls[:, None])) == pytest.approx(math.log(3))
    assert float(icl_loss(cls, cls, cls[:, None], same=torch.ones(3, 3, dtype=torch.bool))) == 0


def test_one_item_costs_nothing():
    assert float(icl_loss(_randn(1, 6), _randn(1, 6, seed=1), _randn(1, 4, 6))) == 0


def test_one_token_is_the_coarse_loss():
    cls, cls_a = _randn(3, 6), _randn(3, 6, seed=1)

    assert float(fine_icl_loss(cls, cls_a[:, None])) == float(coarse_icl_loss(cls, cls_a))


def test_all_padding_but_one_is_the_loss_of_that_one():
    cls, tokens_a = _randn(3, 6), _randn(3, 4, 6, seed=1)
    padding = torch.tensor([[True, True, False, True]] * 3)

    assert float(fine_icl_loss(cls, tokens_a, padding)) == pytest.approx(float(fine_icl_loss(cls, tokens_a[:, 2:3])))


def test_an_item_that_is_all_padding_is_left_out():
    cls, tokens_a = _randn(3, 6), _randn(3, 4, 6, seed=1)
    padding = torch.tensor([*PADDING[:2], [True] * 4])

    loss = fine_icl_loss(cls, tokens_a, padding)

    assert float(loss) == pytest.approx(float(fine_icl_loss(cls[:2], tokens_a[:2], padding[:2])))


def test_a_batch_that_is_all_padding_costs_nothing_and_its_gradient_is_zero():
    cls = _randn(3, 6).requires_grad_()

    loss = fine_icl_loss(cls, _randn(3, 4, 6), torch.ones(3, 4, dtype=torch.bool))
    loss.backward()

    assert float(loss.detach()) == 0
    assert cls.grad is not None
    assert not cls.grad.any()


@pytest.mark.parametrize("filling", [1e6, math.nan])
def test_what_padding_holds_never_reaches_the_loss_nor_the_gradient(filling):
    cls, tokens_a, padding = _randn(3, 6).requires_grad_(), _randn(3, 4, 6, seed=1), torch.tensor(PADDING)
    clean = fine_icl_loss(cls, tokens_a, padding)

    spoilt = fine_icl_loss(cls, tokens_a.masked_fill(padding[..., None], filling), padding)

    assert float(spoilt.detach()) == float(clean.detach())
    assert torch.equal(*(torch.autograd.grad(loss, cls)[0] for loss in (clean, spoilt)))


def test_gradient_reaches_the_query_side_and_never_the_momentum_side():
    cls, cls_a, tokens_a = (x.requires_grad_() for x in (_randn(3, 6), _randn(3, 6, seed=1), _randn(3, 4, 6, seed=2)))

    icl_loss(cls, cls_a, tokens_a).backward()

    assert cls.grad is not None
    assert float(cls.grad.abs().sum()) > 0
    assert cls_a.grad is None
    assert tokens_a.grad is None


def test_gradients_are_right():
    cls_a, tokens_a, padding = _randn(3, 4, seed=1), _randn(3, 4, 4, seed=2), torch.tensor(PADDING)

    def loss(cls):
        return icl_loss(cls, cls_a, tokens_a, padding, temperature=0.5)

    assert torch.autograd.gradcheck(loss, _randn(3, 4).requires_grad_())


def test_extreme_temperatures_stay_finite():
    cls, cls_a, tokens_a = _randn(3, 6).float().requires_grad_(), _randn(3, 6, seed=1), _randn(3, 4, 6, seed=2)

    cold = icl_loss(cls, cls_a.float(), tokens_a.float(), temperature=1e-6)
    hot = icl_loss(cls, cls_a.float(), tokens_a.float(), temperature=1e6)
    (gradient,) = torch.autograd.grad(cold, cls)

    assert math.isfinite(float(cold.detach()))
    assert gradient.isfinite().all()
    assert float(hot.detach()) == pytest.approx(math.log(3), rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_neither_overflows_nor_loses_digits(dtype):
    cls, cls_a = ((2000 * _randn(3, 8, seed=s)).to(dtype) for s in range(2))
    tokens_a = (2000 * _randn(3, 4, 8, seed=2)).to(dtype)
    padding = torch.tensor(PADDING)
    cls.requires_grad_()

    with torch.autocast("cpu", dtype=dtype):
        inside = icl_loss(cls, cls_a, tokens_a, padding)
    inside.backward()

    assert inside.dtype == torch.float32
    assert float(inside.detach()) == float(icl_loss(cls.detach().float(), cls_a.float(), tokens_a.float(), padding))
    assert cls.grad is not None
    assert cls.grad.isfinite().all()
    assert cls.grad.any()


def test_wrong_arguments_are_named():
    cls, tokens = torch.zeros(3, 4), torch.zeros(3, 5, 4)
    wrong = [
        lambda: coarse_icl_loss(cls, cls[:2]),
        lambda: coarse_icl_loss(tokens, tokens),
        lambda: coarse_icl_loss(cls, cls, temperature=math.inf),
        lambda: coarse_icl_loss(cls, cls, same=torch.ones(3, 3)),
        lambda: fine_icl_loss(cls, tokens[:2]),
        lambda: fine_icl_loss(cls, tokens, torch.zeros(3, 4, dtype=torch.bool)),
        lambda: icl_loss(cls, cls, tokens, temperature=-1.0),
    ]

    for call in wrong:
        with pytest.raises(ValueError, match="Expected argument"):
            call()
