"""The model: shapes, that the text steers, and that no prompt knows of another."""

import pytest
import torch

from napari_amvlm.config import ImageEncoderConfig, ModelConfig, UNetConfig
from napari_amvlm.models.build import build_model
from napari_amvlm.models.layers import position_channels


def _images(count, height=64, width=96):
    return torch.rand((count, 3, height, width), generator=torch.Generator().manual_seed(count))


@torch.no_grad()
def test_shapes_of_image_prompt_pairs(tiny_model):
    features = tiny_model.encode_image(_images(2), torch.tensor([True, False]))
    text = tiny_model.encode_text(["nuclei", "left lung", "discs"])
    out = tiny_model.decode(features, text, torch.tensor([0, 1, 1]))

    assert out.logits.shape == (3, 1, 64, 96)
    assert out.text_logits.shape == (3, 1, 16, 24)
    assert out.presence.shape == (3,)
    assert torch.allclose(out.v_text.norm(dim=1), torch.ones(3), atol=1e-5)
    assert torch.allclose(features.dense.norm(dim=1), torch.ones(2, 16, 24), atol=1e-5)


@torch.no_grad()
def test_a_pair_does_not_depend_on_the_other_pairs(tiny_model):
    images, whole = _images(2), torch.tensor([False, False])
    together = tiny_model.decode(
        tiny_model.encode_image(images, whole), tiny_model.encode_text(["nuclei", "left lung"])
    )
    alone = tiny_model.decode(tiny_model.encode_image(images[1:], whole[1:]), tiny_model.encode_text(["left lung"]))

    assert torch.allclose(together.logits[1], alone.logits[0], atol=1e-4)
    assert torch.allclose(together.text_logits[1], alone.text_logits[0], atol=1e-4)


@torch.no_grad()
def test_the_text_mask_follows_the_text(tiny_model):
    features = tiny_model.encode_image(_images(1), torch.tensor([False]))
    one, other = (tiny_model.decode(features, tiny_model.encode_text([p])).text_logits for p in ("nuclei", "left lung"))

    assert not torch.allclose(one, other, atol=1e-3)


def test_the_text_reaches_the_segmentation_through_training(tiny_model):
    images, whole = _images(1), torch.tensor([False])
    target = torch.zeros(2, 1, 64, 96)
    target[1] = 1
    optimiser = torch.optim.Adam(tiny_model.unet.parameters(), lr=0.01)
    for _ in range(15):
        features = tiny_model.encode_image(images, whole)
        out = tiny_model.decode(features, tiny_model.encode_text(["nuclei", "left lung"]), torch.tensor([0, 0]))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(out.logits, target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    assert float((out.logits[1].mean() - out.logits[0].mean()).detach()) > 0.5


def test_positions_are_told_for_whole_images_only():
    channels = position_channels(torch.zeros(2, 1, 3, 5), torch.tensor([True, False]))

    assert channels.shape == (2, 3, 3, 5)
    assert channels[0, 0, :, 0].tolist() == [-1, 0, 1]
    assert channels[0, 1, 0].tolist() == [-1, -0.5, 0, 0.5, 1]
    assert bool((channels[0, 2] == 1).all())
    assert float(channels[1].abs().sum()) == 0


@torch.no_grad()
def test_a_whole_image_is_seen_unlike_a_tile(tiny_model):
    image = _images(1, 64, 64)
    as_whole = tiny_model.encode_image(image, torch.tensor([True]))
    as_tile = tiny_model.encode_image(image, torch.tensor([False]))

    assert not torch.allclose(as_whole.skips[0], as_tile.skips[0], atol=1e-3)
    assert not torch.allclose(as_whole.dense, as_tile.dense, atol=1e-3)


def test_no_gradient_reaches_the_sentence_encoder_or_the_text_mask_through_the_unet(tiny_model):
    features = tiny_model.encode_image(_images(1), torch.tensor([False]))
    tiny_model.decode(features, tiny_model.encode_text(["nuclei"])).logits.sum().backward()

    assert all(p.grad is None for p in tiny_model.text_encoder.parameters())
    assert all(p.grad is None for p in tiny_model.text_mask.parameters())
    assert all(p.grad is not None for n, p in tiny_model.unet.named_parameters() if "down" in n)


def test_the_seed_decides_the_weights(tiny_config, text_encoder):
    a, b, c = (build_model(tiny_config, text_encoder=text_encoder, seed=s).unet.head.weight for s in (1, 1, 2))

    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_impossible_sizes_are_refused():
    with pytest.raises(ValueError, match="multiple of heads"):
        ImageEncoderConfig(hidden=20, heads=3)
    with pytest.raises(ValueError, match="multiple of groups"):
        UNetConfig(channels=(8, 8, 12, 8), groups=8)
    with pytest.raises(ValueError, match="Extra inputs"):
        ModelConfig.model_validate({"tiles": 3})
