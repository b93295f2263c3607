"""Weights of a run as a predictor: this package's models, and the plain U-Net."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safetensors import SafetensorError

from napari_amvlm.errors import ModelFileError
from napari_amvlm.models.checkpoint import load_model
from napari_amvlm.predictor import Predictor
from training.plain_unet import load_plain_unet
from training.run_folder import WEIGHTS

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from napari_amvlm.evaluation import PromptPredictor
    from napari_amvlm.models.text_encoder import TextEncoder


def load_predictor(path: Path, device: torch.device, text_encoder: TextEncoder | None = None) -> PromptPredictor:
    """Return what scores the weights in a file or a run's folder.

    Parameters
    ----------
    path
        A weights file, or the folder of a run.
    device
        Where to compute.
    text_encoder
        A loaded sentence encoder to share.

    Raises
    ------
    ModelFileError
        There are no such weights, or they are damaged.
    """
    file = path / WEIGHTS if path.is_dir() else path
    if not file.is_file():
        raise ModelFileError(f"There are no weights {file}; give a .safetensors file or the folder of a run.")
    try:
        plain = load_plain_unet(file, device)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise ModelFileError(f"{file} is damaged ({error}); fetch it or run again.") from error
    if plain is not None:
        return plain
    model, info = load_model(file, device=device, text_encoder=text_encoder)
    return Predictor(model, device=str(device), info=info)
