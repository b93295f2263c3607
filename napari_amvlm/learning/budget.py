"""The budget of a run in time or steps, and the schedules of learning that follow it; pauses cost nothing."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_amvlm.config import LearningConfig

_SLICE = 0.05
_SCORING_SHARE = 0.25
"""Part of a time budget that scores in the middle of a run may take."""
_SECOND_RATE = 0.5
"""Share of the learning rate at which the second part of a run, with pseudo-labels, begins."""


def cosine(progress: float) -> float:
    """Return half a cosine, which falls from 1 at `progress` 0 to 0 at 1: (1 + cos(pi p)) / 2."""
    return 0.5 * (1 + math.cos(math.pi * progress))


class Budget:
    """How much of a run is used up: it ends with the first of its limits.

    Parameters
    ----------
    steps
        Steps of the run; None: any number.
    minutes
        Learning time of the run; None: any time.
    clock
        Tells the seconds that have passed.
    """

    def __init__(
        self, *, steps: int | None = None, minutes: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._steps, self._limit = steps, None if minutes is None else minutes * 60
        self._clock = clock
        self.step = 0
        self.restart()

    def restart(self) -> None:
        """Start the clock."""
        self._started = self._clock()
        self._paused = 0.0

    def resume(self, step: int, seconds: float) -> None:
        """Continue after `step` steps and `seconds` of learning time."""
        self.restart()
        self.step = step
        self._paused = -seconds

    @property
    def seconds(self) -> float:
        """Learning time so far, without pauses."""
        return self._clock() - self._started - self._paused

    @property
    def fraction(self) -> float:
        """Share of the budget that is used, 0 to 1."""
        of_time = self.seconds / self._limit if self._limit else 0.0
        return min(1.0, max(of_time, self.step / self._steps if self._steps else 0.0))

    @property
    def seconds_left(self) -> float:
        """Estimate of the time to come."""
        if self._limit:
            return max(0.0, self._limit - self.seconds)
        return self.seconds / max(1, self.step) * ((self._steps or 1) - self.step)

    def wait_while(self, paused: Callable[[], bool], stopped: Callable[[], bool]) -> None:
        """Sleep in short slices while `paused()`; the budget stands still."""
        started = self._clock()
        while paused() and not stopped():
            time.sleep(_SLICE)
        self._paused += self._clock() - started


class LearningBudget(Budget):
    """The budget of a run that learns from corrections, and what rate, weight and decay are due.

    Parameters
    ----------
    config
        Its `minutes` or `steps` are the budget.
    unknown
        Whether there are pixels for pseudo-labels; if not, the whole run is supervised.
    """

    def __init__(self, config: LearningConfig, *, unknown: bool = True) -> None:
        super().__init__(steps=config.steps, minutes=config.minutes)
        self._warmup, self._rate = config.warmup, config.learning_rate
        self._consistency = config.consistency if unknown else 0.0
        self._alone, self._ramp = (config.supervised_share if self._consistency else 1.0), config.ramp
        self._text_ramp = config.text_ramp
        self._decay, self._window = config.ema_decay, config.ema_window

    @property
    def learning_rate(self) -> float:
        """Linear warm-up, then a cosine down to a twentieth; the same again from half the rate with pseudo-labels."""
        done, rate = self.fraction, self._rate
        rise = min(1.0, (done + 1e-3) / self._warmup) if self._warmup else 1.0
        if self.supervised_alone or not self._alone:
            progress = done / (self._alone or 1.0)
        else:
            progress, rate, rise = (done - self._alone) / (1 - self._alone), rate * _SECOND_RATE, 1.0
        return rate * rise * (0.05 + 0.95 * cosine(progress))

    @property
    def supervised_alone(self) -> bool:
        """Whether pseudo-labels have not begun yet."""
        return self.fraction < self._alone or not self._consistency

    @property
    def consistency_weight(self) -> float:
        """lambda(t): once the pseudo-labels begin, the sigmoid ramp exp(-5 (1 - t)^2) of Laine & Aila (ICLR 2017)."""
        since = self.fraction - self._alone
        if since < 0 or not self._consistency:
            return 0.0
        return self._consistency * _risen(since, self._ramp)

    @property
    def text_share(self) -> float:
        """Share of beta that is due: its own sigmoid ramp from the beginning of the run."""
        return _risen(self.fraction, self._text_ramp)

    @property
    def ema_decay(self) -> float:
        """Decay of the teacher, which averages over a share of the run at most.

        An average of decay d looks back over 1 / (1 - d) steps. A minute on a processor has about 40 steps: at the
        published 0.99 the teacher would still be mostly the starting model.
        """
        if not self._window or not self.step:
            return self._decay
        expected = self._steps if self._steps is not None else self.step / max(self.fraction, 1e-6)
        return min(self._decay, max(0.0, 1 - 1 / max(1.0, self._window * expected)))

    def may_score(self, scoring_seconds: float) -> bool:
        """Return whether scoring, which may be slow on large images, has not used too much of a time budget."""
        return self._limit is None or scoring_seconds <= _SCORING_SHARE * self.seconds


def _risen(since: float, ramp: float) -> float:
    t = min(1.0, since / ramp) if ramp else 1.0
    return math.exp(-5 * (1 - t) ** 2)
