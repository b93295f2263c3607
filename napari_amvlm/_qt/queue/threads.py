"""The thread that scores and sorts the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal

from napari_amvlm._qt.workers import GuardedThread
from napari_amvlm.session import order_queue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_amvlm.predictor import Predictor
    from napari_amvlm.project import Project, QueueItem
    from napari_amvlm.session import QueueOrder


class ScoreThread(GuardedThread):
    """Sorts the queue by what teaches most, see `order_queue`; `returned` carries the `QueueOrder`.

    Signals
    -------
    progressed : float, str
        Share of the items that were scored, and the name of the next.
    """

    progressed = Signal(float, str)

    def __init__(
        self,
        project: Project,
        predictor: Predictor,
        items: Sequence[QueueItem],
        prompts: Sequence[str],
    ) -> None:
        super().__init__()
        self._project = project
        self._predictor = predictor
        self._items = tuple(items)
        self._prompts = tuple(prompts)

    def work(self) -> QueueOrder:
        """Score and sort."""
        return order_queue(
            self._project,
            self._predictor,
            self._items,
            self._prompts,
            on_item=self._on_item,
            should_stop=self.isInterruptionRequested,
        )

    def _on_item(self, index: int, item: QueueItem) -> None:
        count = len(self._items)
        self.progressed.emit(index / count, f"{item.name}, {index + 1} of {count}")
