"""An estimate of the memory that a slide will take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_amvlm.device import free_memory
from napari_amvlm.slides.blocks import BLOCK
from napari_amvlm.slides.chunks import KEPT_BYTES

if TYPE_CHECKING:
    import torch

    from napari_amvlm.models.amvlm import AMVLM

_COPIES = 3.0
"""How often a map of the finest level is alive at the peak: its input, its output, and what comes between."""


def memory_needed(model: AMVLM, *, batch: int, prompts: int, cache_bytes: int = 0) -> int:
    """Return about how many bytes a pass over a slide takes on top of what is loaded, whatever the slide's size.

    Parameters
    ----------
    cache_bytes
        What tiles at the borders of blocks may take until their neighbours are done.
    """
    config = model.config
    side, pixels = config.tile, config.tile**2
    unet = config.unet
    levels = [c * pixels / (unet.patch * 2**i) ** 2 for i, c in enumerate(unet.channels)]
    dense = config.dense * pixels / 16
    values = 3 * pixels + 2 * sum(levels) + _COPIES * levels[0] + _COPIES * dense
    around = (BLOCK + 2 * side) ** 2
    blocks = 4 * (2 * 3 * around + (3 * prompts + 2) * around)
    return int(4 * values * batch + blocks + KEPT_BYTES + cache_bytes)


def memory_note(needed: int, device: torch.device) -> str:
    """Return for instance "needs about 0.4 GB of 7.6 GB free on cpu"."""
    return f"needs about {needed / 1e9:.1f} GB of {free_memory(device) / 1e9:.1f} GB free on {device}"
