"""The one place where a configuration becomes a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_amvlm.config import ImageEncoderConfig, ModelConfig, TextEncoderConfig, UNetConfig
from napari_amvlm.models.amvlm import AMVLM
from napari_amvlm.models.image_encoder import build_image_encoder
from napari_amvlm.models.layers import ProjectionHead
from napari_amvlm.models.object_head import ObjectHead
from napari_amvlm.models.text_encoder import TextEncoder, load_text_encoder
from napari_amvlm.models.text_mask import TextMaskGenerator
from napari_amvlm.models.unet import TextConditionedUNet

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFIGURATIONS: Mapping[str, ModelConfig] = {
    "tiny": ModelConfig(),
    "base": ModelConfig(
        text_encoder=TextEncoderConfig(
            repository="emilyalsentzer/Bio_ClinicalBERT",
            sha256=None,
            width=768,
            max_tokens=512,
            layers=6,
            pooling="cls",
            trainable=True,
        ),
        image_encoder=ImageEncoderConfig(hidden=768, layers=12, heads=12, mlp_ratio=4, grid=14, stem=None),
        unet=UNetConfig(patch=1, channels=(64, 128, 256, 512, 512)),
        tile=224,
        whole=224,
    ),
}
"""`tiny` ships; `base` has the sizes of the publication: ViT-B/16, six layers of Bio_ClinicalBERT, its U-Net."""


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
        unet, objects = config.unet, config.objects
        finer = (0, 0) if image.stem is None else (image.stem[1], image.stem[2])
        model = AMVLM(
            config,
            text_encoder=text_encoder or load_text_encoder(config.text_encoder),
            image_encoder=build_image_encoder(image),
            image_projection=ProjectionHead(image.hidden, config.embedding),
            text_projection=ProjectionHead(config.text_encoder.width, config.embedding),
            text_mask=TextMaskGenerator(image.hidden, finer, config.dense, config.embedding),
            unet=TextConditionedUNet(unet, hidden=image.hidden, sentence=config.text_encoder.width),
            objects=ObjectHead(objects) if objects is not None else None,
        )
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model.eval()
