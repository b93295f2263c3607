"""Threads behind the docks.

They are `QThread` subclasses and not napari's generator workers: those swallow a RuntimeError, and so every
out-of-memory error, and stay "running" for ever.  Results travel as typed signals; layers are never touched here.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QThread, Signal

from napari_amvlm._qt.failures import guarded
from napari_amvlm.errors import Cancelled, sentence
from napari_amvlm.switching import quick_switching

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    import numpy as np

    from napari_amvlm.predictor import Prediction, Predictor
    from napari_amvlm.predictor import ScaleChoice as ScaleName

    Stop = Callable[[], bool]


class GuardedThread(QThread):
    """A thread that always ends in exactly one of `returned`, `cancelled` or `errored`, and then in `finished`."""

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

    def __init__(self, function: Callable[[], object], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._function = function

    def work(self) -> object:
        """Call the function."""
        return self._function()


class LoadThread(GuardedThread):
    """Load a model; the first one also brings in torch, which takes seconds."""

    def __init__(
        self, load: Callable[[], Predictor], devices: Callable[[], dict[str, str]], parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._load = load
        self._devices = devices

    def work(self) -> tuple[Predictor, dict[str, str]]:
        """Return the predictor and the devices that are there."""
        predictor = self._load()
        return predictor, self._devices()


class PromptThread(GuardedThread):
    """Run prompts on an image.

    `progressed(done, total, words)` counts pieces of work; `noticed` carries what the person should know meanwhile, and
    that memory runs short.
    """

    progressed = Signal(int, int, str)
    noticed = Signal(str)

    def words_when_cancelled(self) -> str:
        """Say what became of the work when it was cancelled."""
        return "Cancelled; nothing was drawn."


class PredictThread(PromptThread):
    """Run several prompts on one plane.

    `progressed` counts tiles; `returned` carries one prediction for each prompt.  `noticed` carries what `look(image)`
    says, if anything.  `limits()` gives the values that become 0 and 1, None where the plane itself tells.
    """

    def __init__(
        self,
        predictor: Predictor,
        image: Callable[[], np.ndarray],
        prompts: Sequence[str],
        *,
        scale: ScaleName,
        magnification: float,
        look: Callable[[np.ndarray], str],
        limits: Callable[[], tuple[float, float] | None] = lambda: None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._predictor = predictor
        self._image = image
        self._limits = limits
        self._prompts = tuple(prompts)
        self._scale = scale
        self._magnification = magnification
        self._look = look

    def work(self) -> list[Prediction]:
        """Predict every prompt in turn."""
        array = self._image()
        words = self._look(array)
        limits = self._limits()
        self._predictor.set_image(array, key=(_content_key(array), limits), limits=limits)
        if words:
            self.noticed.emit(words)
        predictions = []
        for prompt in self._prompts:
            self._raise_if_stopped()
            predictions.append(
                self._predictor.predict(
                    prompt,
                    scale=self._scale,
                    magnification=self._magnification,
                    on_progress=partial(self._on_tile, prompt),
                    should_stop=self.isInterruptionRequested,
                    on_message=self.noticed.emit,
                )
            )
        self._raise_if_stopped()
        return predictions

    def _on_tile(self, prompt: str, done: int, total: int) -> None:
        self.progressed.emit(done, total, f"{prompt}: tile {done} of {total}" if total > 1 else f"{prompt} ...")

    def _raise_if_stopped(self) -> None:
        if self.isInterruptionRequested():
            raise Cancelled("The prediction was cancelled; the labels are as they were.")


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
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._start = start
        self._keep = keep
        self._paused = threading.Event()
        self._discard = threading.Event()

    def work(self) -> object:
        """Run to the end, or until stopped, and keep the result."""
        steps = self._start(self.isInterruptionRequested, self._paused.is_set)
        while True:
            try:
                report = next(steps)
            except StopIteration as end:
                result = end.value
                break
            self.reported.emit(report)
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


def _content_key(array: np.ndarray) -> str:
    """Identify an image by what it holds: painting on it in place gives another key."""
    import hashlib

    import numpy as np

    digest = hashlib.blake2b(f"{array.shape}{array.dtype}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
