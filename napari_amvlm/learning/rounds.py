"""Going round a set of images in random order, with a place that can be kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


class Rounds:
    """Draws indices of `count` things so that all are drawn before any is drawn again.

    Parameters
    ----------
    count
        Number of things, at least 1.
    generator
        Source of chance; it is used once a round, when its first index is drawn.
    """

    def __init__(self, count: int, generator: torch.Generator) -> None:
        self._count, self._generator = count, generator
        self._order: list[int] = []
        self.turn = 0
        """How many indices were drawn."""

    def draw(self) -> int:
        """Return the next index."""
        place = self.turn % self._count
        if place == 0:
            self._order = torch.randperm(self._count, generator=self._generator).tolist()
        self.turn += 1
        return self._order[place]

    def state(self) -> Tensor:
        """Return turn and order of the present round, int64 `(1 + count,)` or `(1,)` before the first draw."""
        return torch.tensor([self.turn, *self._order], dtype=torch.int64)

    def restore(self, state: Tensor) -> None:
        """Go on from what `state` returned."""
        self.turn, *self._order = state.tolist()
