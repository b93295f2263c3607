"""Single objects of the chosen prompt: drawn, picked, merged, split, locked, or given to another prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QObject, Signal

from napari_amvlm._qt.annotation.slide import paintable
from napari_amvlm._qt.layers import labels as label_layers
from napari_amvlm._qt.layers.mask import MaskLayer
from napari_amvlm._qt.timers import single_shot
from napari_amvlm._qt.workers import CallThread
from napari_amvlm.errors import InputError, LabelsError
from napari_amvlm.imaging import bounded_numbers
from napari_amvlm.review import merge_objects, relabel, split_by_probability, taken_objects
from napari_amvlm.wording import counted, shortened

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_amvlm._qt.annotation.annotation import Annotation
    from napari_amvlm._qt.widgets.object_row import ObjectRow
    from napari_amvlm._qt.workspace import Workspace

_COUNT_MS = 200
_DRAWS = {"paint", "fill", "polygon"}


@dataclass(frozen=True)
class Change:
    """What is to be done with objects.

    Attributes
    ----------
    after
        The mask with it, `(H, W)`.
    text
        What was done, as a sentence.
    joined
        Number of an object of several pieces that is wanted.
    moved
        Objects that go to another prompt, `(H, W)`.
    picks
        Whether new objects are picked.
    """

    after: np.ndarray
    text: str
    joined: int = 0
    moved: np.ndarray | None = None
    picks: bool = True


class Objects(QObject):
    """Binds the row of objects to the mask of the chosen prompt.

    What takes time is done in a thread, on a copy; if the mask was changed meanwhile, nothing is written.

    Signals
    -------
    changed : Annotation
        Objects were written, or the mask was painted on a moment ago.
    unlocked : Annotation
        The model may paint over objects that it could not paint over before.
    """

    changed = Signal(object)
    unlocked = Signal(object)

    def __init__(self, viewer: Any, row: ObjectRow, workspace: Workspace, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._row = row
        self._workspace = workspace
        self._chosen: tuple[Annotation, str] | None = None
        self._listening: MaskLayer | None = None
        self._new = False
        self._before: np.ndarray | None = None
        self._thread: CallThread | None = None
        self._later = single_shot(self, _COUNT_MS, self._on_painted)
        row.pick.toggled.connect(self._on_pick_toggled)
        row.new.clicked.connect(self.draw_new)
        row.merge.clicked.connect(self.merge)
        row.split.clicked.connect(self.split)
        row.lockRequested.connect(self.lock)
        row.moveRequested.connect(self.move)
        row.takeRequested.connect(self.take)

    def show(self, annotation: Annotation | None, prompt: str | None) -> None:
        """Work on the objects of another mask from now on."""
        chosen = paintable(annotation, prompt)
        if chosen != self._chosen or chosen is None:
            self._row.setValue(())
        elif self._row.value():
            there = np.isin(self._row.value(), chosen[0].plane(chosen[1]))
            if not there.all():  # after Ctrl+Z for instance
                self._row.setValue(np.array(self._row.value())[there].tolist())
        self._chosen = chosen
        self._listen(chosen[0].layers[chosen[1]] if chosen is not None else None)
        layers = [layer for layer in self._viewer.layers if isinstance(layer, Labels)]
        others = [each for each in layers if not isinstance(each, MaskLayer) and not label_layers.is_overlay(each)]
        self._row.setLayers([layer.name for layer in others])

    def count(self) -> int | None:
        """Return how many objects the mask has; None where they are not told apart."""
        if self._chosen is None or not self._chosen[0].style(self._chosen[1]).separate_objects:
            return None
        values = np.bincount(bounded_numbers(self._chosen[0].plane(self._chosen[1])).ravel())
        return int(np.count_nonzero(values[1:]))

    def is_busy(self) -> bool:
        """Tell whether objects are being changed."""
        return self._thread is not None or self._later.isActive()

    def pick(self, value: int) -> None:
        """Pick the object with this number, or let it go."""
        if value > 0:
            self._row.setValue(tuple(set(self._row.value()) ^ {value}))

    def draw_new(self) -> None:
        """Let the next stroke be an object of its own, wherever it begins."""
        if self._listening is None or self._chosen is None:
            return
        self._row.setValue(())
        self._row.pick.setChecked(False)
        self._new = True
        self._listening.mode = "paint"
        self._listening.selected_label = self._free()

    def merge(self) -> None:
        """Make one object of the picked ones."""
        picked = self._row.value()

        def merged(_annotation: Annotation, _prompt: str, data: np.ndarray) -> Change:
            return Change(merge_objects(data, picked), f"Merged {len(picked)} objects into {min(picked)}.", min(picked))

        self.make(merged)

    def split(self) -> None:
        """Part each picked object by the watershed of the model's probability."""
        picked = self._row.value()

        def parted(annotation: Annotation, prompt: str, data: np.ndarray) -> Change:
            if prompt not in annotation.results:
                raise LabelsError(f"{shortened(prompt)} has no probability to split by; run it first.")
            before = int(data.max())
            for value in picked:
                data = split_by_probability(data, value, annotation.results[prompt].prediction.probability)
            return Change(data, f"Split into {len(picked) + int(data.max()) - before} objects.")

        self.make(parted)

    def move(self, prompt: str) -> None:
        """Give the picked objects to another prompt."""
        picked = self._row.value()

        def moved(annotation: Annotation, _prompt: str, data: np.ndarray) -> Change:
            chosen = np.isin(data, picked)
            highest = int(annotation.plane(prompt).max(initial=0)) if prompt in annotation.layers else 0
            taken = np.where(chosen, data, 0)
            for number, value in enumerate(picked, start=1):
                taken = relabel(taken, value, int(data.max()) + highest + number)
            words = f"Moved {counted(len(picked), 'object')} to {shortened(prompt)}."
            return Change(np.where(chosen, 0, data), words, moved=taken)

        self.make(moved, prompt)

    def take(self, name: str) -> None:
        """Add what a labels layer of the person shows to the mask of the chosen prompt."""
        if self._chosen is None or name not in self._viewer.layers:
            self._workspace.say("warning", "Run a prompt first, or choose one of the list.")
            return
        (annotation, prompt), layer = self._chosen, self._viewer.layers[name]
        try:
            label_layers.check_labels(layer, annotation.image)
            values = np.asarray(layer.data[annotation.place] if annotation.place else layer.data)
            annotation.take(prompt, taken_objects(values, annotation.plane(prompt)))
        except InputError as error:
            self._workspace.say("error", str(error))
            return
        self._workspace.say("info", f"{name} is part of the mask of {shortened(prompt)} now; Ctrl+Z takes it back.")
        self.changed.emit(annotation)

    def lock(self, locked: bool) -> None:
        """Lock the picked objects, or let the model paint over them; in the project too."""
        known = self._chosen[0].accepted.get(self._chosen[1]) if self._chosen is not None else None
        numbers: list[int] = []
        if self._chosen is not None and known is not None:
            picked = np.isin(self._chosen[0].plane(self._chosen[1]), self._row.value())
            numbers = [int(number) for number in np.unique(known.objects[picked]) if number > 0]
        if self._chosen is None or known is None or not numbers:
            self._workspace.say(
                "warning", "None of the picked objects is accepted yet, so it has no lock; accept first."
            )
            return
        annotation, prompt = self._chosen
        annotation.set_locked(prompt, numbers, locked)
        text = f"{'Locked' if locked else 'Unlocked'} {counted(len(numbers), 'object')}."

        def store(project: Any) -> None:
            project.locks.set(project.corrections.get(known.correction), numbers, locked)

        self._workspace.with_project(store, lambda _: self._workspace.say("info", text, annotation))
        if not locked:
            self.unlocked.emit(annotation)

    def make(self, make: Callable[[Annotation, str, np.ndarray], Change], to: str = "") -> None:
        """Do what `make(annotation, prompt, labels)` says in a thread, as one step of undo."""
        if self._chosen is None or self._thread is not None:
            self._workspace.say("warning", "Wait for the last change, or run a prompt first.")
            return
        annotation, prompt = self._chosen
        before = annotation.plane(prompt).copy()
        self._before = before
        self._thread = CallThread(lambda: make(annotation, prompt, before))
        self._thread.returned.connect(lambda change: self._on_made(annotation, prompt, change, to))
        self._thread.errored.connect(self._on_errored)
        self._workspace.start(self._thread)

    # Inner workings

    def _on_made(self, annotation: Annotation, prompt: str, change: Change, to: str) -> None:
        self._thread = None
        if self._before is None or not np.array_equal(annotation.plane(prompt), self._before):
            text = "The mask was changed meanwhile, so the objects stay as they were; try again."
            self._workspace.say("warning", text)
            return
        annotation.change_objects(prompt, change.after)
        if change.joined:
            annotation.joined.setdefault(prompt, set()).add(change.joined)
        if change.moved is not None:
            annotation.take(to, change.moved)
        known = set(np.unique(annotation.plane(prompt)).tolist()) - {0}
        new = known - set(np.unique(self._before).tolist()) if change.picks else set()
        self._row.setValue([value for value in (*self._row.value(), *new) if value in known])
        both = " in each of the two masks" if change.moved is not None else ""
        self._workspace.say("info", f"{change.text} Ctrl+Z takes it back{both}.", annotation)
        self.changed.emit(annotation)

    def _on_errored(self, text: str, _error: object) -> None:
        self._thread = None
        self._workspace.say("error", text)

    def _free(self) -> int:
        """Return a number that no object of the chosen mask has."""
        return 0 if self._chosen is None else int(self._chosen[0].plane(self._chosen[1]).max(initial=0)) + 1

    def _listen(self, layer: MaskLayer | None) -> None:
        """Take clicks and strokes on a mask."""
        if layer is self._listening:
            return
        if self._listening is not None:
            self._listening.events.paint.disconnect(self._on_paint)
            if self._on_press in self._listening.mouse_drag_callbacks:
                self._listening.mouse_drag_callbacks.remove(self._on_press)
        self._listening, self._new = layer, False
        if layer is not None:
            layer.events.paint.connect(self._on_paint)
            # before napari's own, which paint with the number that is in hand by then
            layer.mouse_drag_callbacks.insert(0, self._on_press)

    def _on_pick_toggled(self, on: bool) -> None:
        if on and self._listening is not None:
            self._listening.mode = "pan_zoom"

    def _on_press(self, layer: MaskLayer, event: Any) -> None:
        """Choose the number that a stroke paints: of what it begins on, else a new one."""
        value = int(layer.get_value(event.position, world=True) or 0)
        if self._chosen is not None and layer.mode in _DRAWS and layer.selected_label != 0:
            annotation, prompt = self._chosen
            if not annotation.style(prompt).separate_objects:
                return
            picked = self._row.value()
            layer.selected_label = self._free() if self._new else picked[0] if picked else value or self._free()
            self._new = False

    def _on_paint(self, _event: Any) -> None:
        self._later.start()

    def _on_painted(self) -> None:
        if self._chosen is not None:
            self.changed.emit(self._chosen[0])
