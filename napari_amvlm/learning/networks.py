"""The parts of a model that fine-tuning changes, and what they compute from the frozen image encoder's features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from napari_amvlm.device import learning_layout
from napari_amvlm.models.amvlm import AmvlmOutput, ImageFeatures, TextFeatures, decode_pairs

if TYPE_CHECKING:
    from napari_amvlm.models.amvlm import AMVLM
    from napari_amvlm.models.image_encoder import VisionFeatures

LEARNT = ("unet", "text_mask", "presence", "objects")
"""Parts that fine-tuning changes, as far as a model has them; encoders and projection heads stay frozen."""


@dataclass(frozen=True)
class SeenImages:
    """Features of B images by the frozen image encoder: the same for student, teacher and starting model."""

    images: Tensor
    whole: Tensor
    maps: VisionFeatures
    v_cls: Tensor

    def __getitem__(self, rows: slice) -> SeenImages:
        return SeenImages(self.images[rows], self.whole[rows], self.maps[rows], self.v_cls[rows])


def learnt_parts(model: AMVLM) -> nn.ModuleDict:
    """Return the parts of a model that fine-tuning changes; they are shared, not copied."""
    return nn.ModuleDict({name: part for name in LEARNT if (part := getattr(model, name)) is not None})


@torch.no_grad()
def see(model: AMVLM, images: Tensor, whole: Tensor) -> SeenImages:
    """Run the frozen image encoder on images `(B, 3, H, W)` in [0, 1]; `whole` is bool `(B,)`."""
    images = images.contiguous(memory_format=torch.channels_last)
    maps = model.see(images, whole).ordered(learning_layout(model.device))
    return SeenImages(images, whole, maps, model.image_projection(maps.cls))


def features(parts: nn.ModuleDict, seen: SeenImages) -> ImageFeatures:
    """Run the text-free half of `parts`."""
    skips = parts["unet"].encode(seen.images, seen.maps.tokens, seen.whole)  # type: ignore[operator]
    return ImageFeatures(seen.v_cls, parts["text_mask"](seen.maps), skips, seen.images)


def decode(parts: nn.ModuleDict, image: ImageFeatures, text: TextFeatures, *, separate: bool = False) -> AmvlmOutput:
    """Run the text-conditioned half of `parts`; if `separate`, with the depth in objects, where there is a head."""
    used = {name: part for name, part in parts.items() if separate or name != "objects"}
    return decode_pairs(image, text, **used)  # type: ignore[arg-type]
