"""Stored probabilities into the labels layer: composed in a thread, the newest request first."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_amvlm._qt.compose import Composition, compose
from napari_amvlm._qt.failures import sentence
from napari_amvlm._qt.workers import CallThread
from napari_amvlm.errors import LabelsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from napari_amvlm._qt.annotation import Annotation
    from napari_amvlm._qt.workspace import Workspace


class Repainter(QObject):
    """Writes what the model proposes to a labels layer whenever it is asked.

    While one composition is made, later requests wait, and only the last of them is served.  Between
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
        self._waiting: tuple[Annotation, tuple[str, ...], bool] | None = None
        self._annotation: Annotation | None = None
        self._thread: CallThread | None = None
        self._stroke: contextlib.ExitStack | None = None
        self._dragging = False

    def request(self, annotation: Annotation, prompts: Sequence[str], *, instances: bool) -> None:
        """Show the proposals for `prompts` soon."""
        self._waiting = (annotation, tuple(prompts), instances)
        self._next()

    def is_busy(self) -> bool:
        """Tell whether something is still to be painted."""
        return self._thread is not None or self._waiting is not None

    def begin_drag(self, annotation: Annotation) -> None:
        """Join the writes that follow into one step of undo."""
        self._dragging = True
        if self._stroke is None and annotation.labels is not None:
            self._stroke = contextlib.ExitStack()
            self._stroke.enter_context(annotation.labels.block_history())

    def end_drag(self) -> None:
        """End the step of undo, once what was asked for is painted."""
        self._dragging = False
        self._close_stroke()

    def _close_stroke(self) -> None:
        if self._stroke is not None and not self._dragging and not self.is_busy():
            stroke, self._stroke = self._stroke, None
            stroke.close()

    def _next(self) -> None:
        if self._thread is not None or self._waiting is None:
            return
        (annotation, prompts, instances), self._waiting = self._waiting, None
        if annotation.labels is None:
            return
        shape = annotation.labels.data.shape
        proposals = annotation.proposals(prompts)
        first_free = annotation.first_free()
        overlaps = self._workspace.overlaps()
        split = _splitter() if instances else None
        self._annotation = annotation
        self._thread = CallThread(
            lambda: compose(proposals, shape, overlaps=overlaps, split=split, first_free=first_free)
        )
        self._thread.returned.connect(self._on_composed)
        self._thread.errored.connect(self._on_errored)
        self._workspace.start(self._thread)

    def _on_composed(self, composition: Composition) -> None:
        annotation, self._annotation, self._thread = self._annotation, None, None
        if annotation is not None and not self._workspace.closing:
            try:
                changed = annotation.show(composition)
            except LabelsError as error:
                self.failed.emit(sentence(error))
            else:
                self.painted.emit(annotation, changed)
        self._next()
        self._close_stroke()

    def _on_errored(self, text: str, _error: object) -> None:
        self._annotation = self._thread = None
        self.failed.emit(text)
        self._next()
        self._close_stroke()


def _splitter() -> Callable[[np.ndarray, float], np.ndarray]:
    from napari_amvlm.imaging import split_instances

    return split_instances
