"""One run of prompts at a time, on a plane, a slide or a stack, started as soon as the model is there."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_amvlm._qt.annotation.slide import SlideAnnotation
from napari_amvlm._qt.layers import labels as label_layers
from napari_amvlm._qt.layers.image import describe_layer, full_resolution
from napari_amvlm._qt.predict.plane_thread import PredictThread, PromptThread
from napari_amvlm._qt.predict.slide_threads import SlideJob, SlideThread, StackThread
from napari_amvlm._qt.widgets.extent_choice import Extent
from napari_amvlm.imaging import count_nonfinite

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from napari.layers import Image, Labels

    from napari_amvlm._qt.annotation.annotation import Annotation
    from napari_amvlm._qt.widgets.scale_choice import ScaleSettings
    from napari_amvlm._qt.workspace import Workspace
    from napari_amvlm.imaging import Tile
    from napari_amvlm.predictor import Predictor
    from napari_amvlm.slides import SlideReport

    Limits = tuple[float, float]


@dataclass(frozen=True)
class Asked:
    """What a run is to do.

    `view` is what is in view of a slide, None where the slide is not; `target` the labels layer that was chosen.
    """

    annotation: Annotation
    prompts: tuple[str, ...]
    settings: ScaleSettings
    extent: Extent
    view: Tile | None = None
    target: Labels | None = None


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
        A plane, or one slice, is done.
    opened : Asked, SlideStore
        Results of a slide will come to a store.
    found : Asked, SlideReport or SliceReport
        A piece of a slide or a stack is done.
    ended : level, str
        After a cancellation ("info"), a failure ("error"), and when a slide or a range of slices is done.
    """

    waiting = Signal(str)
    progressed = Signal(float, str)
    noticed = Signal(str)
    done = Signal(object, object, object)
    opened = Signal(object, object)
    found = Signal(object, object)
    ended = Signal(str, str)

    def __init__(self, workspace: Workspace, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._thread: PromptThread | None = None
        self._asked: Asked | None = None
        self._limits: weakref.WeakKeyDictionary[Image, tuple[Any, Limits]] = weakref.WeakKeyDictionary()
        workspace.modelChanged.connect(self._on_model_changed)

    def is_running(self) -> bool:
        """Tell whether prompts run, or wait for the model."""
        return self._asked is not None

    def start(
        self,
        annotation: Annotation,
        prompts: Sequence[str],
        settings: ScaleSettings,
        extent: Extent | None = None,
        view: Tile | None = None,
        target: Labels | None = None,
    ) -> None:
        """Run `prompts` on the image of `annotation`, now or when the model is loaded."""
        self._asked = Asked(annotation, tuple(prompts), settings, extent or Extent(), view, target)
        if self._workspace.model_state == "failed":
            self._end("error", self._workspace.model_message)
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

    def look_at(self, view: Tile) -> None:
        """Put what is in view of the slide at work first."""
        if isinstance(self._thread, SlideThread):
            self._thread.look_at(view)

    def slide_at_work(self) -> SlideAnnotation | None:
        """Return the slide that a run is on."""
        annotation = self._asked.annotation if self._asked is not None else None
        return annotation if isinstance(annotation, SlideAnnotation) else None

    def _begin(self) -> None:
        predictor = self._workspace.predictor
        if self._asked is None or predictor is None:
            return
        self._thread = thread = self._made(self._asked, predictor)
        thread.noticed.connect(self.noticed)
        thread.progressed.connect(self._on_progressed)
        thread.returned.connect(self._on_returned)
        thread.cancelled.connect(self._on_cancelled)
        thread.errored.connect(self._on_errored)
        self._workspace.start(thread)

    def _made(self, asked: Asked, predictor: Predictor) -> PromptThread:
        """Return the thread for a plane, a slide, or slices."""
        annotation, settings = asked.annotation, asked.settings
        if isinstance(annotation, SlideAnnotation):
            return self._slide_thread(asked, annotation, predictor)
        image, place = annotation.image, annotation.place
        limits = self._limits_of(image) if place else lambda: None
        if not place or asked.extent.part == "here":
            return PredictThread(
                predictor,
                lambda: label_layers.pixels(image, place),
                asked.prompts,
                scale=settings.scale,
                magnification=settings.magnification,
                look=look_at_pixels,
                limits=limits,
            )
        of_all = asked.extent.part == "all"
        stack = StackThread(
            predictor,
            describe_layer(image),
            asked.prompts,
            settings,
            volume=() if of_all else place[:-1],
            slices=None if of_all else asked.extent.slices,
            limits=limits,
        )
        stack.found.connect(self._on_found)
        return stack

    def _slide_thread(self, asked: Asked, annotation: SlideAnnotation, predictor: Predictor) -> SlideThread:
        job = SlideJob(
            describe_layer(annotation.image),
            asked.prompts,
            asked.settings,
            self._workspace.results_folder(),
            asked.view,
            asked.extent.part == "all",
            self._workspace.served_key() or "unnamed",
        )

        def ready(report: SlideReport) -> None:
            # in the thread, so that the window only has to compose what is read already
            if annotation.shown is not None:
                annotation.shown.renew(report.store, report.rectangle)

        thread = SlideThread(predictor, job, ready)
        thread.opened.connect(self._on_opened)
        thread.found.connect(self._on_found)
        return thread

    def _limits_of(self, image: Image) -> Any:
        """Return what gives the values that become 0 and 1 in all slices of a stack, read once and in a thread."""
        described, data = describe_layer(image), full_resolution(image)

        def limits() -> Limits:
            from napari_amvlm.slides import stack_limits

            known = self._limits.get(image)
            if known is None or known[0] is not data:
                known = (data, stack_limits(described))
                self._limits[image] = known
            return known[1]

        return limits

    def _end(self, level: str, text: str) -> None:
        self._asked = self._thread = None
        self.ended.emit(level, text)

    def _on_model_changed(self) -> None:
        if self._asked is None or self._thread is not None:
            return
        if self._workspace.model_state == "failed":
            self._end("error", self._workspace.model_message)
        elif self._workspace.model_state == "ready":
            self._begin()

    def _on_progressed(self, done: int, total: int, words: str) -> None:
        if self._asked is not None:
            self.progressed.emit(done / max(total, 1), words)

    def _on_opened(self, store: object) -> None:
        if self._asked is not None and not self._workspace.closing:
            self.opened.emit(self._asked, store)

    def _on_found(self, piece: object) -> None:
        if self._asked is not None and not self._workspace.closing:
            self.found.emit(self._asked, piece)

    def _on_returned(self, result: object) -> None:
        if self._asked is None or self._workspace.closing:
            return
        if isinstance(result, str):
            self._end("info", result)
            return
        asked, self._asked, self._thread = self._asked, None, None
        self.done.emit(asked.annotation, asked.settings, result)

    def _on_cancelled(self) -> None:
        words = self._thread.words_when_cancelled() if self._thread is not None else "Cancelled; nothing was drawn."
        self._end("info", words)

    def _on_errored(self, text: str, _error: object) -> None:
        self._end("error", text)


def look_at_pixels(array: np.ndarray) -> str:
    """Return a sentence where pixels are no numbers, else nothing."""
    count = count_nonfinite(array)
    if not count or count == array.size:
        return ""
    return f"{count} pixels are not finite numbers; they count as the darkest pixel of the image."
