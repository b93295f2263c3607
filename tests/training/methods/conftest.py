"""A small backbone, a few discs, and a SAM of random weights."""

import numpy as np
import pytest
import torch

from napari_amvlm.learning import LabelledImage, LearningData, UnlabelledImage
from training.methods.protocol import Views

WIDTHS = (4, 8, 8, 8, 8)


def disc_image(seed):
    """Return a picture of dark discs on a light ground, float32 `(H, W, 3)`, and their mask."""
    chance, side = np.random.default_rng(seed), 80
    rows, columns = np.mgrid[:side, :side]
    mask = np.zeros((side, side), np.bool_)
    for row, column in chance.integers(8, side - 8, (5, 2)):
        mask |= (rows - row) ** 2 + (columns - column) ** 2 < 64
    image = np.where(mask[..., None], (0.35, 0.16, 0.47), (0.86, 0.7, 0.84)) + chance.normal(0, 0.03, (side, side, 3))
    return image.clip(0, 1).astype(np.float32), mask


@pytest.fixture
def discs():
    """Return two labelled and three unlabelled pictures, each with a text of its own."""
    labelled = tuple(
        LabelledImage(f"l{i}", image, {f"discs, picture {i}": mask}, {f"discs, picture {i}": "tiles"})
        for i in range(2)
        for image, mask in [disc_image(i)]
    )
    unlabelled = tuple(UnlabelledImage(f"u{i}", disc_image(10 + i)[0], f"discs, more {i}") for i in range(3))
    return LearningData(labelled, unlabelled)


@pytest.fixture
def views():
    """Return two labelled and two unlabelled crops with sentence embeddings."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(4, 3, 32, 32, generator=generator)
    target = (torch.rand(4, 1, 32, 32, generator=generator) > 0.5).float()
    known = torch.ones(4, 1, 32, 32)
    known[2:] = 0
    text = torch.randn(4, 384, generator=generator)
    return Views(images, images.flip(3).flip(3), target, known, torch.zeros(4, dtype=torch.int64), text)


@pytest.fixture(scope="session")
def tiny_sam(tmp_path_factory):
    """Return the folder of a tiny SAM of random weights."""
    from transformers import SamConfig, SamModel

    folder = tmp_path_factory.mktemp("sam")
    vision = {
        "hidden_size": 16,
        "output_channels": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 64,
        "patch_size": 16,
        "mlp_dim": 16,
        "num_pos_feats": 4,
        "window_size": 2,
        "global_attn_indexes": [0],
    }
    prompt = {"hidden_size": 8, "image_size": 64, "patch_size": 16, "image_embedding_size": 4, "mask_input_channels": 4}
    mask = {"hidden_size": 8, "mlp_dim": 8, "num_attention_heads": 2, "iou_head_hidden_dim": 8}
    torch.manual_seed(0)
    model = SamModel(SamConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=mask))
    model.save_pretrained(folder)
    return folder
