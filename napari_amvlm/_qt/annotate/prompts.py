"""Prompts, from the field to the masks: read, queued, run in a thread, and drawn."""

from __future__ import annotations

import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_amvlm._qt import settings
from napari_amvlm._qt.annotation.slide import SlideAnnotation
from napari_amvlm._qt.layers import labels as label_layers
from napari_amvlm._qt.layers.image import describe_layer, full_resolution
from napari_amvlm._qt.predict.request import PromptRequest, thread_for
from napari_amvlm._qt.predict.slide_threads import SlideThread, StackThread
from napari_amvlm._qt.widgets.prompt_list import PromptEntry
from napari_amvlm.errors import ImageError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.layers import Image

    from napari_amvlm._qt.annotate.panel import AnnotatePanel
    from napari_amvlm._qt.annotation.annotation import Annotation
    from napari_amvlm._qt.predict.plane_thread import PromptThread
    from napari_amvlm._qt.workspace import Workspace
    from napari_amvlm.imaging import Tile
    from napari_amvlm.prediction import Prediction

    Limits = tuple[float, float]

_CANCELLED = "Cancelled; nothing was drawn."


class Prompts(QObject):
    """Runs prompts one request after the other, and shows them in the list of prompts.

    Signals
    -------
    predicted : Annotation
        Probabilities of a plane, or of one slice, are kept: they can be drawn.
    opened : PromptRequest, SlideStore
        Results of a slide will come to a store.
    found : PromptRequest, SlideReport or SliceReport
        A piece of a slide or a stack is done.
    ended
        A request was worked through, failed or was cancelled.
    """

    predicted = Signal(object)
    opened = Signal(object, object)
    found = Signal(object, object)
    ended = Signal()

    def __init__(self, panel: AnnotatePanel, workspace: Workspace, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._panel = panel
        self._workspace = workspace
        self._requests: deque[PromptRequest] = deque()  # the first is being worked on
        self._thread: PromptThread | None = None
        self._limits: weakref.WeakKeyDictionary[Image, tuple[Any, Limits]] = weakref.WeakKeyDictionary()
        panel.progress.cancelled.connect(self.cancel)
        workspace.modelChanged.connect(self._start)

    def is_running(self) -> bool:
        """Tell whether prompts run, or wait for the model or for others."""
        return bool(self._requests)

    def run(self, annotation: Annotation | None, view: Tile | None = None) -> bool:
        """Run the prompts that are typed and those not yet run on this image; with none typed, all of the list.

        `view` is what is in view of a slide. Returns whether there is something to run.
        """
        panel, listed = self._panel, self._workspace.prompts
        typed = panel.prompt.prompts()
        try:
            _check(annotation, [*typed, *listed], panel.extent.value().part == "here", view)
        except InputError as error:
            self._workspace.say("error" if isinstance(error, ImageError) else "warning", str(error))
            return False
        assert annotation is not None
        now, model = panel.scale.value(), self._workspace.served_key()
        missing = [p for p in listed if p not in typed and not (typed and annotation.is_current(p, now, model))]
        new = tuple(p for p in typed if p not in listed)
        listed[:] = dict.fromkeys([*listed, *typed])
        if typed:
            panel.prompt.remember(typed)
            settings.write_prompts(panel.prompt.history())
            panel.prompt.setValue("")
        self._workspace.styles.enter(typed)
        for prompt in [*typed, *missing]:
            if prompt in annotation.layers:
                annotation.layers[prompt].hidden = False
        self.show_list(annotation)
        if typed:
            panel.prompts.setCurrent(typed[0])
        self._requests.append(PromptRequest(annotation, (*typed, *missing), now, panel.extent.value(), view, new))
        if len(self._requests) > 1:
            self._workspace.say("info", f"{', '.join([*typed, *missing])}: runs once the run before has ended.")
        elif panel.extent.value().part != "here":
            self._workspace.say("info", f"Working through {annotation.image.name}; you can look around meanwhile.")
        self._start()
        return True

    def cancel(self) -> None:
        """Stop soon, and drop the requests that wait."""
        while len(self._requests) > 1:
            self._requests.pop()
        if self._thread is not None:
            self._thread.stop()
        elif self._requests:
            self._end("info", _CANCELLED)

    def show_list(self, annotation: Annotation | None) -> None:
        """Show what is known of each prompt on the image."""
        listed = self._workspace.prompts
        self._panel.prompts.setValue([self._entry(annotation, prompt) for prompt in listed])
        self._panel.objects.setPrompts(listed)

    def look_at(self, view: Tile) -> None:
        """Put what is in view of the slide at work first."""
        if isinstance(self._thread, SlideThread):
            self._thread.look_at(view)

    def slide_at_work(self) -> SlideAnnotation | None:
        """Return the slide that a run is on."""
        annotation = self._requests[0].annotation if self._requests else None
        return annotation if isinstance(annotation, SlideAnnotation) else None

    # Inner workings

    def _start(self) -> None:
        """Begin with the first request, if the model is there and nothing else runs."""
        workspace, progress = self._workspace, self._panel.progress
        if not self._requests or self._thread is not None:
            return
        if workspace.model_state == "failed":
            self._end("error", workspace.model_message)
            return
        if workspace.predictor is None:
            progress.setBusy("Waiting for the model ...")
            return
        request = self._requests[0]
        progress.setBusy("Looking at the image ...")
        thread = thread_for(request, workspace.predictor, workspace, self.limits_of(request.annotation.image))
        self._thread = thread
        thread.noticed.connect(lambda text: workspace.say("warning", text))
        thread.progressed.connect(self._on_progressed)
        thread.returned.connect(self._on_returned)
        thread.cancelled.connect(lambda: self._end("info", thread.words_when_cancelled()))
        thread.errored.connect(lambda text, _error: self._end("error", text))
        if isinstance(thread, (SlideThread, StackThread)):
            thread.found.connect(self._on_found)
        if isinstance(thread, SlideThread):
            thread.opened.connect(self._on_opened)
        workspace.start(thread)

    def limits_of(self, image: Image) -> Callable[[], Limits]:
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
        """Leave the first request, and begin with the next."""
        if not self._requests:
            return
        request = self._requests.popleft()
        self._thread = None
        self._panel.progress.setIdle()
        if level == "error":
            self._forget_unused(request.new)
        self._workspace.say(level, text, request.annotation)
        self.ended.emit()
        self._start()

    def _forget_unused(self, new: Sequence[str]) -> None:
        """Take those of `new` prompts off the list that never gave anything."""
        known = self._workspace.annotations.values()
        used = {prompt for each in known for prompt in (*each.prompts(), *each.accepted, *each.drafts)}
        used |= {prompt for request in self._requests for prompt in request.prompts}
        self._workspace.prompts[:] = [p for p in self._workspace.prompts if p in used or p not in new]

    def _entry(self, annotation: Annotation | None, prompt: str) -> PromptEntry:
        style = self._workspace.styles.of(prompt)
        if annotation is None:
            return PromptEntry(prompt, style.value, style.colour)
        layer = annotation.layers.get(prompt)
        state, stored = "", annotation.results.get(prompt)
        if layer is not None and layer.hidden:
            state = "hidden"
        elif stored is None and prompt in annotation.drafts:
            state = "draft"
        elif stored is None and prompt in annotation.accepted:
            state = "accepted"
        elif stored is None and layer is not None and not layer.multiscale and annotation.mask(prompt).any():
            state = "painted"
        elif stored is not None and not stored.prediction.taught:
            state = "not taught"
        return PromptEntry(
            prompt,
            style.value,
            style.colour,
            annotation.presence(prompt),
            prompt in annotation.finished,
            state,
            stored.prediction.said if stored is not None else "",
        )

    def _on_progressed(self, done: int, total: int, words: str) -> None:
        if self._requests:
            waiting = f" (+{len(self._requests) - 1} waiting)" if len(self._requests) > 1 else ""
            self._panel.progress.setProgress(done / max(total, 1), words + waiting)

    def _on_opened(self, store: object) -> None:
        if self._requests and not self._workspace.closing:
            self.opened.emit(self._requests[0], store)

    def _on_found(self, piece: object) -> None:
        if self._requests and not self._workspace.closing:
            self.found.emit(self._requests[0], piece)

    def _on_returned(self, result: str | list[Prediction]) -> None:
        if not self._requests or self._workspace.closing:
            return
        request = self._requests[0]
        if isinstance(result, str):
            self._end("info", result)
            return
        request.annotation.keep(result, request.settings, self._workspace.served_key())
        self.predicted.emit(request.annotation)
        self._end("info", describe(request.annotation, result))


def _check(annotation: Annotation | None, prompts: list[str], here: bool, view: Tile | None) -> None:
    """Check that something can be run.

    Raises
    ------
    InputError
        There is no image, no prompt, or nothing of a slide in view.
    ImageError
        The image cannot be used.
    """
    if annotation is None:
        raise InputError("Open an image first.")
    if not prompts:
        raise InputError("The prompt is empty; type what to find, for example nuclei.")
    label_layers.check_image(annotation.image)
    if isinstance(annotation, SlideAnnotation) and view is None and here:
        raise ImageError(
            f"Nothing of slide {annotation.image.name!r} is in view; move it into view, or choose the whole slide."
        )


def describe(annotation: Annotation, predictions: list[Prediction]) -> str:
    """Say what a run found, one line for each prompt."""
    lines = []
    for each in predictions:
        if not each.taught:
            lines.append(each.said)
            continue
        scale = "whole image" if each.scale.name == "whole" else "tiles"
        answer = f"{each.answer} {each.presence:.2f}"
        nothing = "" if each.is_drawn else ", nothing is drawn"
        by = f", by {each.by}" if each.by else f", {scale}"
        lines.append(f"{each.prompt} in {annotation.name}: {answer}{nothing}, {each.seconds:.1f} s{by}")
    finished = [each.prompt for each in predictions if each.prompt in annotation.finished]
    if finished:
        lines.extend(map(finished_words, finished))
    return "\n".join(lines)


def finished_words(prompt: str) -> str:
    """Say why the model changes nothing of a prompt."""
    return f"{prompt} is marked finished, so it was not changed. Open its lock to let the model change it."
