"""The loop that all runs share: steps within a budget, with pauses, a stop, saved states and a check of the loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from napari_amvlm.errors import DivergedError
from napari_amvlm.learning.reports import StepReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_amvlm.learning.budget import Budget
    from napari_amvlm.learning.run_state import RunState, StateKeeper

_PATIENCE = 3
Made = TypeVar("Made")


def never() -> bool:
    """Return False: what nobody stops or pauses."""
    return False


@dataclass(frozen=True)
class StepLosses:
    """Losses of one step as plain numbers, and its learning rate."""

    rate: float
    total: float
    supervised: float
    consistency: float = 0.0
    guidance: float | None = None


@dataclass
class Loop:
    """One run of steps.

    Attributes
    ----------
    budget
        How long the run is; it counts the steps.
    keeper
        Saves states between steps, if there is one.
    should_stop, should_pause
        Called before every step.
    not_finite
        Steps in a row whose loss was not finite.
    stopped
        Whether `should_stop` ended the run.
    """

    budget: Budget
    keeper: StateKeeper | None = None
    should_stop: Callable[[], bool] = never
    should_pause: Callable[[], bool] = never
    not_finite: int = 0
    stopped: bool = False

    def made(self, make_step: Callable[[], Made], state: Callable[[], RunState] | None = None) -> Iterator[Made]:
        """Make steps until the budget is used up or the run is stopped, and yield what each returns.

        Parameters
        ----------
        make_step
            Makes one optimiser step.
        state
            Returns all that is needed to continue from here; with a keeper.
        """
        budget = self.budget
        while budget.fraction < 1:
            if self.keeper is not None and budget.step and self.keeper.due(budget.step):
                self._save(state)
            budget.wait_while(self.should_pause, self.should_stop)
            if self.should_stop():
                self.stopped = True
                self._save(state)
                return
            made = make_step()
            budget.step += 1
            yield made

    def steps(self, make_step: Callable[[], StepLosses], state: Callable[[], RunState]) -> Iterator[StepReport]:
        """Make steps as `made` does, and yield a report after each.

        Raises
        ------
        DivergedError
            The loss was not finite several times in a row.
        """
        budget = self.budget
        for losses in self.made(make_step, state):
            self._check_finite(losses.total)
            so_far = budget.step, budget.fraction, budget.seconds, budget.seconds_left
            parts = losses.total, losses.supervised, losses.consistency
            yield StepReport(*so_far, *parts, losses.rate, losses.guidance)

    def _save(self, state: Callable[[], RunState] | None) -> None:
        if self.keeper is not None and state is not None:
            self.keeper.save(state())

    def _check_finite(self, loss: float) -> None:
        self.not_finite = 0 if math.isfinite(loss) else self.not_finite + 1
        if self.not_finite >= _PATIENCE:
            raise DivergedError(
                f"The loss was not a finite number {_PATIENCE} times in a row, "
                "so learning ended and the model is as it was; "
                "check the corrected masks or choose a lower learning rate."
            )
