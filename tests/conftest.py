"""Fixtures that many tests share: a tiny model with random, seeded weights and the real sentence encoder."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from napari_amvlm._qt.demo.virtual_screen import virtual_screen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_amvlm.config import ModelConfig
    from napari_amvlm.models.amvlm import AMVLM
    from napari_amvlm.models.text_encoder import TextEncoder


_screen = contextlib.ExitStack()


def pytest_configure() -> None:
    """Give each process of a shared run a virtual screen: two windows on one take the focus from one another."""
    if os.environ.get("PYTEST_XDIST_WORKER") and sys.platform.startswith("linux") and shutil.which("Xvfb"):
        _screen.enter_context(virtual_screen(1600, 1200))


def pytest_unconfigure() -> None:
    """End the virtual screen."""
    _screen.close()


@pytest.fixture(scope="session")
def text_encoder() -> TextEncoder:
    from napari_amvlm.models.text_encoder import load_text_encoder

    return load_text_encoder()


@pytest.fixture(scope="session")
def text_encoder_once(text_encoder: TextEncoder) -> Iterator[None]:
    """Give all models that are loaded from files the one text encoder of the session, which none of them changes."""
    from napari_amvlm.models import checkpoint

    load = checkpoint.load_text_encoder
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "load_text_encoder", lambda c: text_encoder if c == text_encoder.config else load(c))
        yield


@pytest.fixture(scope="session")
def tiny_config() -> ModelConfig:
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


@pytest.fixture
def tiny_model(tiny_config: ModelConfig, text_encoder: TextEncoder) -> AMVLM:
    """Return a new tiny model; the same weights for every test."""
    from napari_amvlm.models.build import build_model

    return build_model(tiny_config, text_encoder=text_encoder, seed=0)


@pytest.fixture
def counting_model(tiny_config: ModelConfig, text_encoder: TextEncoder) -> AMVLM:
    """Return a new tiny model that tells nuclei apart, with the other weights of `tiny_model`."""
    from napari_amvlm.config import ObjectsConfig
    from napari_amvlm.models.build import build_model

    head = ObjectsConfig(concepts=("nuclei",), channels=(8, 8), groups=4, marker=0.4)
    return build_model(tiny_config.model_copy(update={"objects": head}), text_encoder=text_encoder, seed=0)


@pytest.fixture
def tiny_checkpoint(tiny_model: AMVLM, tmp_path: Path, text_encoder_once: None) -> Path:
    """Return the file of `tiny_model`, written for this test."""
    from napari_amvlm.models.checkpoint import save_model

    path = tmp_path / "tiny.safetensors"
    save_model(tiny_model, path, name="tiny", licence="CC0-1.0", training_data="none: random weights")
    return path
