"""Tiles of a larger image, several prompts at once: what the prediction of slides is made of."""

from __future__ import annotations

import functools
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from scipy.special import logit

from napari_amvlm.device import autocast
from napari_amvlm.models.amvlm import TextFeatures
from napari_amvlm.models.inference import is_countable

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
    depth
        How deep inside an object each pixel lies, as the probability; 0 for prompts whose objects the model does not
        know, None where it was not asked for.
    """

    probability: NDArray[np.float32]
    presence: NDArray[np.float32]
    depth: NDArray[np.float32] | None = None

    def with_row(self, row: int, probability: Sequence[NDArray[np.float32]]) -> TileMaps:
        """Return the maps with those of prompt `row` from elsewhere, B of `(H, W)`; it is as present as its surest."""
        maps, presence = self.probability.copy(), self.presence.copy()
        maps[row] = probability
        presence[row] = [logit(np.clip(each.max(), 1e-6, 1 - 1e-6)) for each in probability]
        depth = self.depth
        if depth is not None:
            depth = depth.copy()
            depth[row] = 0
        return TileMaps(maps, presence, depth)


def tile_maps(model: AMVLM, tiles: NDArray[np.float32], prompts: Sequence[str], *, separate: bool = False) -> TileMaps:
    """Segment tiles; the image side is computed once for all prompts.

    Parameters
    ----------
    model
        In eval mode.
    tiles
        float32 `(B, H, W, 3)` in [0, 1]; H and W multiples of 16.
    separate
        Whether the depth in objects is wanted too.

    Raises
    ------
    PromptError
        A prompt is empty or too long.
    """
    images = torch.from_numpy(np.ascontiguousarray(tiles)).permute(0, 3, 1, 2).to(model.device)
    with torch.inference_mode():
        text = model.encode_text(prompts)
    countable = [separate and is_countable(model, prompt) for prompt in prompts]

    def segment(some: Tensor) -> TileMaps:
        return _segmented(model, some, text, countable)

    parts = side_by_side(segment, images)
    probability = np.concatenate([part.probability for part in parts], axis=1)
    depths = [part.depth for part in parts if separate and part.depth is not None]
    return TileMaps(
        probability,
        np.concatenate([part.presence for part in parts], axis=1),
        np.concatenate(depths, axis=1) if depths else None,
    )


def _segmented(model: AMVLM, images: Tensor, text: TextFeatures, countable: Sequence[bool]) -> TileMaps:
    """Segment images `(B, 3, H, W)`, in this thread."""
    count, device = len(images), images.device
    whole = torch.zeros(count, dtype=torch.bool, device=device)
    maps, presence, depths = [], [], []
    with torch.inference_mode(), autocast(device):
        features = model.encode_image(images, whole)
        for sentence, t_cls, separate in zip(text.sentence, text.t_cls, countable, strict=True):
            one = TextFeatures(sentence.expand(count, -1), t_cls.expand(count, -1))
            out = model.decode(features, one, separate=separate)
            maps.append(out.logits[:, 0].float().sigmoid().cpu().numpy())
            presence.append(out.presence.float().cpu().numpy())
            depths.append(np.zeros_like(maps[-1]) if out.depth is None else out.depth[:, 0].sigmoid().cpu().numpy())
    return TileMaps(np.stack(maps), np.stack(presence), np.stack(depths))


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
