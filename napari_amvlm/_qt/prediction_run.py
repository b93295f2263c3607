"""One run of prompts on one image at a time, started as soon as the model is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_amvlm._qt import layers
from napari_amvlm._qt.workers import PredictThread
from napari_amvlm.imaging import count_nonfinite

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from napari_amvlm._qt.annotation import Annotation
    from napari_amvlm._qt.widgets.scale_choice import ScaleSettings
    from napari_amvlm._qt.workspace import Workspace


class PredictionRun(QObject):
    """Runs prompts in a thread.

    Signals
    -------
    waiting : str
        It begins once the model is loaded.
    progressed : float, str
        Share done of one prompt, and words.
    noticed : str
        Something about the image that the person should know.
    done : Annotation, ScaleSettings, list of Prediction
    ended : level, str
        After a cancellation ("info") or a failure ("error"); nothing was drawn.
    """

    waiting = Signal(str)
    progressed = Signal(float, str)
    noticed = Signal(str)
    done = Signal(object, object, object)
    ended = Signal(str, str)

    def __init__(self, workspace: Workspace, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._thread: PredictThread | None = None
        self._asked: tuple[Annotation, tuple[str, ...], ScaleSettings] | None = None
        workspace.modelChanged.connect(self._on_model_changed)

    def is_running(self) -> bool:
        """Tell whether prompts run, or wait for the model."""
        return self._asked is not None

    def start(self, annotation: Annotation, prompts: Sequence[str], settings: ScaleSettings) -> None:
        """Run `prompts` on the image of `annotation`, now or when the model is loaded."""
        self._asked = (annotation, tuple(prompts), settings)
        if self._workspace.model_state == "failed":
            self._end("error", self._workspace.model_words)
        elif self._workspace.predictor is None:
            self.waiting.emit("Waiting for the model ...")
        else:
            self._begin()

    def cancel(self) -> None:
        """Stop soon."""
        if self._thread is not None:
            self._thread.stop()
        elif self._asked is not None:
            self._end("info", "Cancelled; nothing was drawn.")

    def _begin(self) -> None:
        predictor = self._workspace.predictor
        if self._asked is None or predictor is None:
            return
        annotation, prompts, settings = self._asked
        self._thread = PredictThread(
            predictor,
            lambda: layers.pixels(annotation.image),
            prompts,
            scale=settings.scale,
            magnification=settings.magnification,
            look=look_at_pixels,
        )
        self._thread.noticed.connect(self.noticed)
        self._thread.progressed.connect(self._on_progressed)
        self._thread.returned.connect(self._on_returned)
        self._thread.cancelled.connect(self._on_cancelled)
        self._thread.errored.connect(self._on_errored)
        self._workspace.start(self._thread)

    def _end(self, level: str, text: str) -> None:
        self._asked = self._thread = None
        self.ended.emit(level, text)

    def _on_model_changed(self) -> None:
        if self._asked is None or self._thread is not None:
            return
        if self._workspace.model_state == "failed":
            self._end("error", self._workspace.model_words)
        elif self._workspace.model_state == "ready":
            self._begin()

    def _on_progressed(self, done: int, total: int, prompt: str) -> None:
        words = f"{prompt}: tile {done} of {total}" if total > 1 else f"{prompt} ..."
        self.progressed.emit(done / max(total, 1), words)

    def _on_returned(self, predictions: object) -> None:
        if self._asked is None or self._workspace.closing:
            return
        annotation, _, settings = self._asked
        self._asked = self._thread = None
        self.done.emit(annotation, settings, predictions)

    def _on_cancelled(self) -> None:
        self._end("info", "Cancelled; nothing was drawn.")

    def _on_errored(self, text: str, _error: object) -> None:
        self._end("error", text)


def look_at_pixels(array: np.ndarray) -> str:
    """Return a sentence where pixels are no numbers, else nothing."""
    count = count_nonfinite(array)
    if not count or count == array.size:
        return ""
    return f"{count} pixels are not finite numbers; they count as the darkest pixel of the image."
