"""The one place where a configuration becomes a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_amvlm.models.amvlm import AMVLM
from napari_amvlm.models.image_encoder import build_image_encoder
from napari_amvlm.models.projection import ProjectionHead
from napari_amvlm.models.text_encoder import TextEncoder, load_text_encoder
from napari_amvlm.models.text_mask import TextMaskGenerator
from napari_amvlm.models.unet import TextConditionedUNet

if TYPE_CHECKING:
    from napari_amvlm.config import ModelConfig


def build_model(config: ModelConfig, *, text_encoder: TextEncoder | None = None, seed: int | None = None) -> AMVLM:
    """Build a model with random weights.

    Parameters
    ----------
    config
        Sizes of all parts.
    text_encoder
        A loaded sentence encoder to share; None loads the configured one.
    seed
        Seed of the random weights; None leaves the generator as it is.

    Returns
    -------
    AMVLM
        In eval mode, on the CPU, in channels-last memory layout.
    """
    with torch.random.fork_rng(enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        image = config.image_encoder
        model = AMVLM(
            config,
            text_encoder=text_encoder or load_text_encoder(config.text_encoder),
            image_encoder=build_image_encoder(image),
            image_projection=ProjectionHead(image.hidden, config.embedding),
            text_projection=ProjectionHead(config.text_encoder.width, config.embedding),
            text_mask=TextMaskGenerator(image.hidden, (image.stem[1], image.stem[2]), config.dense, config.embedding),
            unet=TextConditionedUNet(config.unet, hidden=image.hidden, sentence=config.text_encoder.width),
        )
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model.eval()
