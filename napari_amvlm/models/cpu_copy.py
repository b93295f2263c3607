"""A copy of a model in the machine's own memory, and the model out of it again when its card is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from napari_amvlm.models.build import build_model
from napari_amvlm.models.text_encoder import load_text_encoder

if TYPE_CHECKING:
    from napari_amvlm.config import ModelConfig
    from napari_amvlm.models.amvlm import AMVLM
    from napari_amvlm.models.text_encoder import TextEncoder

Spare = dict[str, Tensor]

_TEXT_ENCODER = "text_encoder."


def spare_of(model: AMVLM) -> Spare:
    """Return copies of all parameters and buffers by name; a frozen text encoder is on the disk, and left out."""
    keep = model.config.text_encoder.trainable
    return {
        name: tensor.detach().cpu().clone()
        for name, tensor in _tensors(model).items()
        if keep or not name.startswith(_TEXT_ENCODER)
    }


def put_on_cpu(model: AMVLM, spare: Spare, text_encoder: TextEncoder | None = None) -> None:
    """Let `model` be on the processor what it was when `spare` was taken; its own tensors are not looked at.

    The model stays the same object, so whoever holds it goes on with it.

    Parameters
    ----------
    model
        Its device may be lost.
    spare
        What `spare_of` returned for it.
    text_encoder
        One that is on the processor; None loads it again.
    """
    fresh = dict(spare)
    if not any(name.startswith(_TEXT_ENCODER) for name in fresh):
        encoder = text_encoder or load_text_encoder(model.config.text_encoder)
        fresh |= {f"{_TEXT_ENCODER}{name}": tensor.detach() for name, tensor in _tensors(encoder).items()}
    for prefix, module in model.named_modules():
        dot = f"{prefix}." if prefix else ""
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = nn.Parameter(fresh[dot + name].clone(), parameter.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = fresh[dot + name].clone()
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def from_spare(config: ModelConfig, spare: Spare) -> AMVLM:
    """Return the model of which `spare_of` gave `spare`, as a new one on the processor."""
    model = build_model(config, seed=0)
    model.load_state_dict(spare, strict=False)
    return model


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return every parameter and buffer, those too that are in no checkpoint."""
    every = dict(module.named_parameters(remove_duplicate=False))
    return every | dict(module.named_buffers(remove_duplicate=False))
