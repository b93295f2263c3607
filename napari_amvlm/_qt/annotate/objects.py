"""Single objects: picked in the image, then merged, split, locked or given to another prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_amvlm._qt.workers import CallThread
from napari_amvlm.errors import LabelsError
from napari_amvlm.review import merge_objects, relabel, split_by_probability

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Labels

    from napari_amvlm._qt.annotation.annotation import Annotation
    from napari_amvlm._qt.widgets.object_row import ObjectRow
    from napari_amvlm._qt.workspace import Workspace


@dataclass(frozen=True)
class _Change:
    after: np.ndarray
    owners: dict[int, str]
    words: str


class ObjectWork(QObject):
    """Binds the row of objects to the labels layer of the image at hand.

    What takes time is done in a thread, on a copy; if the labels were changed meanwhile, nothing is written.

    Signals
    -------
    said : level, text
    changed : Annotation
        Objects were written.
    unlocked : Annotation
        The model may paint over objects that it could not paint over before.
    """

    said = Signal(str, str)
    changed = Signal(object)
    unlocked = Signal(object)

    def __init__(self, row: ObjectRow, workspace: Workspace, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._row = row
        self._workspace = workspace
        self._annotation: Annotation | None = None
        self._listening: Labels | None = None
        self._before: np.ndarray | None = None
        self._thread: CallThread | None = None
        row.pickToggled.connect(self._listen)
        row.mergeRequested.connect(self.merge)
        row.splitRequested.connect(self.split)
        row.lockRequested.connect(self.lock)
        row.moveRequested.connect(self.move)

    def show(self, annotation: Annotation | None) -> None:
        """Work on the objects of another image from now on."""
        labels = annotation.labels if annotation is not None else None
        if annotation is not self._annotation or labels is not self._listening:
            self._annotation = annotation
            self._row.setValue(())
            self._listen()

    def is_busy(self) -> bool:
        """Tell whether objects are being changed."""
        return self._thread is not None

    def pick(self, value: int) -> None:
        """Pick the object with this label value, or let it go."""
        if value > 0:
            self._row.setValue(tuple(set(self._row.value()) ^ {value}))

    def merge(self) -> None:
        """Make one object of the picked ones."""
        values = self._row.value()

        def work(annotation: Annotation, data: np.ndarray) -> _Change:
            return _Change(merge_objects(data, values), {}, f"Merged {len(values)} objects into {min(values)}.")

        self._change(work)

    def split(self) -> None:
        """Part each picked object by the watershed of the model's probability."""
        values = self._row.value()

        def work(annotation: Annotation, data: np.ndarray) -> _Change:
            owners: dict[int, str] = {}
            for value in values:
                prompt = annotation.owners.get(value, "")
                if prompt not in annotation.results:
                    raise LabelsError(f"Object {value} has no probability to be split by; run its prompt first.")
                highest = int(data.max())
                data = split_by_probability(data, value, annotation.results[prompt].prediction.probability)
                owners.update(dict.fromkeys(range(highest + 1, int(data.max()) + 1), prompt))
            return _Change(data, owners, f"Split into {len(owners) + len(values)} objects.")

        self._change(work)

    def move(self, prompt: str) -> None:
        """Give the picked objects to another prompt; each keeps a label value of its own."""
        values = self._row.value()

        def work(annotation: Annotation, data: np.ndarray) -> _Change:
            owners: dict[int, str] = {}
            own = annotation.value(prompt)
            for value in values:
                free = own if not (data == own).any() else max(int(data.max()), annotation.first_free() - 1) + 1
                data = relabel(data, value, free)
                owners[free] = prompt
            return _Change(data, owners, f"Moved {len(values)} object{'s'[: len(values) - 1]} to {prompt}.")

        self._change(work)

    def lock(self, locked: bool) -> None:
        """Lock the picked objects, or let the model paint over them; on the disk too."""
        annotation = self._annotation
        if annotation is None or annotation.labels is None:
            return
        picked = np.isin(annotation.data, self._row.value()) if annotation.accepted else np.zeros(0, bool)
        changes: list[tuple[int, list[int]]] = []
        for prompt, known in list(annotation.accepted.items()):
            numbers = [int(number) for number in np.unique(known.objects[picked]) if number > 0]
            if numbers:
                annotation.set_locked(prompt, numbers, locked)
                changes.append((known.correction, numbers))
        if not changes:
            self.said.emit("warning", "None of the picked objects is accepted yet, so no lock is on it; accept first.")
            return
        count = sum(len(numbers) for _, numbers in changes)
        words = f"{'Locked' if locked else 'Unlocked'} {count} object{'' if count == 1 else 's'}."

        def store(project: Any) -> None:
            for correction, numbers in changes:
                project.locks.set(project.corrections.get(correction), numbers, locked)

        self._workspace.with_project(store, lambda _: self.said.emit("info", words))
        if not locked:
            self.unlocked.emit(annotation)

    # Inner workings

    def _change(self, work: Callable[[Annotation, np.ndarray], _Change]) -> None:
        annotation = self._annotation
        if annotation is None or annotation.labels is None or self.is_busy():
            self.said.emit("warning", "Wait for the last change, or run a prompt first.")
            return
        try:
            before = annotation.data.copy()
        except LabelsError as error:
            self.said.emit("warning", str(error))
            return
        self._before = before
        self._thread = CallThread(lambda: work(annotation, before))
        self._thread.returned.connect(self._on_returned)
        self._thread.errored.connect(self._on_errored)
        self._workspace.start(self._thread)

    def _on_returned(self, change: _Change) -> None:
        self._thread = None
        annotation, before = self._annotation, self._before
        labels = annotation.labels if annotation is not None else None
        if annotation is None or labels is None or before is None or not np.array_equal(annotation.data, before):
            self.said.emit("warning", "The labels were changed meanwhile, so the objects stay as they were; try again.")
            return
        annotation.change_objects(change.after, change.owners)
        present = np.unique(annotation.data)
        self._row.setValue([value for value in (*self._row.value(), *change.owners) if value in present])
        self.said.emit("info", f"{change.words} Ctrl+Z takes it back.")
        self.changed.emit(annotation)

    def _on_errored(self, text: str, _error: object) -> None:
        self._thread = None
        self.said.emit("error", text)

    def _listen(self) -> None:
        """Take clicks on the labels layer while picking is on."""
        labels = self._annotation.labels if self._annotation is not None else None
        if self._listening is not None and self._on_click in self._listening.mouse_drag_callbacks:
            self._listening.mouse_drag_callbacks.remove(self._on_click)
        self._listening = labels
        if labels is not None and not labels.multiscale and self._row.pick.isChecked():
            labels.mode = "pan_zoom"
            labels.mouse_drag_callbacks.append(self._on_click)

    def _on_click(self, layer: Labels, event: Any) -> None:
        value = layer.get_value(event.position, world=True)
        self.pick(int(value or 0))
