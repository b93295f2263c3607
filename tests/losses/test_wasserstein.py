"""Wasserstein distances, their ratio and the supervised similarity against plain float64 loops and at their limits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch

from napari_amvlm.losses import (
    ambiguity_ratio,
    ambiguity_weight,
    dusss_weight,
    pairwise_cosine,
    pairwise_wasserstein,
    spread_loss,
    supervised_similarity,
    v2t_loss,
)

if TYPE_CHECKING:
    from napari_amvlm.losses.wasserstein import WeightForm

FORMS: tuple[WeightForm, ...] = ("sigmoid", "exponential")


def _gaussians(seed, tokens, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    mu, log_sigma = torch.randn((2, 2, tokens, 4), generator=generator, dtype=torch.float64)
    return mu.to(dtype), log_sigma.exp().to(dtype)


def _squared(a, b):
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("form", FORMS)
def test_all_pairs_match_a_plain_loop(seed, form):
    (mu_a, sigma_a), (mu_b, sigma_b) = _gaussians(seed, 5), _gaussians(seed + 10, 3)
    cosine = pairwise_cosine(mu_a, mu_b)

    distance, identity = pairwise_wasserstein(mu_a, sigma_a, mu_b, sigma_b)
    ratio = ambiguity_ratio(distance, identity)
    supervised = supervised_similarity(cosine, ratio, form=form, decay=0.3)

    assert distance.shape == (2, 5, 3)
    for i in range(2):
        for p in range(5):
            for k in range(3):
                ds = _squared(mu_a[i, p].tolist(), mu_b[i, k].tolist())
                w2 = ds + _squared(sigma_a[i, p].tolist(), sigma_b[i, k].tolist())
                # the publication's W2 / (Ds + eps); eps on both sides changes it by less than eps / Ds.
                r = w2 / (ds + 1e-4)
                w = 1 / (1 + math.exp(-r)) if form == "sigmoid" else math.exp(-0.3 * (r - 1))
                s = 1 - (1 - float(cosine[i, p, k])) * w
                assert float(identity[i, p, k]) == pytest.approx(ds, rel=1e-9)
                assert float(distance[i, p, k]) == pytest.approx(w2, rel=1e-9)
                assert float(ratio[i, p, k]) == pytest.approx((w2 + 1e-4) / (ds + 1e-4), rel=1e-9)
                assert float(ratio[i, p, k]) == pytest.approx(r, rel=1e-3)
                assert float(supervised[i, p, k]) == pytest.approx(s, abs=1e-3)


def test_distances_are_symmetric_and_zero_to_oneself():
    mu, sigma = _gaussians(0, 5, torch.float32)

    distance, identity = pairwise_wasserstein(mu, sigma, mu, sigma)

    assert torch.equal(distance, distance.mT)
    assert not distance.diagonal(dim1=1, dim2=2).any()
    assert not identity.diagonal(dim1=1, dim2=2).any()
    assert (distance >= identity).all()


def test_equal_spreads_make_a_ratio_of_one_and_differing_ones_more():
    mu, sigma = _gaussians(0, 4)

    plain = ambiguity_ratio(*pairwise_wasserstein(mu, sigma[:, :1].expand_as(sigma), mu, sigma[:, :1].expand_as(sigma)))
    ambiguous = ambiguity_ratio(*pairwise_wasserstein(mu, sigma, mu, sigma))

    assert torch.equal(plain, torch.ones_like(plain))
    off_diagonal = ~torch.eye(4, dtype=torch.bool)
    assert (ambiguous[:, off_diagonal] > 1).all()
    assert (ambiguous.diagonal(dim1=1, dim2=2) == 1).all()


def test_ratio_grows_with_the_share_of_the_spread():
    mu, sigma = _gaussians(0, 2)

    ratios = [
        float(ambiguity_ratio(*pairwise_wasserstein(mu, f * sigma, mu, f * sigma))[0, 0, 1]) for f in (0.1, 1, 10)
    ]

    assert 1 < ratios[0] < ratios[1] < ratios[2]


def test_the_two_forms_move_in_opposite_directions_within_their_bounds():
    ratio = torch.tensor([1.0, 1.5, 3.0, 1e9])

    sigmoid, exponential = (ambiguity_weight(ratio, form=form) for form in FORMS)

    assert (sigmoid.diff() > 0).all()
    assert (exponential.diff() < 0).all()
    assert float(sigmoid[0]) == pytest.approx(1 / (1 + math.exp(-1)))
    assert float(sigmoid[-1]) == 1
    assert float(exponential[0]) == 1
    assert float(exponential[-1]) == 0


def test_a_faster_decay_weighs_ambiguous_pairs_less():
    ratio = torch.tensor([2.0])

    weights = [float(ambiguity_weight(ratio, form="exponential", decay=d)) for d in (0.0, 0.5, 2.0)]

    assert weights == pytest.approx([1.0, math.exp(-0.5), math.exp(-2)])


@pytest.mark.parametrize("form", FORMS)
def test_supervised_similarity_lies_between_the_cosine_and_one(form):
    mu, sigma = _gaussians(0, 5)
    cosine = pairwise_cosine(mu, mu)

    supervised = supervised_similarity(cosine, ambiguity_ratio(*pairwise_wasserstein(mu, sigma, mu, sigma)), form=form)

    assert (supervised >= cosine - 1e-12).all()
    assert (supervised <= 1 + 1e-12).all()


@pytest.mark.parametrize(("cosine", "tau", "less"), [(0.8, 1.0, True), (0.89, 0.07, True), (0.0, 0.07, False)])
def test_under_the_exponential_form_close_ambiguous_negatives_are_pushed_away_less_and_far_ones_more(cosine, tau, less):
    similarity = torch.tensor([[[0.9, cosine], [0.1, 0.9]]], requires_grad=True)
    push = []
    for ambiguity in (1.0, 4.0):
        ratio = torch.tensor([[[1.0, ambiguity], [1.0, 1.0]]])
        loss = v2t_loss(supervised_similarity(similarity, ratio, form="exponential"), temperature=tau)
        push.append(float(torch.autograd.grad(loss, similarity)[0][0, 0, 1]))

    assert min(push) > 0
    assert (push[1] < push[0]) is less


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e3, 1e6])
@pytest.mark.parametrize("same_mu", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_huge_and_tiny_sigma_stay_finite(scale, same_mu, form):
    mu, sigma = _gaussians(0, 4, torch.float32)
    mu = mu[:, :1].repeat(1, 4, 1) if same_mu else mu
    mu, sigma = mu.requires_grad_(), (sigma * scale).requires_grad_()

    ratio = ambiguity_ratio(*pairwise_wasserstein(mu, sigma, mu, sigma))
    loss = v2t_loss(supervised_similarity(pairwise_cosine(mu, mu), ratio, form=form))
    loss.backward()

    assert ratio.isfinite().all()
    assert (ratio >= 1).all()
    assert math.isfinite(float(loss.detach()))
    for leaf in (mu, sigma):
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()


@pytest.mark.parametrize("form", FORMS)
def test_gradients_are_right_and_reach_mean_and_spread(form):
    (mu_a, sigma_a), (mu_b, sigma_b) = _gaussians(0, 3), _gaussians(1, 3)

    def loss(mu_a, sigma_a, mu_b, sigma_b):
        ratio = ambiguity_ratio(*pairwise_wasserstein(mu_a, sigma_a, mu_b, sigma_b))
        return v2t_loss(supervised_similarity(pairwise_cosine(mu_a, mu_b), ratio, form=form), temperature=0.5)

    leaves = [x.requires_grad_() for x in (mu_a, sigma_a, mu_b, sigma_b)]
    assert torch.autograd.gradcheck(loss, leaves)
    assert all(bool(g.any()) for g in torch.autograd.grad(loss(*leaves), leaves))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("form", FORMS)
def test_half_precision_does_not_overflow(dtype, form):
    mu, sigma = ((300 * x).to(dtype).requires_grad_() for x in _gaussians(0, 4))

    def similarity(mu, sigma):
        ratio = ambiguity_ratio(*pairwise_wasserstein(mu, sigma, mu, sigma))
        return supervised_similarity(pairwise_cosine(mu, mu), ratio, form=form)

    with torch.autocast("cpu", dtype=dtype):
        distance, _ = pairwise_wasserstein(mu, sigma, mu, sigma)
        inside = similarity(mu, sigma)
    v2t_loss(inside).backward()

    assert float(distance.detach().max()) > torch.finfo(torch.float16).max  # squares that float16 cannot hold
    assert inside.dtype == torch.float32
    assert torch.equal(inside, similarity(mu.float(), sigma.float()))
    assert mu.grad is not None
    assert sigma.grad is not None
    assert mu.grad.isfinite().all()
    assert sigma.grad.isfinite().all()


def test_wrong_arguments_are_named():
    a, b = torch.zeros(2, 3, 4), torch.zeros(2, 5, 4)
    wrong = [
        lambda: pairwise_wasserstein(a, a, b[..., :2], b[..., :2]),
        lambda: pairwise_wasserstein(a, b, b, b),
        lambda: pairwise_wasserstein(a, a, b, a),
        lambda: ambiguity_ratio(a, b),
        lambda: ambiguity_ratio(a, a, eps=0.0),
        lambda: ambiguity_weight(a, form="linear"),
        lambda: ambiguity_weight(a, form="exponential", decay=-1.0),
        lambda: supervised_similarity(a, b, form="sigmoid"),
    ]

    for call in wrong:
        with pytest.raises(ValueError, match="Expected argument"):
            call()


def test_a_bounded_ratio_is_the_ratio_near_one_and_keeps_a_gradient_far_away():
    identity = torch.ones(4, dtype=torch.float64)
    distance = torch.tensor([1.0, 1.01, 4.0, 31.0], dtype=torch.float64, requires_grad=True)

    free, bounded = ambiguity_ratio(distance, identity), ambiguity_ratio(distance, identity, most=5.0)
    bounded.sum().backward()

    assert torch.allclose(bounded[:2], free[:2], atol=1e-4)
    assert bounded[2] < free[2]
    assert bounded.max() <= 5.0
    assert distance.grad is not None
    assert bool((distance.grad > 0).all())
    with pytest.raises(ValueError, match="above 1"):
        ambiguity_ratio(distance, identity, most=1.0)


def test_the_spread_costs_nothing_where_it_started_and_padding_never():
    log_sigma = torch.full((2, 3, 4), -2.0, dtype=torch.float64)
    log_sigma[0, 2], log_sigma[1, 0] = 50.0, -1.0
    padding = torch.tensor([[False, False, True], [False, False, False]])

    found = spread_loss(log_sigma, padding, centre=-2.0)

    assert float(found) == pytest.approx((0 + 1 / 3) / 2)


def test_the_weight_of_dusss_matches_a_plain_loop():
    distance, apart = torch.tensor([[0.0, 0.5], [2.0, 9.0]]), torch.tensor([[0.5, 1.0], [2.0, 0.0]])

    found = dusss_weight(distance, apart, scale=0.8, shift=0.1)

    for i in range(2):
        for j in range(2):
            d = max(float(apart[i, j]), 1e-3)
            assert float(found[i, j]) == pytest.approx(math.exp(-(0.8 * float(distance[i, j]) + 0.1) / (5 * d)))
