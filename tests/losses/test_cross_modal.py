"""Soft matching and L_CSS against plain float64 loops, at their limits, in half precision and by gradient checks."""

import math

import pytest
import torch

from napari_amvlm.losses import css_loss, match_weights, pairwise_cosine, soft_match, t2v_loss, v2t_loss


def _dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def _reference_match(query, key, value, padding):
    matched = []
    for q in query:
        e = [0.0 if out else math.exp(_dot(q, k) / math.sqrt(len(q))) for k, out in zip(key, padding, strict=True)]
        matched.append([sum(w * v[c] for w, v in zip(e, value, strict=True)) / sum(e) for c in range(len(value[0]))])
    return matched


def _reference_cosine(a, b):
    return [[_dot(x, y) / math.sqrt(_dot(x, x) * _dot(y, y)) for y in b] for x in a]


def _reference_contrast(similarity, padding, tau):
    """Return the loss of one item, over its own tokens."""
    real = [p for p, out in enumerate(padding) if not out]
    total = 0.0
    for p in real:
        row = sum(math.exp(similarity[p][k] / tau) for k in real)
        column = sum(math.exp(similarity[k][p] / tau) for k in real)
        total -= math.log(math.exp(similarity[p][p] / tau) / row) + math.log(math.exp(similarity[p][p] / tau) / column)
    return total / (2 * len(real))


def _randn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


PADDING = [[False] * 4, [False, False, True, True], [False, True, False, True]]


@pytest.mark.parametrize("seed", range(2))
def test_soft_match_is_the_attention_of_a_plain_loop(seed):
    query, key, value = _randn(3, 5, 6, seed=seed), _randn(3, 4, 6, seed=seed + 10), _randn(3, 4, 2, seed=seed + 20)

    matched = soft_match(query, key, value, torch.tensor(PADDING))

    for i in range(3):
        expected = _reference_match(query[i].tolist(), key[i].tolist(), value[i].tolist(), PADDING[i])
        torch.testing.assert_close(matched[i], torch.tensor(expected, dtype=torch.float64))


def test_weights_of_a_match_sum_to_one_and_leave_padding_out():
    padding = torch.tensor([[False, True, False], [True, True, True]])

    alpha = match_weights(_randn(2, 4, 6), _randn(2, 3, 6, seed=1), padding)

    torch.testing.assert_close(alpha.sum(-1), torch.tensor([[1.0] * 4, [0.0] * 4], dtype=torch.float64))
    assert not alpha.masked_select(padding[:, None, :]).any()


def test_all_padding_but_one_matches_that_one():
    value = _randn(1, 4, 3)
    padding = torch.tensor([[True, True, False, True]])

    matched = soft_match(_randn(1, 5, 6), _randn(1, 4, 6), value, padding)

    torch.testing.assert_close(matched, value[:, 2:3].expand(1, 5, 3))


def test_what_padding_holds_never_reaches_a_match_nor_a_gradient():
    padding = torch.tensor(PADDING[1:2])
    query, key, value = (_randn(1, 4, 6, seed=s).requires_grad_() for s in range(3))
    soft_match(query, key, value, padding).square().sum().backward()
    other = query.detach().requires_grad_()
    dirty = [x.detach().masked_fill(padding[..., None], math.nan).requires_grad_() for x in (key, value)]

    matched = soft_match(other, *dirty, padding=padding)
    matched.square().sum().backward()

    assert torch.equal(matched, soft_match(query, key, value, padding))
    for clean, spoilt in zip((query, key, value), (other, *dirty), strict=True):
        assert clean.grad is not None
        assert spoilt.grad is not None
        assert torch.equal(clean.grad, spoilt.grad)
    assert not dirty[0].grad[:, 2:].any()
    assert not dirty[1].grad[:, 2:].any()


@pytest.mark.parametrize("tau", [0.07, 1.0])
def test_css_is_the_mean_of_both_directions_of_a_plain_loop(tau):
    v, t = _randn(3, 5, 6, seed=1), _randn(3, 4, 6, seed=2)
    padding = torch.tensor(PADDING)
    t_matched, v_matched = soft_match(v, t, t, padding), soft_match(t, v, v)

    loss = css_loss(pairwise_cosine(v, t_matched), pairwise_cosine(t, v_matched), padding, temperature=tau)

    expected = 0.0
    for i in range(3):
        patches, words = v[i].tolist(), t[i].tolist()
        t_soft = _reference_match(patches, words, words, PADDING[i])
        v_soft = _reference_match(words, patches, patches, [False] * 5)
        expected += _reference_contrast(_reference_cosine(patches, t_soft), [False] * 5, tau) / 6
        expected += _reference_contrast(_reference_cosine(words, v_soft), PADDING[i], tau) / 6
    assert float(loss) == pytest.approx(expected, rel=1e-9)


def test_distinct_tokens_that_match_cost_little_and_shuffled_ones_much():
    v = torch.eye(5)[None]

    matched, shuffled = v2t_loss(pairwise_cosine(v, v)), v2t_loss(pairwise_cosine(v, v.roll(1, 1)))

    assert float(matched) < 1e-4 < 10 < float(shuffled)


def test_identical_tokens_cost_the_logarithm_of_their_number():
    same = _randn(2, 1, 6).expand(2, 5, 6)

    assert float(v2t_loss(pairwise_cosine(same, same))) == pytest.approx(math.log(5))


def test_one_token_costs_nothing():
    assert float(css_loss(_randn(3, 1, 1), _randn(3, 1, 1))) == 0


def test_all_padding_but_one_word_costs_nothing():
    assert float(t2v_loss(_randn(1, 4, 4), torch.tensor([[True, False, True, True]]))) == 0


def test_longer_padding_changes_nothing():
    short, long = _randn(2, 3, 3), torch.full((2, 6, 6), 9.0, dtype=torch.float64)
    long[:, :3, :3] = short
    padding = torch.tensor([[False] * 3 + [True] * 3] * 2)

    assert float(t2v_loss(long, padding)) == float(t2v_loss(short))


def test_an_image_without_words_is_left_out():
    v2t, t2v = _randn(3, 5, 5), _randn(3, 4, 4)
    padding = torch.tensor([*PADDING[:2], [True] * 4])

    loss = css_loss(v2t, t2v, padding)

    assert float(loss) == pytest.approx(float(css_loss(v2t[:2], t2v[:2], padding[:2])))


def test_a_batch_without_words_costs_nothing_and_its_gradient_is_zero():
    v, t = _randn(2, 5, 6).requires_grad_(), _randn(2, 4, 6).requires_grad_()
    padding = torch.ones(2, 4, dtype=torch.bool)
    matched = soft_match(v, t, t, padding)

    loss = css_loss(pairwise_cosine(v, matched), pairwise_cosine(t, soft_match(t, v, v)), padding)
    loss.backward()

    assert float(loss.detach()) == 0
    assert v.grad is not None
    assert t.grad is not None
    assert not v.grad.any()
    assert not t.grad.any()


def test_extreme_temperatures_stay_finite():
    similarity = _randn(2, 4, 4, dtype=torch.float32).tanh().requires_grad_()

    cold = v2t_loss(similarity, temperature=1e-6)
    hot = v2t_loss(similarity, temperature=1e6)
    (gradient,) = torch.autograd.grad(cold, similarity)

    assert math.isfinite(float(cold.detach()))
    assert gradient.isfinite().all()
    assert float(hot.detach()) == pytest.approx(math.log(4), rel=1e-5)


def test_gradients_are_right():
    padding = torch.tensor([[False, False, True]])

    def loss(v, t, query, key, value):
        t_matched, v_matched = soft_match(query, key, value, padding), soft_match(key, query, query)
        return css_loss(pairwise_cosine(v, t_matched), pairwise_cosine(t, v_matched), padding, temperature=0.5)

    sizes = (4, 3, 4, 3, 3)
    assert torch.autograd.gradcheck(loss, [_randn(1, n, 3, seed=s).requires_grad_() for s, n in enumerate(sizes)])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_neither_overflows_nor_loses_digits(dtype):
    v, t = (200 * _randn(2, 4, 8)).to(dtype).requires_grad_(), (200 * _randn(2, 4, 8, seed=1)).to(dtype)
    padding = torch.tensor(PADDING[:2])

    def loss(v, t):
        t_matched, v_matched = soft_match(v, t, t, padding), soft_match(t, v, v)
        return css_loss(pairwise_cosine(v, t_matched), pairwise_cosine(t, v_matched), padding)

    with torch.autocast("cpu", dtype=dtype):
        inside = loss(v, t)
    inside.backward()

    assert inside.dtype == torch.float32
    assert float(inside.detach()) == float(loss(v.float(), t.float()).detach())
    assert v.grad is not None
    assert v.grad.isfinite().all()


def test_wrong_arguments_are_named():
    tokens, words = torch.zeros(2, 3, 4), torch.zeros(2, 5, 4)
    wrong = [
        lambda: match_weights(tokens, torch.zeros(2, 5, 6)),
        lambda: match_weights(tokens, words, torch.zeros(2, 3, dtype=torch.bool)),
        lambda: match_weights(tokens, words, torch.zeros(2, 5)),
        lambda: soft_match(tokens, words, tokens),
        lambda: pairwise_cosine(tokens, words[:1]),
        lambda: v2t_loss(tokens),
        lambda: v2t_loss(torch.zeros(2, 3, 3), torch.zeros(3, dtype=torch.bool)),
        lambda: t2v_loss(torch.zeros(2, 3, 3), torch.zeros(2, 4, dtype=torch.bool)),
        lambda: t2v_loss(torch.zeros(2, 3, 3), temperature=0.0),
        lambda: css_loss(torch.zeros(2, 3, 3), torch.zeros(1, 3, 3)),
    ]

    for call in wrong:
        with pytest.raises(ValueError, match="Expected argument"):
            call()
