"""Cross-attention maps and PDT against plain float64 loops, at their limits and in half precision."""

import math

import pytest
import torch
from torch import nn

from napari_amvlm.losses import (
    ambiguity_ratio,
    css_loss,
    pairwise_cosine,
    pairwise_wasserstein,
    soft_match,
    supervised_similarity,
)
from napari_amvlm.models.matching import CrossModalAttention, ProbabilityDistribution


def _randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _pdt(**options):
    torch.manual_seed(0)
    return ProbabilityDistribution(4, heads=2, **options).double()


def _linear(weight, bias, x):
    offset = [0.0] * len(weight) if bias is None else bias.tolist()
    return [sum(w * v for w, v in zip(row, x, strict=True)) + b for row, b in zip(weight.tolist(), offset, strict=True)]


def _apply(layer, x):
    """Run a linear layer, GELU, layer normalisation or a sequence of them on one token."""
    if isinstance(layer, nn.Sequential):
        for part in layer:
            x = _apply(part, x)
        return x
    if isinstance(layer, nn.Linear):
        return _linear(layer.weight, layer.bias, x)
    if isinstance(layer, nn.LayerNorm):
        mean = sum(x) / len(x)
        deviation = math.sqrt(sum((v - mean) ** 2 for v in x) / len(x) + layer.eps)
        rows = zip(x, layer.weight.tolist(), layer.bias.tolist(), strict=True)
        return [(v - mean) / deviation * w + b for v, w, b in rows]
    return [0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in x]


def _attention(layer, h):
    """Run multi-head self-attention over the tokens of one item."""
    width, size = len(h[0]), len(h[0]) // layer.num_heads
    assert layer.in_proj_weight is not None
    q, k, v = (
        [_linear(layer.in_proj_weight[s : s + width], layer.in_proj_bias[s : s + width], x) for x in h]
        for s in (0, width, 2 * width)
    )
    out = []
    for p in range(len(h)):
        joined = []
        for head in range(layer.num_heads):
            part = slice(head * size, (head + 1) * size)
            scores = [sum(a * b for a, b in zip(q[p][part], key[part], strict=True)) / math.sqrt(size) for key in k]
            e = [math.exp(s) for s in scores]
            joined += [sum(w * value[part][c] for w, value in zip(e, v, strict=True)) / sum(e) for c in range(size)]
        out.append(_linear(layer.out_proj.weight, layer.out_proj.bias, joined))
    return out


def test_projections_match_a_plain_loop_in_both_directions():
    torch.manual_seed(0)
    attention = CrossModalAttention(4).double()
    patches, words = _randn(2, 3, 4), _randn(2, 5, 4, seed=1)

    to_words, to_patches = attention(patches, words)

    for direction, asking, asked, made in (
        (attention.to_words, patches, words, to_words),
        (attention.to_patches, words, patches, to_patches),
    ):
        for name, source in (("query", asking), ("key", asked), ("value", asked)):
            weight = getattr(direction, name).weight
            expected = [[_linear(weight, None, token) for token in item] for item in source.tolist()]
            torch.testing.assert_close(getattr(made, name), torch.tensor(expected, dtype=torch.float64))


def test_distributions_match_a_plain_loop():
    pdt = _pdt()
    tokens = _randn(2, 3, 4)

    made = pdt(tokens)

    for i in range(2):
        h = [_apply(pdt.norm, _apply(nn.GELU(), _apply(pdt.expand, x))) for x in tokens[i].tolist()]
        h = [[a + b for a, b in zip(x, y, strict=True)] for x, y in zip(h, _attention(pdt.attention, h), strict=True)]
        for p in range(3):
            step = _apply(pdt.to_mu, h[p][:4])
            mu = [a + b for a, b in zip(tokens[i, p].tolist(), step, strict=True)]
            log_sigma = [min(max(x, -7.0), 2.0) for x in _apply(pdt.to_log_sigma, h[p][4:])]
            assert made.mu[i, p].tolist() == pytest.approx(mu, rel=1e-9)
            assert made.log_sigma[i, p].tolist() == pytest.approx(log_sigma, rel=1e-9)
            assert made.sigma[i, p].tolist() == pytest.approx([math.exp(x) for x in log_sigma], rel=1e-9)


@pytest.mark.parametrize("filling", [0.0, 1e6, math.nan])
@pytest.mark.parametrize("training", [True, False])
def test_padding_never_influences_a_distribution(filling, training):
    pdt = _pdt().train(training)
    tokens = _randn(2, 3, 4)
    longer = torch.cat([tokens, torch.full((2, 2, 4), filling, dtype=torch.float64)], dim=1)
    padding = torch.tensor([[False] * 3 + [True] * 2] * 2)

    with torch.set_grad_enabled(training):
        plain, padded = pdt(tokens), pdt(longer, padding)

    torch.testing.assert_close(padded.mu[:, :3], plain.mu)
    torch.testing.assert_close(padded.log_sigma[:, :3], plain.log_sigma)
    assert not padded.mu[:, 3:].any()
    assert not padded.log_sigma[:, 3:].any()


def test_all_padding_but_one_is_one_token_alone():
    pdt = _pdt()
    tokens = _randn(1, 4, 4)

    made = pdt(tokens, torch.tensor([[True, False, True, True]]))

    torch.testing.assert_close(made.mu[:, 1:2], pdt(tokens[:, 1:2]).mu)


def test_an_item_that_is_all_padding_stays_finite_with_its_gradients():
    pdt = _pdt()
    tokens, padding = _randn(2, 3, 4), torch.tensor([[True] * 3, [False] * 3])

    made = pdt(tokens, padding)
    (made.mu.square().sum() + made.sigma.sum()).backward()

    with torch.no_grad():
        frozen = pdt.eval()(tokens, padding)  # PyTorch takes another path through the attention here

    for x in (made.mu, made.log_sigma, frozen.mu, frozen.log_sigma):
        assert x.isfinite().all()
        assert not x[0].any()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in pdt.parameters())


def test_order_of_the_tokens_does_not_matter():
    pdt = _pdt()
    tokens = _randn(1, 4, 4)

    torch.testing.assert_close(pdt(tokens.flip(1)).mu, pdt(tokens).mu.flip(1))


@pytest.mark.parametrize(("bias", "expected"), [(1e4, 2.0), (-1e4, -7.0)])
def test_spread_is_clamped(bias, expected):
    pdt = _pdt()
    nn.init.constant_(pdt.to_log_sigma[-1].bias, bias)

    made = pdt(_randn(2, 3, 4))

    assert (made.log_sigma == expected).all()
    assert made.sigma.isfinite().all()


def test_mean_is_a_residual_on_the_token():
    pdt = _pdt()
    for parameter in pdt.to_mu[-1].parameters():
        nn.init.zeros_(parameter)
    tokens = _randn(2, 3, 4)

    assert torch.equal(pdt(tokens).mu, tokens)


def test_gradients_are_right():
    pdt = _pdt()
    padding = torch.tensor([[False, False, True]])

    def distances(tokens):
        made = pdt(tokens, padding)
        return made.mu, made.sigma

    assert torch.autograd.gradcheck(distances, _randn(1, 3, 4).requires_grad_())


def _css(patches, words, padding, parts):
    to_words, to_patches = parts["attention"](patches, words)
    words_matched, patches_matched = soft_match(*to_words, padding=padding), soft_match(*to_patches)
    similarities = []
    for tokens, matched, outside in ((patches, words_matched, None), (words, patches_matched, padding)):
        a, b = parts["pdt"](tokens, outside), parts["pdt"](matched, outside)
        ratio = ambiguity_ratio(*pairwise_wasserstein(a.mu, a.sigma, b.mu, b.sigma))
        similarities.append(supervised_similarity(pairwise_cosine(tokens, matched), ratio, form="exponential"))
    return css_loss(similarities[0], similarities[1], padding)


def _parts():
    torch.manual_seed(0)
    return nn.ModuleDict({"attention": CrossModalAttention(8), "pdt": ProbabilityDistribution(8, heads=2)})


def test_supervised_css_trains_every_parameter_and_ignores_padding():
    parts = _parts()
    patches, words = _randn(2, 5, 8).float(), _randn(2, 4, 8, seed=1).float()
    padding = torch.tensor([[False] * 4, [False, False, True, True]])

    loss = _css(patches, words, padding, parts)
    loss.backward()
    other = _css(patches, words.masked_fill(padding[..., None], 5.0), padding, parts)

    assert float(other.detach()) == float(loss.detach())
    for name, parameter in parts.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_supervised_css_under_autocast_is_finite_and_close(dtype):
    parts = _parts()
    patches, words = (nn.functional.normalize(_randn(2, 4, 8, seed=s).float(), dim=-1) for s in range(2))
    padding = torch.tensor([[False] * 4, [False, False, True, True]])
    full = _css(patches, words, padding, parts)

    with torch.autocast("cpu", dtype=dtype):
        made = parts["pdt"](patches)
        half = _css(patches, words, padding, parts)
    half.backward()

    assert made.mu.dtype == made.log_sigma.dtype == half.dtype == torch.float32
    assert float(half.detach()) == pytest.approx(float(full.detach()), rel=0.05)
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in parts.parameters())


def test_wrong_arguments_are_named():
    attention, pdt = CrossModalAttention(4), ProbabilityDistribution(4)
    tokens = torch.zeros(2, 3, 4)
    wrong = [
        lambda: attention(tokens, torch.zeros(2, 3, 5)),
        lambda: attention(tokens, tokens[:1]),
        lambda: attention(tokens[0], tokens),
        lambda: pdt(torch.zeros(2, 3, 5)),
        lambda: pdt(tokens, torch.zeros(2, 3)),
        lambda: ProbabilityDistribution(4, heads=3),
        lambda: ProbabilityDistribution(4, log_sigma_range=(1.0, -1.0)),
    ]

    for call in wrong:
        with pytest.raises(ValueError, match="Expected argument"):
            call()
