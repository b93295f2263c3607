"""The configurations that have a name: `tiny`, which ships, and `base`, which has the publication's sizes."""

import pytest
import torch

from napari_amvlm.config import UNetConfig
from napari_amvlm.losses import info_nce, segmentation_loss
from napari_amvlm.models.build import CONFIGURATIONS, build_model
from napari_amvlm.models.layers import GroupNorm


def _count(module):
    return sum(p.numel() for p in module.parameters()) / 1e6


@pytest.mark.slow
def test_base_is_built_and_makes_a_step(random_text_encoder):
    config = CONFIGURATIONS["base"]
    encoder = random_text_encoder(config.text_encoder)
    model = build_model(config, text_encoder=encoder, seed=0).train()
    images, target = torch.rand(2, 3, 224, 224), torch.zeros(2, 1, 224, 224)
    target[:, :, 60:120, 80:160] = 1
    parameters = list(model.parameters())
    optimiser = torch.optim.SGD(parameters, lr=1e-3)
    before = encoder.bert.encoder.layer[-1].output.dense.weight.detach().clone()

    out = model.decode(
        model.encode_image(images, torch.tensor([False, True])), model.encode_text(["left lung", "nuclei"])
    )
    alignment = info_nce(out.v_text, model.encode_text(["left lung", "nuclei"]).t_cls)
    loss = (
        segmentation_loss(out.logits, target).mean()
        + segmentation_loss(out.text_logits, torch.nn.functional.avg_pool2d(target, 4)).mean()
    )
    (loss + alignment).backward()
    optimiser.step()

    assert out.logits.shape == (2, 1, 224, 224)
    assert out.text_logits.shape == (2, 1, 56, 56)
    assert bool(torch.isfinite(loss))
    assert not torch.equal(before, encoder.bert.encoder.layer[-1].output.dense.weight)
    assert 85 < _count(model.image_encoder) < 87  # ViT-B/16 has 86 million parameters
    assert len(encoder.bert.encoder.layer) == 6


def test_tiny_weights_stay_below_thirty_megabytes(text_encoder):
    model = build_model(CONFIGURATIONS["tiny"], text_encoder=text_encoder, seed=0)

    assert 2 * (_count(model) - _count(text_encoder)) < 30


def test_levels_must_lead_down_to_a_sixteenth():
    with pytest.raises(ValueError, match=r"must lead from 1/2 down to 1/16 in halves"):
        UNetConfig(patch=2, channels=(8, 8, 8, 8, 8))
    with pytest.raises(ValueError, match=r"must lead from 1/1 down to 1/16 in halves"):
        UNetConfig(patch=1, channels=(8, 8, 8, 8))


def test_group_normalisation_in_bfloat16_is_that_of_torch_with_its_gradient():
    x = torch.randn(2, 8, 6, 5, generator=torch.Generator().manual_seed(0))
    ours, theirs = GroupNorm(4, 8), torch.nn.GroupNorm(4, 8)
    half = x.bfloat16().contiguous(memory_format=torch.channels_last).requires_grad_()
    full = x.bfloat16().float().requires_grad_()
    upstream = torch.linspace(-1, 1, x.numel()).view_as(x)

    got, wanted = ours(half), theirs(full)
    got.backward(upstream.bfloat16())
    wanted.backward(upstream)

    assert got.dtype == torch.bfloat16
    assert torch.allclose(got.float(), wanted, atol=2e-2)
    assert half.grad is not None
    assert full.grad is not None
    assert torch.allclose(half.grad.float(), full.grad, atol=2e-2)
