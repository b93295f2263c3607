"""What a fine-tuning run needs to go on after it was killed, and who keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from napari_amvlm.learning.validation import Scores


@dataclass(frozen=True)
class Progress:
    """The numbers of a run's state; a run that has no validations of its own leaves theirs out.

    Attributes
    ----------
    seconds, scoring_seconds
        Learning time used, and how much of it went into validations.
    validations
        How many of the validations that were planned in the middle of the run are behind it, made or left out.
    scores
        Dice for each prompt and image, of every validation that was made.
    not_finite
        Steps in a row whose loss was not finite.
    failed
        Prompts that the starting model was taught and fails at; None where an earlier version saved the state.
    """

    step: int
    seconds: float = 0.0
    scoring_seconds: float = 0.0
    validations: int = 0
    scores: tuple[Scores, ...] = ()
    not_finite: int = 0
    failed: tuple[str, ...] | None = None


@dataclass(frozen=True)
class RunState:
    """All of a run between two steps: its tensors by name, its numbers, and what it tells of itself in words.

    The tensors may be the ones in use: whoever keeps a state copies or writes them before the next step.
    """

    tensors: dict[str, Tensor]
    progress: Progress
    told: dict[str, str] = field(default_factory=dict)


class StateKeeper(Protocol):
    """Keeps the states of one run; where and in which form is its own matter."""

    def load(self) -> RunState | None:
        """Return the state to go on from; None starts anew."""

    def due(self, step: int) -> bool:
        """Tell whether the state after `step` steps is to be kept."""

    def save(self, state: RunState) -> None:
        """Keep a state instead of the last one."""


_SNAPSHOT_STEPS = 25
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
        keeper_due = self._keeper is not None and self._keeper.due(step)
        self._own_alone = not keeper_due and step % _SNAPSHOT_STEPS == 0
        return keeper_due or self._own_alone

    def save(self, state: RunState) -> None:
        """Copy a state; the other keeper gets it too, unless it was only due here."""
        if self._keeper is not None and not self._own_alone:
            self._keeper.save(state)
        self._own_alone = False
        copies = {name: tensor.detach().cpu().clone() for name, tensor in state.tensors.items()}
        self._last = replace(state, tensors=copies)
