"""Strokes of napari's own brush that spread: the rest of the mask follows them, in a thread."""

from __future__ import annotations

import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_amvlm._qt.annotation.slide import READ_ONLY, SlideAnnotation, paintable
from napari_amvlm._qt.layers.image import layer_shape
from napari_amvlm._qt.layers.mask import painted_at
from napari_amvlm._qt.strokes.ground import Ground, Plane
from napari_amvlm._qt.strokes.mask_strokes import Job, MaskStrokes, same
from napari_amvlm._qt.widgets.scale_choice import ScaleSettings
from napari_amvlm._qt.workers import CallThread
from napari_amvlm.review.followed import Follower, Stroke, begin_with
from napari_amvlm.wording import shortened

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Image

    from napari_amvlm._qt.annotation.annotation import Annotation
    from napari_amvlm._qt.layers.mask import MaskLayer
    from napari_amvlm._qt.strokes.ground import Limits
    from napari_amvlm._qt.widgets.brush_row import BrushRow
    from napari_amvlm._qt.workspace import Workspace

_AT_HAND = 2
"""Of so many masks it is kept how their strokes spread; the others begin with what is shown."""


class Spreading(QObject):
    """Binds the choice beside the size of the brush to the mask of the chosen prompt.

    A stroke and all that follows it are one step of undo. Strokes are followed one after the other; what is changed
    meanwhile stays as it is.

    Signals
    -------
    changed : Annotation
        A mask followed a stroke.
    stateChanged
        `state` says something else.
    """

    changed = Signal(object)
    stateChanged = Signal()

    def __init__(
        self, workspace: Workspace, row: BrushRow, limits: Callable[[Image], Limits], parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._row = row
        self._limits = limits
        self._ground = Ground()
        self._chosen: tuple[Annotation, str] | None = None
        self._listening: MaskLayer | None = None
        self._masks: weakref.WeakKeyDictionary[Annotation, dict[str, MaskStrokes]] = weakref.WeakKeyDictionary()
        self._last: list[MaskStrokes] = []
        self._waiting: deque[Job] = deque()
        self._thread: CallThread | None = None
        self._then: tuple[Callable[[Any], None], Callable[[str], None]]
        self._is_following = False
        self._ready: tuple[Any, ...] = ()
        self._afterwards: list[Callable[[], None]] = []
        row.valueChanged.connect(self._on_reach_changed)
        row.sizeChanged.connect(self._on_size_changed)
        workspace.modelChanged.connect(self._next)
        workspace.ending.connect(self._finish)

    def show(self, annotation: Annotation | None, prompt: str | None) -> None:
        """Follow the strokes on another mask from now on."""
        self._chosen = paintable(annotation, prompt)
        self._listen(self._chosen[0].layers[self._chosen[1]] if self._chosen is not None else None)
        self._next()

    def is_busy(self) -> bool:
        """Tell whether the mask is still to follow a stroke, or strokes are being prepared."""
        return self._thread is not None

    def state(self) -> str:
        """Return in words what is being computed; empty where nothing is."""
        if self._thread is None:
            return "strokes wait for the model" if self._waiting else ""
        return "spreading" if self._is_following else "preparing strokes"

    def when_followed(self, then: Callable[[], None]) -> None:
        """Call `then` once the mask has followed all strokes, which may be now."""
        self._afterwards.append(then)
        self._settle()

    # Strokes

    def _on_paint(self, event: Any) -> None:
        if self._chosen is None:
            return
        annotation, prompt = self._chosen
        painted = painted_at(event.value, annotation.place)
        on = self._row.value() != "off"
        masks = self._masks.setdefault(annotation, {})
        if painted is None or not (on or prompt in masks):
            return
        if prompt not in masks:
            pinned = annotation.edited(prompt)
            pinned[painted.rows, painted.columns] = False
            masks[prompt] = MaskStrokes(pinned)
        mask = masks[prompt]
        for stroke in mask.withdrawn:  # nothing brings them back any more
            mask.strokes.pop(stroke, None)
        mask.withdrawn.clear()
        open_ = annotation.is_open(prompt)
        stroke = Stroke(painted.rows, painted.columns, painted.value > 0, spreads=on and open_)
        mask.strokes[stroke] = painted
        if stroke.spreads:
            self._waiting.append(Job(annotation, prompt, mask, stroke))
            self._next()
        elif on:
            why = "is marked finished, so the stroke was painted and does not spread; open its lock first."
            self._workspace.say("info", f"{shortened(prompt)} {why}")

    def _on_stepped(self, event: Any) -> None:
        """Note which strokes were taken back, or done again."""
        change, undoing = event.value
        parts = {id(part) for part in change}
        for annotation, masks in self._masks.items():
            for prompt, mask in masks.items():
                for stroke in [each for each, painted in mask.strokes.items() if id(painted.part) in parts]:
                    if undoing:
                        mask.withdrawn.add(stroke)
                    else:
                        mask.withdrawn.discard(stroke)
                    if stroke in mask.begun:
                        mask.key = ()
                    elif not undoing and stroke.spreads and len(change) == _dabs(change):  # it was taken back too early
                        self._waiting.append(Job(annotation, prompt, mask, stroke))
        self._next()

    # Threads

    def _next(self) -> None:
        """Follow the next stroke, or prepare for the first one."""
        workspace = self._workspace
        if self._thread is not None or workspace.closing:
            return
        while self._waiting and not self._waiting[0].mask.stands(self._waiting[0].stroke):
            self._waiting.popleft()
        if self._waiting and workspace.predictor is None:
            if workspace.model_state == "failed":
                self._waiting.clear()
                workspace.say("error", f"{workspace.model_message} Strokes are painted and do not spread.")
        elif self._waiting:
            self._follow(self._waiting.popleft())
        else:
            self._prepare()
        self._settle()

    def _follow(self, job: Job) -> None:
        """Let the mask follow one stroke, in a thread."""
        annotation, prompt, mask, stroke = job.annotation, job.prompt, job.mask, job.stroke
        predictor, key, chosen = self._workspace.predictor, self._key(annotation, prompt), self._row.value()
        reach = mask.reach if chosen == "off" else chosen
        if not same(mask.key, key) or mask.reach != reach:
            mask.begin_anew(key)
            mask.reach = reach
            mask.begun.difference_update(each.stroke for each in (job, *self._waiting))
        self._keep_few(mask)
        evidence, shown = mask.evidence(stroke), mask.shown(annotation, prompt)
        labels, threshold, stored = shown.labels, shown.threshold, annotation.results.get(prompt)
        before = mask.before([stroke, *(each.stroke for each in self._waiting if each.mask is mask)], labels)
        plane, followers, ground = self._plane(annotation, prompt), mask.followers, self._ground
        if not annotation.is_drawn(prompt):
            stored = None  # a guess about a word that was not taught is no evidence

        def follow() -> Any:
            from napari_amvlm.strokes import Spread

            assert predictor is not None
            box, described = ground.describe(predictor, plane, stroke)
            if box not in followers:
                top, left, height, width = box or (0, 0, *labels.shape)
                window = (slice(top, top + height), slice(left, left + width))
                found = None if stored is None else stored.prediction.probability[window]
                unsure = described.scale == "tiles" and (stored is None or not stored.prediction.is_drawn)
                base = begin_with(found, before[window] > 0, threshold, unsure=unsure)
                followers[box] = Follower(Spread(described, base, reach=reach), box)
            return followers[box].changes(evidence, shown)

        self._run(
            follow,
            lambda changes: self._on_followed(job, key, labels, *changes),
            lambda text: self._on_not_followed(job, text),
        )

    def _on_followed(self, job: Job, key: tuple[Any, ...], labels: np.ndarray, where: Any, values: np.ndarray) -> None:
        annotation, prompt = job.annotation, job.prompt
        if not job.mask.stands(job.stroke) or prompt not in annotation.layers:
            return
        plane = annotation.plane(prompt)
        if not same(self._key(annotation, prompt), key):
            self._waiting.appendleft(job)  # the model found something else meanwhile: the stroke corrects that
            return
        kept = job.mask.shown(annotation, prompt).kept  # what was confirmed meanwhile has the value that it had
        as_before = (plane[where] == labels[where]) & ~kept[where]
        indices = tuple(axis[as_before] for axis in where)
        place = tuple(np.full(int(as_before.sum()), number) for number in annotation.place)
        part = job.mask.strokes[job.stroke].part
        annotation.layer(prompt).extend_change(part, (*place, *indices), values[as_before])
        self.changed.emit(annotation)

    def _on_not_followed(self, job: Job, text: str) -> None:
        job.stroke.spreads = False
        job.mask.key = ()
        self._workspace.say("error", f"{text} What you painted stays; nothing else followed it.")

    def _prepare(self) -> None:
        """Describe the plane at hand before the first stroke on it, in a thread."""
        workspace, predictor = self._workspace, self._workspace.predictor
        if self._chosen is None or self._row.value() == "off" or predictor is None:
            return
        annotation, prompt = self._chosen
        wanted = (predictor.model, annotation, prompt, annotation.results.get(prompt))
        if same(self._ready, wanted) or max(layer_shape(annotation.image)[-2:]) > 2 * predictor.model.config.tile:
            return  # parts of large images are described where a stroke is
        self._ready = wanted
        plane, ground, middle = self._plane(annotation, prompt), self._ground, np.zeros(1, np.int64)
        self._run(
            lambda: ground.describe(predictor, plane, Stroke(middle, middle, True)),
            lambda _: None,
            lambda text: workspace.say("warning", text),
            following=False,
        )

    def _run(
        self,
        work: Callable[[], Any],
        done: Callable[[Any], None],
        failed: Callable[[str], None],
        following: bool = True,
    ) -> None:
        self._thread, self._is_following = CallThread(work), following
        self._then = done, failed
        self._thread.returned.connect(self._on_returned)
        self._thread.errored.connect(self._on_errored)
        self._workspace.start(self._thread)
        self.stateChanged.emit()

    def _on_returned(self, result: object) -> None:
        self._end(lambda: self._then[0](result))

    def _on_errored(self, text: str, _error: object) -> None:
        self._end(lambda: self._then[1](text))

    def _end(self, then: Callable[[], None]) -> None:
        if self._thread is None:
            return  # the window is closing
        self._thread = None
        then()
        self._next()
        self.stateChanged.emit()

    def _settle(self) -> None:
        """Do what had to wait, once no stroke is left to be followed."""
        if self._waiting or (self._thread is not None and self._is_following):
            return
        afterwards, self._afterwards = self._afterwards, []
        for then in afterwards:
            then()

    def _finish(self) -> None:
        """Do what waits here and now, on what is painted: the window is closing."""
        self._waiting.clear()
        self._thread = None
        self._settle()

    # Inner workings

    def _key(self, annotation: Annotation, prompt: str) -> tuple[Any, ...]:
        predictor = self._workspace.predictor
        model = predictor.model if predictor is not None else None
        return (model, annotation.results.get(prompt), annotation.image.data)

    def _plane(self, annotation: Annotation, prompt: str) -> Plane:
        stored = annotation.results.get(prompt)
        settings = stored.settings if stored is not None else ScaleSettings()
        return Plane(annotation.image, annotation.place, self._limits(annotation.image), prompt, settings)

    def _keep_few(self, mask: MaskStrokes) -> None:
        """Forget how strokes spread on masks that were left; what they changed is shown."""
        self._last = [each for each in self._last if each is not mask] + [mask]
        for each in self._last[:-_AT_HAND]:
            each.begin_anew(())
        self._last = self._last[-_AT_HAND:]

    def _listen(self, layer: MaskLayer | None) -> None:
        if layer is self._listening:
            return
        for mask, connect in ((self._listening, False), (layer, True)):
            if mask is not None:
                for event, slot in (
                    (mask.events.paint, self._on_paint),
                    (mask.events.stepped, self._on_stepped),
                    (mask.events.brush_size, self._on_brush_size),
                ):
                    (event.connect if connect else event.disconnect)(slot)
                mask.confirms = connect and self._row.value() != "off"
        self._listening = layer
        self._on_brush_size()

    def _on_brush_size(self, _event: Any = None) -> None:
        self._row.brush_size.setEnabled(self._listening is not None)
        if self._listening is not None:
            self._row.showSize(int(self._listening.brush_size))

    def _on_size_changed(self, size: int) -> None:
        if self._listening is not None:
            self._listening.brush_size = size

    def _on_reach_changed(self, reach: str) -> None:
        if self._listening is not None:
            self._listening.confirms = reach != "off"
        at_hand = self._workspace.at_hand
        if reach != "off" and isinstance(at_hand, SlideAnnotation):
            self._workspace.say("warning", READ_ONLY)
        else:
            words = {"off": "Strokes change what they paint.", "near": "Strokes spread to what looks alike near them."}
            self._workspace.say("info", words.get(reach, "Strokes spread to what looks alike in the whole image."))
        self._next()


def _dabs(change: Any) -> int:
    """Return how many parts of a change a brush made."""
    return sum(hasattr(part, "slice_key") for part in change)
