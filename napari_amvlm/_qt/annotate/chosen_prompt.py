"""The chosen prompt in the Annotate dock: its state, threshold, colour and kind of mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QColorDialog

from napari_amvlm._qt.annotate.prompts import finished_words
from napari_amvlm._qt.annotation.slide import SlideAnnotation
from napari_amvlm.session.accepted import summary
from napari_amvlm.wording import counted, shortened

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_amvlm._qt.annotate.objects import Objects
    from napari_amvlm._qt.annotate.panel import AnnotatePanel
    from napari_amvlm._qt.annotate.repaint import Repainter
    from napari_amvlm._qt.annotation.annotation import Annotation
    from napari_amvlm._qt.strokes.spreading import Spreading
    from napari_amvlm._qt.workspace import Workspace


@dataclass(frozen=True)
class _MovedOn:
    """An Accept that chose the next prompt: the image, both prompts, and the newest change of the next one's mask."""

    annotation: Annotation
    accepted: str
    to: str
    newest: Any


class ChosenPrompt(QObject):
    """Binds what the panel shows of one prompt to the mask of the image at hand.

    Signals
    -------
    changed
        The mask is to be shown in another way.
    drawn : str
        The model is to draw the prompt anew.
    """

    changed = Signal()
    drawn = Signal(str)

    def __init__(
        self,
        viewer: Any,
        workspace: Workspace,
        panel: AnnotatePanel,
        objects: Objects,
        spreading: Spreading,
        repainter: Repainter,
        current: Callable[[], Annotation | None],
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._workspace = workspace
        self._panel = panel
        self._objects = objects
        self._spreading = spreading
        self._repainter = repainter
        self._current = current
        self._moved_on: _MovedOn | None = None
        self._first: str | None = None  # what a person had chosen before Accept chose others
        panel.prompts.currentChanged.connect(self._forget_move)
        panel.threshold.valueChanged.connect(self._on_threshold_changed)
        panel.threshold.sliderPressed.connect(self._on_drag_started)
        panel.threshold.sliderReleased.connect(repainter.end_drag)
        panel.instances.toggled.connect(self._on_separate_toggled)
        panel.prompts.recolourRequested.connect(self._on_recolour)
        panel.prompts.finishedToggled.connect(self._on_finished_toggled)

    def mask(self) -> tuple[Annotation, str] | None:
        """Return the image at hand and the chosen prompt; None, which is said, where there is no mask of it."""
        annotation, prompt = self._current(), self._panel.prompts.current()
        if annotation is None or prompt is None or prompt not in annotation.layers:
            self._workspace.say("warning", "There is nothing to accept or reject yet; run a prompt first.")
            return None
        return annotation, prompt

    def move_on(self, annotation: Annotation, to: str) -> None:
        """Choose the next prompt of an image after an Accept; Ctrl+Z finds the way back."""
        accepted = str(self._panel.prompts.current())
        first = self._first or accepted
        self._panel.prompts.setCurrent(to)
        self._first = first
        self._moved_on = _MovedOn(annotation, accepted, to, annotation.layer(to).newest_change(annotation.place))

    def begin(self) -> None:
        """Choose on another image what a person had chosen: what Accept chose last is not where they begin there."""
        if self._first is not None:
            self._panel.prompts.setCurrent(self._first)
        self._first = None

    def return_to_accepted(self) -> None:
        """Choose the prompt again whose Accept chose the present one, unless that was worked on since."""
        moved, annotation = self._moved_on, self._current()
        if moved is None or annotation is not moved.annotation:
            return
        if annotation.layer(moved.to).newest_change(annotation.place) is moved.newest:
            self._panel.prompts.setCurrent(moved.accepted)

    def show(self, annotation: Annotation | None, prompt: str | None) -> None:
        """Show the state of a mask."""
        panel = self._panel
        layer = annotation.layers.get(prompt or "") if annotation is not None else None
        usable = layer is not None and layer in self._viewer.layers
        for widget in (panel.accept_button, panel.region_button, panel.reject_button, panel.threshold):
            widget.setEnabled(usable)
        known = annotation.accepted.get(prompt or "") if annotation is not None else None
        panel.shown.setSummary(*summary(known))
        panel.restore_button.setEnabled(False)
        panel.instances.setEnabled(prompt is not None)
        panel.chosen.setText("")
        if annotation is None or prompt is None:
            return
        style = self._workspace.styles.of(prompt)
        panel.instances.setValue(style.separate_objects)
        panel.threshold.show_value(annotation.threshold(prompt))
        panel.restore_button.setEnabled(annotation.differs(prompt))
        panel.chosen.setText(" \N{MIDDLE DOT} ".join([prompt, *self._state(annotation, prompt)]))
        if layer is not None and not style.separate_objects and layer.selected_label not in (0, style.value):
            layer.selected_label = style.value

    def _state(self, annotation: Annotation, prompt: str) -> list[str]:
        busy, count = self._spreading.state(), self._objects.count()
        parts = [f"{busy} ..."] if busy else list[str]()
        if prompt in annotation.layers and not annotation.layers[prompt].visible:
            parts.append("hidden")
        stored = annotation.results.get(prompt)
        if stored is not None and not stored.prediction.taught:
            nearest = f", nearest known: {stored.prediction.nearest}" if stored.prediction.nearest is not None else ""
            kind = f" of {stored.prediction.untaught_kind}" if stored.prediction.untaught_kind else ""
            parts.append("the model's guess" if annotation.is_drawn(prompt) else f"not taught{kind} yet{nearest}")
        elif stored is not None and stored.prediction.by:
            parts.append(f"by {stored.prediction.by}")
        elif stored is not None and not stored.prediction.is_drawn:
            parts.append("the model's guess" if annotation.is_drawn(prompt) else "absent: nothing is drawn")
        if count is not None:
            parts.append(counted(count, "object"))
        if annotation.differs(prompt):
            parts.append("differs from the project: Accept stores it, Restore brings it back")
        elif prompt in annotation.finished:
            parts.append("accepted" if prompt in annotation.accepted else "finished")
        elif prompt in annotation.drafts:
            parts.append("draft, not accepted")
        return parts

    def _forget_move(self, _prompt: str) -> None:
        self._moved_on = self._first = None

    def _on_threshold_changed(self, value: float) -> None:
        chosen = self.mask()
        if chosen is None:
            return
        annotation, prompt = chosen
        if annotation.is_open(prompt):
            if annotation.has_run(prompt) and not annotation.is_drawn(prompt):
                annotation.guessed.add(prompt)
                why = "is absent" if annotation.results[prompt].prediction.taught else "was not taught"
                self._workspace.say("info", f"{shortened(prompt)} {why}: its mask is the model's guess now.")
            annotation.thresholds[prompt] = round(value, 2)
            self._panel.threshold.show_value(annotation.thresholds[prompt])
            self.drawn.emit(prompt)
        else:
            self._panel.threshold.show_value(annotation.threshold(prompt))
            self._workspace.say("info", finished_words(prompt))

    def _on_drag_started(self) -> None:
        chosen = self.mask()
        if chosen is not None and not isinstance(chosen[0], SlideAnnotation):
            self._repainter.begin_drag(*chosen)

    def _on_separate_toggled(self, on: bool) -> None:
        prompt = self._panel.prompts.current()
        if prompt is not None:
            self._workspace.styles.set_separate(prompt, on)
            self.drawn.emit(prompt)
            self.changed.emit()

    def _on_recolour(self, prompt: str) -> None:
        present = QColor(self._workspace.styles.of(prompt).colour)
        colour = QColorDialog.getColor(present, self._panel, f"Colour of {shortened(prompt)}")
        if colour.isValid():
            self._workspace.styles.set_colour(prompt, colour.name())
            self.changed.emit()

    def _on_finished_toggled(self, prompt: str, on: bool) -> None:
        annotation = self._current()
        if annotation is not None:
            annotation.finish(prompt, on)
            self.changed.emit()
