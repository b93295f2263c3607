"""Fixtures that many tests share: a project, a tiny model with random weights, and the real sentence encoder."""

import contextlib
import copy
import os
import shutil
import sys
from pathlib import Path

import pytest

from napari_amvlm._qt.demo.virtual_screen import virtual_screen

_screen = contextlib.ExitStack()


def pytest_configure():
    """Give each process of a shared run a virtual screen: two windows on one take the focus from one another."""
    if os.environ.get("PYTEST_XDIST_WORKER") and sys.platform.startswith("linux") and shutil.which("Xvfb"):
        _screen.enter_context(virtual_screen(1600, 1200))


def pytest_unconfigure():
    """End the virtual screen."""
    _screen.close()


@pytest.fixture
def project(tmp_path):
    """Return a new project that is open for writing."""
    from napari_amvlm.project import Project

    with Project.create(tmp_path / "breast.amvlm") as opened:
        yield opened


@pytest.fixture(scope="session")
def text_encoder():
    from napari_amvlm.models.text_encoder import load_text_encoder

    return load_text_encoder()


@pytest.fixture(scope="session")
def text_encoder_once(text_encoder):
    """Give all models that are loaded from files the one text encoder of the session, which none of them changes."""
    from napari_amvlm.models import checkpoint

    load = checkpoint.load_text_encoder
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "load_text_encoder", lambda c: text_encoder if c == text_encoder.config else load(c))
        yield


@pytest.fixture(scope="session")
def tiny_config():
    from napari_amvlm.config import Concept, ImageEncoderConfig, ModelConfig, UNetConfig

    return ModelConfig(
        image_encoder=ImageEncoderConfig(hidden=16, layers=1, heads=2, grid=4, stem=(8, 8, 8, 16)),
        unet=UNetConfig(channels=(8, 8, 8, 8), groups=4, tokens=4, text=8),
        embedding=16,
        dense=8,
        tile=64,
        overlap=16,
        whole=64,
        concepts=(
            Concept(name="nuclei", prompts=("nuclei", "cell nuclei"), scale="tiles"),
            Concept(name="left lung", prompts=("left lung",), scale="whole"),
        ),
    )


@pytest.fixture(scope="session")
def _tiny_model(tiny_config, text_encoder):
    from napari_amvlm.models.build import build_model

    return build_model(tiny_config, text_encoder=text_encoder, seed=0)


@pytest.fixture
def tiny_model(_tiny_model, text_encoder):
    """Return a new tiny model; the same weights for every test."""
    return copy.deepcopy(_tiny_model, {id(text_encoder): text_encoder})


@pytest.fixture
def counting_model(tiny_config, text_encoder):
    """Return a new tiny model that tells nuclei apart, with the other weights of `tiny_model`."""
    from napari_amvlm.config import ObjectsConfig
    from napari_amvlm.models.build import build_model

    head = ObjectsConfig(concepts=("nuclei",), channels=(8, 8), groups=4, marker=0.4)
    return build_model(tiny_config.model_copy(update={"objects": head}), text_encoder=text_encoder, seed=0)


@pytest.fixture(scope="session")
def _tiny_checkpoint(_tiny_model, tmp_path_factory):
    from napari_amvlm.models.checkpoint import save_model

    path = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    save_model(_tiny_model, path, name="tiny", licence="CC0-1.0", training_data="none: random weights")
    return path


@pytest.fixture
def tiny_checkpoint(_tiny_checkpoint, tmp_path, text_encoder_once):
    """Return the file of `tiny_model`, a copy for this test."""
    return Path(shutil.copy(_tiny_checkpoint, tmp_path))


@pytest.fixture(scope="session")
def text_models(tmp_path_factory):
    """Return folders of a tiny CLIPSeg and a tiny SAM 3 with random weights, as `transformers` saves them."""
    import json

    import torch
    from transformers import CLIPSegConfig, CLIPSegForImageSegmentation, CLIPTokenizer, Sam3Config, Sam3Model

    letters = "abcdefghijklmnopqrstuvwxyz"
    symbols = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    small = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
    text = small | {"num_hidden_layers": 1, "vocab_size": len(symbols), "max_position_embeddings": 32}
    text |= {"bos_token_id": 52, "eos_token_id": 53, "pad_token_id": 53, "projection_dim": 32}
    torch.manual_seed(0)
    clipseg = CLIPSegForImageSegmentation(
        CLIPSegConfig(
            text_config=text,
            vision_config=small | {"num_hidden_layers": 2, "image_size": 32, "patch_size": 16},
            projection_dim=32,
            extract_layers=[0, 1],
            reduce_dim=16,
            decoder_num_attention_heads=2,
            decoder_intermediate_size=32,
        )
    )
    backbone = small | {"model_type": "sam3_vit_model", "num_hidden_layers": 2, "image_size": 56, "patch_size": 14}
    backbone |= {"window_size": 2, "global_attn_indexes": [1], "pretrain_image_size": 56}
    sam3 = Sam3Model(
        Sam3Config(
            vision_config={
                "backbone_config": backbone,
                "fpn_hidden_size": 32,
                "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            },
            text_config=text | {"model_type": "clip_text_model"},
            geometry_encoder_config=small | {"num_layers": 1},
            detr_encoder_config=small | {"num_layers": 1},
            detr_decoder_config=small | {"num_layers": 1, "num_queries": 5},
            mask_decoder_config={"hidden_size": 32, "num_attention_heads": 2},
        )
    )
    folders = {}
    for name, model in {"clipseg": clipseg, "sam3": sam3}.items():
        folders[name] = tmp_path_factory.mktemp("text-models") / f"tiny-{name}"
        model.save_pretrained(folders[name])
        CLIPTokenizer(vocab={symbol: row for row, symbol in enumerate(symbols)}, merges=[]).save_pretrained(
            folders[name]
        )
        (folders[name] / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Tiny\n", encoding="utf-8")
    size = {"size": {"height": 48, "width": 48}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folders["clipseg"] / "preprocessor_config.json").write_text(json.dumps(size), encoding="utf-8")
    return folders
