"""Tiles of a larger image, several prompts at once: what the prediction of slides is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_amvlm.device import autocast
from napari_amvlm.models.amvlm import TextFeatures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

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
    """Segment tiles in one batch; the image side is computed once for all prompts.

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
    device = model.device
    count = len(tiles)
    images = torch.from_numpy(np.ascontiguousarray(tiles)).permute(0, 3, 1, 2).to(device)
    whole = torch.zeros(count, dtype=torch.bool, device=device)
    maps, presence = [], []
    with torch.inference_mode():
        text = model.encode_text(prompts)
    with torch.inference_mode(), autocast(device):
        features = model.encode_image(images, whole)
        for row in range(len(prompts)):
            one = TextFeatures(text.sentence[row].expand(count, -1), text.t_cls[row].expand(count, -1))
            out = model.decode(features, one)
            maps.append(out.logits[:, 0].float().sigmoid().cpu().numpy())
            presence.append(out.presence.float().cpu().numpy())
    return TileMaps(np.stack(maps), np.stack(presence))
