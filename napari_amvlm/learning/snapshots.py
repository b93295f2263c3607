"""The last state of a run in the machine's own memory: what is left of it when its card is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_amvlm.learning.run_state import RunState

if TYPE_CHECKING:
    from napari_amvlm.learning.run_state import StateKeeper

EVERY = 25
"""Steps from one state to the next: a copy takes as long as a small part of a step."""


class Snapshots:
    """Keeps copies of a run's states, and passes those on that another keeper asked for.

    Parameters
    ----------
    keeper
        The caller's own, if there is one.
    """

    def __init__(self, keeper: StateKeeper | None) -> None:
        self._keeper = keeper
        self._last: RunState | None = None
        self._own_alone = False

    def load(self) -> RunState | None:
        """Return the last state of this run, else the one that the other keeper has."""
        if self._last is not None or self._keeper is None:
            return self._last
        return self._keeper.load()

    def due(self, step: int) -> bool:
        """Tell whether the state after `step` steps is wanted here or there."""
        asked = self._keeper is not None and self._keeper.due(step)
        self._own_alone = not asked and step % EVERY == 0
        return asked or self._own_alone

    def save(self, state: RunState) -> None:
        """Copy a state; the other keeper gets it too, unless it was only due here."""
        if self._keeper is not None and not self._own_alone:
            self._keeper.save(state)
        self._own_alone = False
        copies = {name: tensor.detach().cpu().clone() for name, tensor in state.tensors.items()}
        self._last = RunState(copies, state.progress)
