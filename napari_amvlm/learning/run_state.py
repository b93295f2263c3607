"""What a fine-tuning run needs to go on after it was killed, and who keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Progress:
    """The numbers of a run's state.

    Attributes
    ----------
    step
        Steps made.
    seconds, scoring_seconds
        Learning time used, and how much of it went into validations.
    validations
        How many of the validations that were planned in the middle of the run are behind it, made or left out.
    scores
        Dice of each image, for every validation that was made.
    not_finite
        Steps in a row whose loss was not finite.
    """

    step: int
    seconds: float
    scoring_seconds: float
    validations: int
    scores: tuple[dict[str, float], ...]
    not_finite: int


@dataclass(frozen=True)
class RunState:
    """All of a run between two steps: its tensors by name, and its numbers.

    The tensors may be the ones in use: whoever keeps a state copies or writes them before the next step.
    """

    tensors: dict[str, Tensor]
    progress: Progress


class StateKeeper(Protocol):
    """Keeps the states of one run; where and in which form is its own matter."""

    def load(self) -> RunState | None:
        """Return the state to go on from; None starts anew."""

    def due(self, step: int) -> bool:
        """Tell whether the state after `step` steps is to be kept."""

    def save(self, state: RunState) -> None:
        """Keep a state instead of the last one."""
