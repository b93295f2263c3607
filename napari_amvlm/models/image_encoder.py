"""The image encoder: a ViT with a class token, behind a convolutional stem or behind patches of its own."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from napari_amvlm.config import STRIDE, ImageEncoderConfig
from napari_amvlm.models.layers import POSITION_CHANNELS, GroupNorm, position_channels


@dataclass(frozen=True)
class VisionFeatures:
    """What the image encoder saw in B images of height H and width W.

    Attributes
    ----------
    cls
        Class token v_cls, `(B, D)`.
    tokens
        Patch tokens as a map, `(B, D, H/16, W/16)`.
    quarter, eighth
        Maps of the stem at 1/4 and 1/8 of the resolution; None where there is no stem.
    """

    cls: Tensor
    tokens: Tensor
    quarter: Tensor | None = None
    eighth: Tensor | None = None

    def __getitem__(self, rows: slice) -> VisionFeatures:
        """Return what was seen in some of the images."""
        quarter, eighth = (None if m is None else m[rows] for m in (self.quarter, self.eighth))
        return VisionFeatures(self.cls[rows], self.tokens[rows], quarter, eighth)


class ConvStem(nn.Module):
    """Four strided convolutions in place of the ViT's 16x16 patch embedding.

    Early convolutions make small transformers train faster and more stably (Xiao et al., NeurIPS 2021). Of the input
    channels behind the colours two are positions, and the last is constant: 1 for an image that is seen whole, 0 for a
    tile.
    """

    def __init__(self, channels: tuple[int, int, int, int], hidden: int, groups: int = 8) -> None:
        super().__init__()
        widths = (3 + POSITION_CHANNELS, *channels)
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(widths[i], widths[i + 1], 3, stride=2, padding=1, bias=False),
                GroupNorm(groups, widths[i + 1]),
                nn.SiLU(),
            )
            for i in range(4)
        )
        self.projection = nn.Conv2d(channels[-1], hidden, 1)
        self._maps: dict[int, list[Tensor]] = {}

    def forward(self, images: Tensor, **_: Any) -> Tensor:
        """Return patch embeddings `(B, P, hidden)` of images `(B, 6, H, W)`; keeps the maps of its stages."""
        maps: list[Tensor] = []
        for stage in self.stages:
            images = stage(images)
            maps.append(images)
        self._maps[threading.get_ident()] = maps
        return self.projection(images).flatten(2).transpose(1, 2)  # type: ignore[no-any-return]

    def take_maps(self) -> list[Tensor]:
        """Return the maps of the four stages in the last call by this thread, and forget them."""
        return self._maps.pop(threading.get_ident())


class ImageEncoder(nn.Module):
    """A `transformers` ViT, with a `ConvStem` or with its own patch embedding.

    Parameters
    ----------
    vit
        A `ViTModel` without pooling layer; its `embeddings.patch_embeddings` is `stem` where there is one.
    stem
        The convolutional stem, which is also told where an image is seen whole, and its coordinates; None: the ViT sees
        colours alone.
    """

    def __init__(self, vit: nn.Module, stem: ConvStem | None) -> None:
        super().__init__()
        self.vit = vit
        self._stem = [stem]  # in a list: it is a submodule of the ViT already

    def forward(self, images: Tensor, whole: Tensor) -> VisionFeatures:
        """Encode images.

        Parameters
        ----------
        images
            `(B, 3, H, W)` in [0, 1]; H and W multiples of 16.
        whole
            Bool `(B,)`: True where an image is seen whole, False for a tile.
        """
        b, _, h, w = images.shape
        stem, pixels = self._stem[0], (images - 0.5) * 4
        if stem is not None:
            pixels = torch.cat([pixels, position_channels(images, whole)], dim=1)
        sequence = self.vit(pixel_values=pixels, interpolate_pos_encoding=True).last_hidden_state
        patches = sequence[:, 1:].transpose(1, 2).reshape(b, -1, h // STRIDE, w // STRIDE)
        if stem is None:
            return VisionFeatures(sequence[:, 0], patches)
        maps = stem.take_maps()
        return VisionFeatures(sequence[:, 0], patches, quarter=maps[1], eighth=maps[2])


def build_image_encoder(config: ImageEncoderConfig) -> ImageEncoder:
    """Build an image encoder with random weights of the size that `config` gives."""
    from transformers import ViTConfig, ViTModel

    vit = ViTModel(
        ViTConfig(
            hidden_size=config.hidden,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            intermediate_size=int(config.hidden * config.mlp_ratio),
            image_size=config.grid * STRIDE,
            patch_size=STRIDE,
            num_channels=3 if config.stem is None else 3 + POSITION_CHANNELS,
        ),
        add_pooling_layer=False,
    )
    if config.stem is None:
        return ImageEncoder(vit, None)
    stem = ConvStem(config.stem, config.hidden)
    vit.embeddings.patch_embeddings = stem  # type: ignore[assignment]
    return ImageEncoder(vit, stem)
