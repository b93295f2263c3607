"""What a run computes at once, and less of it each time memory runs short."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from napari_amvlm.config import STRIDE, LearningConfig
from napari_amvlm.device import retry_with_less
from napari_amvlm.models.tile_load import LEAST_TILE, TileLoad

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

T = TypeVar("T")

ADVICE = "choose another device, or close other programs"
_TILES = 4
"""Tiles of a held-out image at once, until memory runs short."""


class MemorySteps:
    """Does the work of a run again, with less at once, where it did not fit.

    Parameters
    ----------
    config
        Batches and crops to begin with.
    tile
        Side of a tile in validation, pixels.
    device
        Where the run computes.
    tell
        Called with a sentence for each step down.

    Attributes
    ----------
    config
        The configuration with the batches and crops that are used now.
    load
        What is used now in validation.
    """

    def __init__(self, config: LearningConfig, tile: int, device: torch.device, tell: Callable[[str], None]) -> None:
        self.config, self.load = config, TileLoad(_TILES, tile)
        self._device, self._tell = device, tell

    def run(self, work: Callable[[], T], less: Callable[[], str | None]) -> T:
        """Return what `work` does, after as many calls of `less` as it takes.

        Parameters
        ----------
        work
            Does the same thing each time, with what is to be computed at once now.
        less
            `fewer_crops` or `fewer_tiles`.

        Raises
        ------
        OutOfMemoryError
            It does not fit, and `less` gave None.
        """
        return retry_with_less(work, less, self._tell, device=self._device, what="this run", advice=ADVICE)

    def fewer_crops(self) -> str | None:
        """Halve the batches, or where they are one, the crops; say what changed, None where that is too little."""
        labelled, unlabelled = self.config.labelled_batch, self.config.unlabelled_batch
        side = self.config.crop // 2 // STRIDE * STRIDE
        if max(labelled, unlabelled) > 1:
            fewer = [max(min(batch, 1), batch // 2) for batch in (labelled, unlabelled)]
            change = dict(zip(("labelled_batch", "unlabelled_batch"), fewer, strict=True))
            count = sum(fewer)
            words = f"{count} {'crop' if count == 1 else 'crops'} at once"
        elif side >= LEAST_TILE:
            change, words = {"crop": side}, f"crops of {side}x{side} pixels"
        else:
            return None
        self.config = self.config.model_copy(update=change)
        return f"Memory ran short; learning goes on with {words}."

    def fewer_tiles(self) -> str | None:
        """Halve the tiles at once in validation, or where it is one, their side; say so, None where too little."""
        less = self.load.less()
        if less is None:
            return None
        change, self.load = less.change_from(self.load), less
        return change
