"""What a run computes at once, and less of it each time that memory runs short."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from napari_amvlm.config import STRIDE, LearningConfig
from napari_amvlm.device import retry_with_less
from napari_amvlm.models.device_model import LEAST_TILE, TileLoad
from napari_amvlm.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

T = TypeVar("T")

ADVICE = "choose another device, or close other programs"
_TILES = 4
"""Tiles of a held-out image at once, until memory runs short."""


class MemorySteps:
    """Batches, crops and tiles of a run; halves them and tries again when they do not fit into memory.

    Parameters
    ----------
    tile
        Side of a tile in validation, pixels.
    tell
        Called with a sentence for each step down.

    Attributes
    ----------
    config
        The configuration with the batches and crops that are used now.
    """

    def __init__(self, config: LearningConfig, tile: int, device: torch.device, tell: Callable[[str], None]) -> None:
        self.config, self.load = config, TileLoad(_TILES, tile)
        self._device, self._tell = device, tell

    def run(self, compute: Callable[[], T], less: Callable[[], str | None]) -> T:
        """Return what `compute` returns; `less` is `fewer_crops` or `fewer_tiles`. See `retry_with_less`."""
        return retry_with_less(compute, less, self._tell, device=self._device, what="this run", advice=ADVICE)

    def fewer_crops(self) -> str | None:
        """Halve the batches, or if they are one, the crops; return what changed, None where they cannot be less."""
        labelled, unlabelled = self.config.labelled_batch, self.config.unlabelled_batch
        side = self.config.crop // 2 // STRIDE * STRIDE
        if max(labelled, unlabelled) > 1:
            fewer = [max(min(batch, 1), batch // 2) for batch in (labelled, unlabelled)]
            change = dict(zip(("labelled_batch", "unlabelled_batch"), fewer, strict=True))
            what = f"{counted(sum(fewer), 'crop')} at once"
        elif side >= LEAST_TILE:
            change, what = {"crop": side}, f"crops of {side}x{side} pixels"
        else:
            return None
        self.config = self.config.model_copy(update=change)
        return f"Memory ran short; learning goes on with {what}."

    def fewer_tiles(self) -> str | None:
        """Halve the tiles at once in validation, or if it is one, their side; return what changed, or None."""
        less = self.load.less()
        if less is None:
            return None
        change, self.load = less.change_from(self.load), less
        return change
