"""The queue of the open project: which image is current, steps to others, and the order of the queue."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_amvlm._qt.queue.ahead import Ahead
from napari_amvlm._qt.queue.open_image import ImageOpener
from napari_amvlm._qt.queue.threads import ScoreThread
from napari_amvlm.project import TO_DO
from napari_amvlm.session.thumbnails import thumbnails

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from napari_amvlm._qt.annotation.annotation import Annotation
    from napari_amvlm._qt.workspace import Workspace
    from napari_amvlm.project import Project, QueueItem, QueueStatus
    from napari_amvlm.session import QueueOrder


class Queue(QObject):
    """What all docks of a viewer know of the queue of the open project.

    Attributes
    ----------
    images
        Opens images of the project in the viewer.
    current
        The queue item that is shown, None where there is none.
    statuses
        The statuses of the items at which Next and Back stop; Back stops at accepted ones too.

    Signals
    -------
    changed
        Another item is current, or the queue is another.
    scoring : float, str
        Share of the items that were scored, and a message; a share of 1 ends it.
    thumbnailsReady : dict
        Thumbnails by image id, uint8 (h, w, 3).
    """

    changed = Signal()
    scoring = Signal(float, str)
    thumbnailsReady = Signal(object)

    def __init__(self, viewer: Any, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._workspace = workspace
        self.images = ImageOpener(viewer, workspace, self)
        self.current: QueueItem | None = None
        self.statuses: tuple[QueueStatus, ...] = TO_DO
        self._from_top = False
        self._thread: ScoreThread | None = None
        self.ahead = Ahead(workspace, self._upcoming, self)
        self.ahead.changed.connect(self.changed)
        self.changed.connect(self.ahead.update)
        workspace.projectChanged.connect(self._on_project_changed)
        workspace.projectOpened.connect(self._on_project_opened)

    # Position

    def items(self) -> tuple[QueueItem, ...]:
        """Return the queue in its order; "predicted" are those of which masks are there."""
        if self._workspace.view is None:
            return ()
        with_masks = self.ahead.with_masks() | {
            each.image_id for each in self._images_that_ran() if any(map(each.is_drawn, each.prompts()))
        }

        def status(item: QueueItem) -> QueueStatus:
            if item.status not in ("new", "predicted"):
                return item.status
            return "predicted" if item.image_id in with_masks else "new"

        return tuple(replace(item, status=status(item)) for item in self._workspace.view.queue)

    def position_text(self) -> str:
        """Return the position in the queue as a text; empty where there is no queue."""
        items = self.items()
        if not items:
            return ""
        if self.current is None:
            return f"{len(items)} in the queue"
        number = next((number for number, item in enumerate(items, 1) if item.id == self.current.id), 0)
        return f"{number} of {len(items)}, {self.current.status}: {self.current.name}"

    def is_busy(self) -> bool:
        """Tell whether an image is being opened or items are being scored."""
        return self.images.is_busy() or self._thread is not None

    def note_image(self, annotation: Annotation | None) -> None:
        """Make the item of an image current that the person chose by hand."""
        image_id = annotation.image_id if annotation is not None else None
        if image_id is None or (self.current is not None and self.current.image_id == image_id):
            return
        self.current = next((item for item in self.items() if item.image_id == image_id), None)
        self.changed.emit()

    # Steps

    def step(self, by: int) -> None:
        """Open the next (1) or the previous (-1) item of the chosen statuses, from the other end after the last.

        The previous one may be accepted as well: it is where a person comes from.

        After sorting, the next item is the first of the new order.
        """
        if self._workspace.project is None:
            self._say("warning", "No project is open; open one, or accept a mask, which makes one.")
            return
        wanted = next(self._ahead_of_current(by), None)
        if wanted is not None:
            self._from_top = False
            self._open(wanted, None)
        elif any(item.status in TO_DO for item in self.items()):
            self._say("info", "This is the only image left in the list.")
        else:
            self._say("info", "All done: every image of the project is accepted or skipped.")

    def go(self, item_id: int) -> None:
        """Open one item."""
        item = next((item for item in self.items() if item.id == item_id), None)
        if item is not None:
            self._open(item, None)

    def skip(self) -> None:
        """Leave the current item out, and open the next."""
        item = self.current
        if item is None:
            self._say("warning", "No image of the queue is open; press Next.")
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
        """Store that the model has predicted masks on an image of the project, where it drew one."""
        if not any(map(annotation.is_drawn, annotation.prompts())):
            return
        queue = self._workspace.view.queue if self._workspace.view is not None else ()
        ids = [item.id for item in queue if item.image_id == annotation.image_id and item.status == "new"]

        def note(project: Project) -> None:
            for item_id in ids:
                project.queue.note_predicted(item_id)

        if ids and not self._workspace.is_read_only():
            self._workspace.with_project(note)

    # Order

    def sort(self, prompts: Sequence[str]) -> None:
        """Put first what teaches most; items without scores are scored before, in a thread."""
        workspace = self._workspace
        project, predictor = workspace.project, workspace.predictor
        items = [item for item in self.items() if item.status in TO_DO]
        prompts = [prompt for prompt in prompts if workspace.is_taught(prompt)]
        if project is None or predictor is None or not items or not prompts or self._thread is not None:
            missing = "a project with images to do and a loaded model" if prompts else "a prompt that the model knows"
            self._say("warning", f"The queue was not sorted: sorting needs {missing}.")
            return
        self._thread = ScoreThread(project, predictor, items, prompts)
        self._thread.progressed.connect(self.scoring)
        self._thread.returned.connect(self._on_sorted)
        self._thread.cancelled.connect(lambda: self._end_scoring("info", "Cancelled; the order did not change."))
        self._thread.errored.connect(lambda text, _error: self._end_scoring("error", text))
        workspace.start(self._thread)

    def cancel(self) -> None:
        """Stop sorting."""
        if self._thread is not None:
            self._thread.stop()

    def load_thumbnails(self, image_ids: Sequence[int]) -> None:
        """Make thumbnails of a few images; `thumbnailsReady` brings them."""
        project = self._workspace.project
        if project is not None and image_ids:
            self._workspace.submit(lambda: thumbnails(project, image_ids), self.thumbnailsReady.emit)

    # Inner workings

    def _ahead_of_current(self, by: int) -> Iterator[QueueItem]:
        """Yield the items of the chosen statuses that come after (1) or before (-1) the current one."""
        items, here = self.items(), self.current.id if self.current is not None else None
        index = next((index for index, item in enumerate(items) if item.id == here), -1)
        start = 0 if by > 0 and self._from_top else index + 1
        statuses = self.statuses if by > 0 else (*self.statuses, "accepted")
        for item in [*items[start:], *items[:start]][::by]:
            if item.status in statuses and item.id != here:
                yield item

    def _upcoming(self, count: int) -> list[int]:
        """Return the numbers of the next images, without those that prompts ran on already."""
        ran = {each.image_id for each in self._images_that_ran()}
        image_ids = dict.fromkeys(item.image_id for item in self._ahead_of_current(1))
        return [image_id for image_id in list(image_ids)[:count] if image_id not in ran]

    def _images_that_ran(self) -> list[Annotation]:
        known = self._workspace.annotations.values()
        return [each for each in known if each.image_id is not None and each.prompts()]

    def _say(self, level: str, text: str) -> None:
        self._workspace.said.emit(level, text)

    def _open(self, item: QueueItem, then: Callable[[Annotation], None] | None) -> None:
        if self._workspace.says_opening():
            return
        ready = self.ahead.get(item.image_id)

        def done(annotation: Annotation) -> None:
            self.current = item
            self.changed.emit()
            if then is not None:
                then(annotation)
            self._workspace.remember_position()

        def failed(text: str) -> None:
            self.current = item  # so that Next passes an image that is lost
            self.changed.emit()
            self._say("error", text)

        self.images.open(item, done, failed, ready=ready)

    def _on_sorted(self, order: QueueOrder) -> None:
        compared = "teacher and student" if order.with_student else "mask and text evidence"
        message = f"Sorted: what teaches most comes first, by disagreement of {compared}, entropy and variety."
        self._from_top = True
        self._workspace.with_project(lambda _project: None)
        self._end_scoring("warning" if order.problems else "info", " ".join([message, *order.problems[:1]]))

    def _end_scoring(self, level: str, text: str) -> None:
        self._thread = None
        self.scoring.emit(1.0, "")
        self._say(level, text)

    def _on_project_changed(self) -> None:
        if self.current is not None:
            current = self.current.id
            self.current = next((item for item in self.items() if item.id == current), None)
        self.changed.emit()

    def _on_project_opened(self, _state: object) -> None:
        self.current, self._from_top = None, False
        self.changed.emit()


def queue_for(viewer: Any, workspace: Workspace) -> Queue:
    """Return the one queue of a workspace, made at the first call; it is a child of the workspace."""
    known = workspace.findChild(Queue)
    return known if isinstance(known, Queue) else Queue(viewer, workspace)
