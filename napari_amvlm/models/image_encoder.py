"""The image encoder: a ViT with a class token, behind a convolutional stem or behind patches of its own."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from napari_amvlm.config import STRIDE, ImageEncoderConfig
from napari_amvlm.errors import ModelFileError
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

    def ordered(self, layout: torch.memory_format) -> VisionFeatures:
        """Return the same with its maps in another order in memory."""
        maps = (self.tokens, self.quarter, self.eighth)
        tokens, quarter, eighth = (None if m is None else m.contiguous(memory_format=layout) for m in maps)
        return VisionFeatures(self.cls, tokens, quarter, eighth)  # type: ignore[arg-type]


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


def load_vit(encoder: ImageEncoder, source: str) -> None:
    """Let the ViT of `encoder` start as a published one: the weights of a ViT or DeiT of the same size.

    The distillation token of a DeiT is left out, and the grid of positions is resized where it differs.

    Parameters
    ----------
    encoder
        With the ViT's own patch embedding.
    source
        A folder that holds `config.json` and `model.safetensors`, or a name on the hub.

    Raises
    ------
    ModelFileError
        There are no such weights, they are not safetensors, or are of another size.
    """
    from transformers import AutoModel

    try:
        published = AutoModel.from_pretrained(source, trust_remote_code=False, use_safetensors=True)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelFileError(
            f"The image encoder {source!r} cannot be loaded ({type(error).__name__}); name a folder with config.json "
            "and model.safetensors of a ViT or DeiT, or connect to the network."
        ) from error
    tensors = published.state_dict()
    positions, extra = tensors["embeddings.position_embeddings"], int("embeddings.distillation_token" in tensors)
    wanted: Tensor = encoder.vit.embeddings.position_embeddings  # type: ignore[assignment, union-attr]
    side, size = math.isqrt(positions.shape[1] - 1 - extra), math.isqrt(wanted.shape[1] - 1)
    grid = positions[:, 1 + extra :].transpose(1, 2).unflatten(2, (side, side))
    if side != size:
        grid = nn.functional.interpolate(grid, size=(size, size), mode="bicubic", align_corners=False)
    tensors["embeddings.position_embeddings"] = torch.cat([positions[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)
    kept = {key: value for key, value in tensors.items() if not key.startswith(("pooler.", "embeddings.distillation"))}
    try:
        encoder.vit.load_state_dict(kept)
    except RuntimeError as error:
        raise ModelFileError(
            f"The image encoder {source!r} is not of the configured size (hidden {published.config.hidden_size}, "
            f"{published.config.num_hidden_layers} layers); change model.image_encoder or name another."
        ) from error
