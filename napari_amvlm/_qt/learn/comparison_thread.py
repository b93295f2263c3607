"""The thread that runs two models on held-out images, one after the other."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal

from napari_amvlm._qt.workers import GuardedThread
from napari_amvlm.errors import Cancelled, ImageError, ProjectError
from napari_amvlm.session import Comparer

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from napari_amvlm.config import ScaleName
    from napari_amvlm.predictor import Predictor
    from napari_amvlm.project import ModelRecord, Project


def comparer_of(project: Project, before: Path, record: ModelRecord, predictor: Predictor) -> Comparer:
    """Return what compares a model with the one in the file `before`, as the predictor would segment."""

    def scale(prompt: str, shape: tuple[int, int], gray: bool) -> ScaleName:
        return predictor.scale_for(prompt, shape, gray=gray).name

    return Comparer(project, before, record.path, predictor_scales=scale, device=predictor.device)


class CompareThread(GuardedThread):
    """Compares images in order; one that the person asks for comes next.

    `progressed(done, total)` counts images, `compared` carries each comparison, and `returned` the sentences about
    images that could not be compared.
    """

    progressed = Signal(int, int)
    compared = Signal(object)

    def __init__(self, comparer: Comparer, image_ids: Iterable[int]) -> None:
        super().__init__()
        self._comparer = comparer
        self._waiting = deque(image_ids)
        self._total = len(self._waiting)
        self._lock = threading.Lock()

    def want(self, image_id: int) -> None:
        """Compare an image next, again if it was compared before."""
        with self._lock:
            if image_id in self._waiting:
                self._waiting.remove(image_id)
            else:
                self._total += 1
            self._waiting.appendleft(image_id)

    def work(self) -> list[str]:
        """Compare until no image is left, and return the sentences about those that failed."""
        problems: list[str] = []
        while (image_id := self._next()) is not None:
            try:
                compared = self._comparer.compare(image_id, self.isInterruptionRequested)
            except (ProjectError, ImageError) as error:
                problems.append(str(error))
                continue
            # once cancelled, what came late is not shown any more
            self._raise_if_stopped()
            self.compared.emit(compared)
        return problems

    def _next(self) -> int | None:
        self._raise_if_stopped()
        with self._lock:
            self.progressed.emit(self._total - len(self._waiting), self._total)
            return self._waiting.popleft() if self._waiting else None

    def _raise_if_stopped(self) -> None:
        if self.isInterruptionRequested():
            raise Cancelled("The comparison was cancelled; what was compared stays.")
