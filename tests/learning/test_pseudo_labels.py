"""Pseudo-labels: weighted logits of any sources are summed, and a source of weight 0 computes nothing."""

import pytest
import torch

from napari_amvlm.learning.networks import decode, features, learnt_parts, see
from napari_amvlm.learning.pseudo_labels import EmaTeacher, FrozenEnsemble, TextEvidence, doubted, pseudo_label

PROMPTS = ["nuclei", "left lung"]


class Constant:
    """A source of one's own: the same logit everywhere."""

    def __init__(self, logit):
        self.logit = logit

    def weighted_logits(self, seen, text, prompts):
        yield torch.full((len(prompts), 1, *seen.images.shape[-2:]), self.logit)


@pytest.fixture
def encoded(tiny_model):
    images = torch.rand((2, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return see(tiny_model, images, torch.zeros(2, dtype=torch.bool)), tiny_model.encode_text(PROMPTS)


def test_logits_of_all_sources_are_summed(encoded):
    q = pseudo_label([Constant(1.5), Constant(-0.5)], *encoded, PROMPTS)

    assert q.shape == (2, 1, 64, 64)
    assert torch.allclose(q, torch.sigmoid(torch.tensor(1.0)))


def test_a_new_prompt_is_labelled_by_the_settled_teacher_alone(tiny_model, encoded):
    parts = learnt_parts(tiny_model)
    ensemble = FrozenEnsemble(parts, 1.0, lambda prompt: 0.25 if prompt == "nuclei" else 0.0)
    ensemble.settle(parts)
    with torch.no_grad():
        ensemble.settled["unet"].head.bias.add_(4)
        start = decode(parts, features(parts, encoded[0]), encoded[1]).logits
        moved = torch.logit(pseudo_label([ensemble], *encoded, PROMPTS)) - start

    assert moved.mean((1, 2, 3)).tolist() == pytest.approx([0.75 * 4, 4], abs=0.05)


def test_sources_of_weight_zero_yield_nothing(tiny_model, encoded):
    parts = learnt_parts(tiny_model)

    for source in (TextEvidence(parts, 0), EmaTeacher(parts, 0), FrozenEnsemble(parts, 0, lambda _prompt: 1.0)):
        assert list(source.weighted_logits(*encoded, PROMPTS)) == []


def test_pixels_lose_confidence_where_the_text_mask_says_otherwise():
    q = torch.tensor([0.9, 0.9, 0.1, 0.1]).view(1, 1, 2, 2)
    z_text = torch.tensor([2.0, -2.0, 2.0, -2.0]).view(1, 1, 2, 2)

    assert doubted(q, z_text, 0.0).flatten().tolist() == pytest.approx([0.9, 0.9, 0.1, 0.1])
    assert doubted(q, z_text, 0.5).flatten().tolist() == pytest.approx([0.9, 0.7, 0.3, 0.1])
    assert doubted(q, z_text, 1.0).flatten().tolist() == pytest.approx([0.9, 0.5, 0.5, 0.1])
