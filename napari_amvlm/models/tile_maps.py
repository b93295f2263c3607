"""Tiles of a larger image, several prompts at once: what the prediction of slides is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_amvlm.device import autocast
from napari_amvlm.models.amvlm import TextFeatures
from napari_amvlm.models.side_by_side import side_by_side

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_amvlm.models.amvlm import AMVLM


@dataclass(frozen=True)
class TileMaps:
    """What P prompts found in B tiles.

    Attributes
    ----------
    probability
        float32 `(P, B, H, W)` in [0, 1].
    presence
        Logits of what the prompts say being in the tiles, float32 `(P, B)`.
    """

    probability: NDArray[np.float32]
    presence: NDArray[np.float32]


def tile_maps(model: AMVLM, tiles: NDArray[np.float32], prompts: Sequence[str]) -> TileMaps:
    """Segment tiles; the image side is computed once for all prompts.

    Parameters
    ----------
    model
        In eval mode.
    tiles
        float32 `(B, H, W, 3)` in [0, 1]; H and W multiples of 16.
    prompts
        P of them.

    Raises
    ------
    PromptError
        A prompt is empty or too long.
    """
    images = torch.from_numpy(np.ascontiguousarray(tiles)).permute(0, 3, 1, 2).to(model.device)
    with torch.inference_mode():
        text = model.encode_text(prompts)

    def segment(some: Tensor) -> TileMaps:
        return _segmented(model, some, text)

    parts = side_by_side(segment, images)
    probability = np.concatenate([part.probability for part in parts], axis=1)
    return TileMaps(probability, np.concatenate([part.presence for part in parts], axis=1))


def _segmented(model: AMVLM, images: Tensor, text: TextFeatures) -> TileMaps:
    """Segment images `(B, 3, H, W)`, in this thread."""
    count, device = len(images), images.device
    whole = torch.zeros(count, dtype=torch.bool, device=device)
    maps, presence = [], []
    with torch.inference_mode(), autocast(device):
        features = model.encode_image(images, whole)
        for sentence, t_cls in zip(text.sentence, text.t_cls, strict=True):
            one = TextFeatures(sentence.expand(count, -1), t_cls.expand(count, -1))
            out = model.decode(features, one)
            maps.append(out.logits[:, 0].float().sigmoid().cpu().numpy())
            presence.append(out.presence.float().cpu().numpy())
    return TileMaps(np.stack(maps), np.stack(presence))
