"""A model where it computes: with less at once where memory runs short, on the processor where its card is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import torch

from napari_amvlm.device import lost_errors, retry_with_less
from napari_amvlm.errors import DeviceLostError
from napari_amvlm.models.cpu_copy import put_on_cpu, spare_of
from napari_amvlm.models.tile_load import TileLoad

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_amvlm.models.amvlm import AMVLM

T = TypeVar("T")

_BATCH = 4
"""Tiles at once, until memory runs short."""


class ServedModel:
    """A model on a device, and how much of an image is given to it at once.

    Parameters
    ----------
    model
        The model; it is moved to `device`, and is the same object as long as it serves.
    device
        Where to compute.
    forget
        Called where memory runs short or the device is lost: gives up what can be computed again.

    Attributes
    ----------
    device
        Where it computes now.
    load
        How many tiles are computed at once now, and how large they are.
    """

    def __init__(self, model: AMVLM, device: torch.device, forget: Callable[[], None]) -> None:
        self.device, self._forget, self._lost = device, forget, False
        self.replace(model)

    def replace(self, model: AMVLM) -> None:
        """Serve another model."""
        # A card may be lost with all that is on it; the copy is small, for it holds no frozen text encoder.
        self._spare = spare_of(model)
        self.model = model.to(self.device).eval()
        self.load = TileLoad(_BATCH, model.config.tile)

    def run(self, answer: Callable[[], T], tell: Callable[[str], None], *, what: str, mend: str, least: TileLoad) -> T:
        """Return what `answer` does, in spite of short memory and of a card that is lost.

        Parameters
        ----------
        answer
            Does the same thing each time, with what is `load` then.
        tell
            Called with a sentence for each step down.
        what, mend
            As in `memory_errors`.
        least
            With no less than this at once it is tried.

        Raises
        ------
        OutOfMemoryError
            It does not fit.
        """

        def less() -> str | None:
            self._forget()
            smaller, before = self.load.less(), self.load
            if smaller is None or smaller.side < least.side or smaller.batch < least.batch:
                return None
            self.load = smaller
            return smaller.change_from(before)

        def answered() -> T:
            with lost_errors(self.device):
                return retry_with_less(answer, less, tell, device=self.device, what=what, mend=mend)

        try:
            return answered()
        except DeviceLostError as error:
            if self._lost:
                raise
            self._fall_back()
            tell(f"{error} The processor takes over.")
        return answered()

    def _fall_back(self) -> None:
        self._forget()
        self._lost, self.device = True, torch.device("cpu")
        put_on_cpu(self.model, self._spare)
