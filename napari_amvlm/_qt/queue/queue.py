"""Working through a project: opening the next image, showing what was accepted on it, and the order of work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_amvlm._qt.queue.open_image import ImageOpening
from napari_amvlm._qt.queue.score_thread import ScoreThread
from napari_amvlm.project import TO_DO
from napari_amvlm.session.thumbnails import thumbnails

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_amvlm._qt.annotation.annotation import Annotation
    from napari_amvlm._qt.workspace import Workspace
    from napari_amvlm.project import Project, QueueItem, QueueStatus
    from napari_amvlm.session import QueueOrder


class QueueWork(QObject):
    """What both docks know of the queue of the open project.

    Signals
    -------
    said : level, text
    changed
        Another piece of work is current, or the queue is another.
    scoring : float, str
        Share of the work looked at, and words; a share of 1 ends it.
    thumbnailsReady : dict
        Thumbnails by image id, uint8 (h, w, 3).
    """

    said = Signal(str, str)
    changed = Signal()
    scoring = Signal(float, str)
    thumbnailsReady = Signal(object)

    def __init__(self, viewer: Any, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._workspace = workspace
        self.images = ImageOpening(viewer, workspace, self)
        self.current: QueueItem | None = None
        # where Next and Back stop unless a person filters otherwise
        self.statuses: tuple[QueueStatus, ...] = TO_DO
        self._thread: ScoreThread | None = None
        self.images.said.connect(self.said)
        workspace.projectChanged.connect(self._on_project_changed)
        workspace.projectOpened.connect(self._on_project_opened)

    # Where one is

    def items(self) -> tuple[QueueItem, ...]:
        """Return the queue, in its order."""
        return self._workspace.view.queue if self._workspace.view is not None else ()

    def words(self) -> str:
        """Say where one is; empty where there is no queue."""
        items = self.items()
        if not items:
            return ""
        if self.current is None:
            return f"{len(items)} in the queue"
        place = next((number for number, item in enumerate(items, 1) if item.id == self.current.id), 0)
        return f"{place} of {len(items)}, {self.current.status}: {self.current.name}"

    def is_busy(self) -> bool:
        """Tell whether an image is being opened or work is being scored."""
        return self.images.is_busy() or self._thread is not None

    def note_image(self, annotation: Annotation | None) -> None:
        """Take the piece of work of an image that the person chose by hand as the current one."""
        image_id = annotation.image_id if annotation is not None else None
        if image_id is None or (self.current is not None and self.current.image_id == image_id):
            return
        self.current = next((item for item in self.items() if item.image_id == image_id), None)
        self.changed.emit()

    # Steps

    def step(self, by: int) -> None:
        """Open the next (1) or the previous (-1) piece of work among those of the chosen statuses."""
        here = self.current.id if self.current is not None else None
        statuses = self.statuses

        def find(project: Project) -> QueueItem | None:
            return project.queue.step(here, by, statuses)

        self._ask(find, self._on_found)

    def go(self, item_id: int) -> None:
        """Open one piece of work."""
        self._ask(lambda project: project.queue.get(item_id), self._on_found)

    def skip(self) -> None:
        """Leave the current piece of work out, and go on."""
        item = self.current
        if item is None:
            self.said.emit("warning", "No piece of work is open; press Next.")
            return
        self._workspace.with_project(
            lambda project: project.queue.set_status(item.id, "skipped"), lambda _: self.step(1)
        )

    def open_image(self, image_id: int, then: Callable[[Annotation], None] | None = None) -> None:
        """Show an image of the project."""
        item = next((item for item in self.items() if item.image_id == image_id), None)
        if item is not None:
            self._open(item, then)

    def note_predicted(self, annotation: Annotation) -> None:
        """Note that the model has answered on an image of the project."""
        ids = [item.id for item in self.items() if item.image_id == annotation.image_id and item.status == "new"]

        def note(project: Project) -> None:
            for item_id in ids:
                project.queue.note_predicted(item_id)

        if ids:
            self._workspace.with_project(note)

    # What teaches most

    def sort(self, prompts: Sequence[str]) -> None:
        """Put what teaches most first; pieces of work without scores are looked at before, in a thread."""
        workspace = self._workspace
        project, predictor = workspace.project, workspace.predictor
        items = [item for item in self.items() if item.status in TO_DO]
        if project is None or predictor is None or not items or not prompts or self._thread is not None:
            missing = "a prompt" if not prompts else "a project with images to do and a loaded model"
            self.said.emit("warning", f"To order the queue, {missing} is needed; it is as it was.")
            return
        self._thread = ScoreThread(project, predictor, items, prompts)
        self._thread.progressed.connect(self.scoring)
        self._thread.returned.connect(self._on_sorted)
        self._thread.cancelled.connect(lambda: self._end_scoring("info", "Cancelled; the order is as it was."))
        self._thread.errored.connect(lambda text, _error: self._end_scoring("error", text))
        workspace.start(self._thread)

    def cancel(self) -> None:
        """Stop looking for what teaches most."""
        if self._thread is not None:
            self._thread.stop()

    def load_thumbnails(self, image_ids: Sequence[int]) -> None:
        """Make thumbnails of a few images; `thumbnailsReady` brings them."""
        project = self._workspace.project
        if project is not None and image_ids:
            self._workspace.submit(lambda: thumbnails(project, image_ids), self.thumbnailsReady.emit)

    # Inner workings

    def _ask(self, question: Callable[[Project], Any], answer: Callable[[Any], None]) -> None:
        project = self._workspace.project
        if project is None:
            self.said.emit("warning", "No project is open; open one, or accept a mask, which makes one.")
            return
        self._workspace.submit(lambda: question(project), answer)

    def _on_found(self, item: QueueItem | None) -> None:
        if item is None:
            self.said.emit("info", "That was the last piece of work in this direction.")
        else:
            self._open(item, None)

    def _open(self, item: QueueItem, then: Callable[[Annotation], None] | None) -> None:
        def done(annotation: Annotation) -> None:
            self.current = item
            self.changed.emit()
            if then is not None:
                then(annotation)
            self._workspace.store_place()

        def failed(text: str) -> None:
            self.current = item  # so that Next goes on past an image that is lost
            self.changed.emit()
            self.said.emit("error", text)

        self.images.open(item, done, failed)

    def _on_sorted(self, order: QueueOrder) -> None:
        compared = "teacher and student" if order.with_student else "mask and text evidence"
        words = f"The most instructive images come first now, by disagreement of {compared}, doubt and variety."
        self._workspace.with_project(lambda _project: None)
        self._end_scoring("warning" if order.problems else "info", " ".join([words, *order.problems[:1]]))

    def _end_scoring(self, level: str, text: str) -> None:
        self._thread = None
        self.scoring.emit(1.0, "")
        self.said.emit(level, text)

    def _on_project_changed(self) -> None:
        if self.current is not None:
            current = self.current.id
            self.current = next((item for item in self.items() if item.id == current), None)
        self.changed.emit()

    def _on_project_opened(self, _left: object) -> None:
        self.current = None
        self.changed.emit()


def queue_work_for(viewer: Any, workspace: Workspace) -> QueueWork:
    """Return the one queue of a workspace, made at the first call."""
    if workspace.queue_work is None:
        workspace.queue_work = QueueWork(viewer, workspace)
    return workspace.queue_work
