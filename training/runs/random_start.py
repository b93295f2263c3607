"""Random weights to start from: what a run reaches that was taught nothing before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_amvlm.models.build import build_model
from napari_amvlm.models.catalog import find_model
from napari_amvlm.models.checkpoint import load_model, save_model

if TYPE_CHECKING:
    from pathlib import Path

    from napari_amvlm.models.text_encoder import TextEncoder

RANDOM = "random"
"""In a recipe, the start that is no file."""

_FILE = "start.safetensors"


def random_start(folder: Path, seed: int, like: Path | None = None, text_encoder: TextEncoder | None = None) -> Path:
    """Return a file of random weights in a run's folder; one that is there is taken.

    Parameters
    ----------
    like
        Weights whose sizes and frozen sentence encoder are taken over; None means the default model's.
    text_encoder
        A loaded sentence encoder to share.
    """
    path = folder / _FILE
    if not path.is_file():
        known, info = load_model(like or find_model(), text_encoder=text_encoder)
        config = known.config.model_copy(update={"concepts": ()})  # it was taught nothing
        model = build_model(config, text_encoder=known.text_encoder, seed=seed)
        save_model(model, path, name="random weights", licence=info.licence, training_data="none: random weights")
    return path
