"""Weights of rivals on disk, and what scores them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from safetensors import safe_open
from safetensors.torch import load_file

from napari_amvlm.models.text_encoder import load_text_encoder
from training.methods import method_called
from training.methods.backbone import WIDTHS
from training.runs.folder import save_tensors
from training.runs.plain_unet import PlainPredictor, save_plain_unet

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch
    from torch import nn

    from napari_amvlm.config import ScaleName
    from napari_amvlm.models.text_encoder import TextEncoder
    from training.methods.protocol import Method

FORMAT = "rival/1"


class ReadingPredictor(PlainPredictor):
    """A network that reads the prompt, behind the interface that `evaluate_folder` scores."""

    def __init__(self, network: nn.Module, device: torch.device, text_encoder: TextEncoder) -> None:
        super().__init__(network, device)
        self._text_encoder = text_encoder

    def predict(
        self, prompt: str, *, scale: Literal["auto"] | ScaleName = "auto", magnification: float = 1.0
    ) -> PlainPredictor:
        """Return itself, turned to `prompt`."""
        network: Any = self._network
        network.sentence = self._text_encoder.sentence([prompt])
        self._found = {}
        return super().predict(prompt, scale=scale, magnification=magnification)


def save_rival(method: Method, name: str, network: nn.Module, path: Path, prompts: Sequence[str]) -> None:
    """Write what predicts of a rival, its method and what its masks show, as safetensors."""
    if name in ("plain-unet", "u-net"):
        save_plain_unet(network, path, prompts)
        return
    metadata = {"format": FORMAT, "method": name, "prompts": json.dumps([*prompts])}
    save_tensors(method.predictor(network).state_dict(), path, metadata | {"settings": method.model_dump_json()})


def load_rival(path: Path, device: torch.device, text_encoder: TextEncoder | None = None) -> PlainPredictor | None:
    """Return the predictor of a file of `save_rival`; None if it is a file of another kind."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
    if metadata.get("format") != FORMAT:
        return None
    prompts = json.loads(metadata["prompts"])
    method = method_called(metadata["method"], json.loads(metadata["settings"]))
    network = method.predictor(method.build(len(prompts), WIDTHS))
    network.load_state_dict(load_file(path))
    network.to(device)
    if method.reads_text:
        return ReadingPredictor(network, device, text_encoder or load_text_encoder())
    return PlainPredictor(network, device, prompts)
