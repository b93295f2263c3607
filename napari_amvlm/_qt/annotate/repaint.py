"""Stored probabilities into masks: proposals are made in a thread, the newest request first."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from napari_amvlm._qt.workers import CallThread, guarded
from napari_amvlm.errors import LabelsError, sentence
from napari_amvlm.imaging import split_instances

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from napari_amvlm._qt.annotation.annotation import Annotation
    from napari_amvlm._qt.workspace import Workspace

    Mask = tuple[Annotation, str]


class Repainter(QObject):
    """Writes what the model proposes to the mask of a prompt whenever it is asked.

    While one proposal is made, later requests wait, and of each mask only the last is served.  Between
    `begin_drag` and `end_drag` all writes are one step of undo.
    """

    def __init__(self, workspace: Workspace, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._waiting: dict[Mask, bool] = {}  # whether it is a step of undo
        self._at_work: tuple[Mask, bool] | None = None
        self._thread: CallThread | None = None
        self._stroke: contextlib.ExitStack | None = None
        self._dragging = False
        self._afterwards: list[tuple[Callable[[], None], Callable[[], None]]] = []
        self._fine = True
        workspace.ending.connect(self.finish)

    def request(self, annotation: Annotation, prompt: str, *, undoable: bool = True) -> None:
        """Show the proposal for a prompt soon, as a step of undo if `undoable`."""
        if annotation.has_run(prompt) and annotation.is_open(prompt):
            self._waiting.pop((annotation, prompt), None)
            self._waiting[annotation, prompt] = undoable
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
        left = dict(self._waiting) if self._at_work is None else dict([self._at_work]) | self._waiting
        self._at_work = self._thread = None
        self._waiting = {}
        if self._afterwards:
            for (annotation, prompt), undoable in left.items():
                proposed, _ = guarded(annotation.proposal(prompt, split_instances))
                if proposed is None:
                    self._fine = False
                else:
                    self._show(annotation, prompt, proposed, undoable)
        self._settle()

    def begin_drag(self, annotation: Annotation, prompt: str) -> None:
        """Join the writes that follow into one step of undo."""
        self._dragging = True
        if self._stroke is None:
            self._stroke = contextlib.ExitStack()
            self._stroke.enter_context(annotation.layer(prompt).block_history())

    def end_drag(self) -> None:
        """End the step of undo, once what was asked for is painted."""
        self._dragging = False
        self._settle()

    def _settle(self) -> None:
        """End the step of undo, and do what had to wait, once nothing is left to be painted."""
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
        mask = next(iter(self._waiting))
        self._at_work = mask, self._waiting.pop(mask)
        self._thread = CallThread(mask[0].proposal(mask[1], split_instances))
        self._thread.returned.connect(self._on_proposed)
        self._thread.errored.connect(self._on_errored)
        self._workspace.start(self._thread)

    def _show(self, annotation: Annotation, prompt: str, proposed: np.ndarray, undoable: bool) -> None:
        try:
            if annotation.has_run(prompt):  # it may have been rejected meanwhile
                annotation.show(prompt, proposed, undoable=undoable)
        except LabelsError as error:
            self._fine = False
            self._workspace.say("error", sentence(error))

    def _on_proposed(self, proposed: np.ndarray) -> None:
        if self._at_work is None:
            return  # it was painted when the window began to close
        (mask, undoable), self._at_work, self._thread = self._at_work, None, None
        if self._afterwards or not self._workspace.closing:
            self._show(*mask, proposed, undoable)
        self._next()
        self._settle()

    def _on_errored(self, text: str, _error: object) -> None:
        self._at_work = self._thread = None
        self._fine = False
        self._workspace.say("error", text)
        self._next()
        self._settle()
