"""Stored probabilities into the labels layer: composed in a thread, the newest request first."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_amvlm._qt.workers import CallThread, guarded
from napari_amvlm.errors import LabelsError, sentence
from napari_amvlm.review.composition import Composition, compose

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from napari_amvlm._qt.annotation.annotation import Annotation
    from napari_amvlm._qt.workspace import Workspace


@dataclass(frozen=True)
class _Request:
    prompts: tuple[str, ...]
    instances: bool
    undoable: bool


class Repainter(QObject):
    """Writes what the model proposes to a labels layer whenever it is asked.

    While one composition is made, later requests wait, and of each annotation only the last is served.  Between
    `begin_drag` and `end_drag` all writes are one step of undo.

    Signals
    -------
    painted : Annotation, int
        The layer was written; how many pixels changed.
    failed : str
    """

    painted = Signal(object, int)
    failed = Signal(str)

    def __init__(self, workspace: Workspace, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._waiting: dict[Annotation, _Request] = {}
        self._at_work: tuple[Annotation, _Request] | None = None
        self._thread: CallThread | None = None
        self._stroke: contextlib.ExitStack | None = None
        self._dragging = False
        self._afterwards: list[tuple[Callable[[], None], Callable[[], None]]] = []
        self._fine = True
        workspace.ending.connect(self.finish)

    def request(
        self, annotation: Annotation, prompts: Sequence[str], *, instances: bool, undoable: bool = True
    ) -> None:
        """Show the proposals for `prompts` soon, as a step of undo if `undoable`."""
        self._waiting.pop(annotation, None)
        self._waiting[annotation] = _Request(tuple(prompts), instances, undoable)
        self._next()

    def is_busy(self) -> bool:
        """Tell whether something is still to be painted."""
        return self._thread is not None or bool(self._waiting)

    def when_painted(self, then: Callable[[], None], failed: Callable[[], None] | None = None) -> None:
        """Call `then` once all that was asked for is painted, which may be now; `failed` where it could not be."""
        self._afterwards.append((then, failed or then))
        self._settle()

    def finish(self) -> None:
        """Paint here and now what somebody waits for: the window is closing."""
        left = dict(self._waiting) if self._at_work is None else {self._at_work[0]: self._at_work[1], **self._waiting}
        self._at_work = self._thread = None
        self._waiting = {}
        if self._afterwards:
            for annotation, request in left.items():
                if annotation.labels is None:
                    continue
                composition, _ = guarded(self._composer(annotation, request))
                if composition is None:
                    self._fine = False
                else:
                    self._show(annotation, request, composition)
        self._settle()

    def begin_drag(self, annotation: Annotation) -> None:
        """Join the writes that follow into one step of undo."""
        self._dragging = True
        if self._stroke is None and annotation.labels is not None:
            self._stroke = contextlib.ExitStack()
            self._stroke.enter_context(annotation.labels.block_history())

    def end_drag(self) -> None:
        """End the step of undo, once what was asked for is painted."""
        self._dragging = False
        self._settle()

    def _settle(self) -> None:
        """End the step of undo, and do what had to wait, if nothing is to be painted any more."""
        if self.is_busy():
            return
        if self._stroke is not None and not self._dragging:
            stroke, self._stroke = self._stroke, None
            stroke.close()
        afterwards, self._afterwards = self._afterwards, []
        fine, self._fine = self._fine, True
        for then, failed in afterwards:
            (then if fine else failed)()

    def _next(self) -> None:
        if self._thread is not None or not self._waiting:
            return
        annotation = next(iter(self._waiting))
        request = self._waiting.pop(annotation)
        if annotation.labels is None:
            self._next()
            return
        self._at_work = (annotation, request)
        self._thread = CallThread(self._composer(annotation, request))
        self._thread.returned.connect(self._on_composed)
        self._thread.errored.connect(self._on_errored)
        self._workspace.start(self._thread)

    def _composer(self, annotation: Annotation, request: _Request) -> Callable[[], Composition]:
        """Take what a composition needs; return what makes it, in any thread."""
        height, width = annotation.data.shape
        proposals = annotation.proposals(request.prompts)
        first_free = annotation.first_free()
        overlaps = self._workspace.overlaps()
        split = _splitter() if request.instances else None
        return lambda: compose(proposals, (height, width), overlaps=overlaps, split=split, first_free=first_free)

    def _show(self, annotation: Annotation, request: _Request, composition: Composition) -> None:
        try:
            changed = annotation.show(composition, undoable=request.undoable)
        except LabelsError as error:
            self._fine = False
            self.failed.emit(sentence(error))
        else:
            self.painted.emit(annotation, changed)

    def _on_composed(self, composition: Composition) -> None:
        if self._at_work is None:
            return  # it was painted when the window began to close
        (annotation, request), self._at_work, self._thread = self._at_work, None, None
        if self._afterwards or not self._workspace.closing:
            self._show(annotation, request, composition)
        self._next()
        self._settle()

    def _on_errored(self, text: str, _error: object) -> None:
        self._at_work = self._thread = None
        self._fine = False
        self.failed.emit(text)
        self._next()
        self._settle()


def _splitter() -> Callable[[np.ndarray, float], np.ndarray]:
    from napari_amvlm.imaging import split_instances

    return split_instances
