"""Tiles of a larger image, several prompts at once: what the prediction of slides is made of."""

from __future__ import annotations

import functools
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from napari_amvlm.device import autocast
from napari_amvlm.models.amvlm import TextFeatures

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_amvlm.models.amvlm import AMVLM


T = TypeVar("T")


@dataclass(frozen=True)
class TileMaps:
    """Maps of P prompts in B tiles.

    Attributes
    ----------
    probability
        float32 `(P, B, H, W)` in [0, 1].
    presence
        Logits of the prompts being in the tiles, float32 `(P, B)`.
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


def side_by_side(work: Callable[[Tensor], T], batch: Tensor) -> list[T]:
    """Return what `work` returns for a batch, whole or in parts beside one another on a processor.

    Threads that share one operation wait for each other after it, some hundred times in a pass. Where another thread
    of the program needs a core for a while, all of them wait for the one that lost it. Threads that each have images
    of their own do not.

    Parameters
    ----------
    work
        Called with some of the rows; on a processor perhaps from several threads at once. What is bound to a thread,
        such as autocast and inference mode, it has to enter itself.
    batch
        `(B, ...)`, B at least 1.
    """
    threads = torch.get_num_threads()
    parts = min(len(batch), threads)
    if batch.device.type != "cpu" or parts == 1:
        return [work(batch)]

    def with_share(rows: Tensor) -> T:
        torch.set_num_threads(threads // parts)  # of this thread
        return work(rows)

    try:
        return list(_pool().map(with_share, batch.tensor_split(parts)))
    finally:
        torch.set_num_threads(threads)  # new threads begin with what was set last


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, "tiles")
