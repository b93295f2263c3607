"""Threads behind the docks.

They are `QThread` subclasses and not napari's generator workers: those swallow a RuntimeError, and so every
out-of-memory error, and stay "running" for ever.  Results travel as typed signals; layers are never touched here.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, TypeVar

from qtpy.QtCore import QThread, Signal

from napari_amvlm.errors import Cancelled, sentence
from napari_amvlm.generators import drain
from napari_amvlm.thread_switching import quick_switching

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari_amvlm.predictor import Predictor

    Stop = Callable[[], bool]

T = TypeVar("T")


def guarded(function: Callable[[], T]) -> tuple[T | None, Exception | None]:
    """Call `function` at the bottom of a thread and return its result, or the exception it raised.

    An exception that leaves a QThread's `run` ends the whole program, so nothing may pass here.
    """
    try:
        return function(), None
    except Exception as error:  # noqa: BLE001  the thread's boundary: handed on as a value, and shown
        return None, error


class GuardedThread(QThread):
    """A thread that always ends in exactly one of `returned`, `cancelled` or `errored`, and then in `finished`.

    It has no parent: `JobQueue.start` holds it until it has ended.
    """

    returned = Signal(object)
    cancelled = Signal()
    errored = Signal(str, object)

    def work(self) -> object:
        """Do the work and return its result."""
        raise TypeError(f"{type(self).__name__} must define work()")

    def run(self) -> None:
        """Run `work` and tell how it ended."""
        with quick_switching():
            result, error = guarded(self.work)
        if error is None:
            self.returned.emit(result)
        elif isinstance(error, Cancelled):
            self.cancelled.emit()
        else:
            self.errored.emit(sentence(error), error)

    def stop(self) -> None:
        """Ask the thread to end as soon as it can."""
        self.requestInterruption()


class CallThread(GuardedThread):
    """Call one function: for the disk, and for anything short that may not hold up the window."""

    def __init__(self, function: Callable[[], object]) -> None:
        super().__init__()
        self._function = function

    def work(self) -> object:
        """Call the function."""
        return self._function()


class LoadThread(GuardedThread):
    """Load a model; the first one also brings in torch, which takes seconds."""

    def __init__(self, load: Callable[[], Predictor], devices: Callable[[], dict[str, str]]) -> None:
        super().__init__()
        self._load = load
        self._devices = devices

    def work(self) -> tuple[Predictor, dict[str, str]]:
        """Return the predictor and the devices that are there."""
        predictor = self._load()
        return predictor, self._devices()


class LearnThread(GuardedThread):
    """Iterate a learning run: a plain generator of reports whose return value is the result.

    Parameters
    ----------
    start : callable
        `start(should_stop, should_pause)` gathers the data and returns the generator.
    keep : callable
        `keep(result)` stores the model; what it returns is what `returned` carries.
    """

    reported = Signal(object)
    noticed = Signal(str)

    def __init__(
        self,
        start: Callable[[Stop, Stop], Generator[Any, None, Any]],
        keep: Callable[[Any], object],
    ) -> None:
        super().__init__()
        self._start = start
        self._keep = keep
        self._paused = threading.Event()
        self._discard = threading.Event()

    def work(self) -> object:
        """Run to the end, or until stopped, and keep the result."""
        steps = self._start(self.isInterruptionRequested, self._paused.is_set)
        result = drain(steps, self.reported.emit)
        if self._discard.is_set():
            raise Cancelled("Learning was stopped; the served model is as it was.")
        return self._keep(result)

    def pause(self) -> None:
        """Let the run stand still; its budget stands still too."""
        self._paused.set()

    def resume(self) -> None:
        """Let a paused run go on."""
        self._paused.clear()

    def is_paused(self) -> bool:
        """Tell whether the run stands still."""
        return self._paused.is_set()

    def stop(self) -> None:
        """End the run early and keep what it learnt, though it is not served by itself."""
        self._paused.clear()
        super().stop()

    def abandon(self) -> None:
        """End the run early and keep nothing: the window is closing."""
        self._discard.set()
        self.stop()
