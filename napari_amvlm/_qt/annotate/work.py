"""The parts that do the Annotate dock's work, joined to its panel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import QObject, Signal

from napari_amvlm._qt.annotate.accept_reject import Review
from napari_amvlm._qt.annotate.objects import ObjectWork
from napari_amvlm._qt.annotate.overlays import Overlays
from napari_amvlm._qt.annotate.prompts import PromptWork
from napari_amvlm._qt.annotate.repaint import Repainter
from napari_amvlm._qt.annotate.resume import go_back, present_place
from napari_amvlm._qt.annotate.slides import LargeWork
from napari_amvlm._qt.annotation.slide import SlideAnnotation
from napari_amvlm._qt.queue.queue import queue_for
from napari_amvlm.review import OverlapRule
from napari_amvlm.session.accepted import summary

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_amvlm._qt.annotate.panel import AnnotatePanel
    from napari_amvlm._qt.annotation.annotation import Annotation
    from napari_amvlm._qt.workspace import Workspace
    from napari_amvlm.project import Project, ResumeState


class DockWork(QObject):
    """Prompts, review, objects, overlays, overlaps, and coming back to where one was.

    Signals
    -------
    said : level, text
    """

    said = Signal(str, str)

    def __init__(
        self,
        viewer: Any,
        workspace: Workspace,
        panel: AnnotatePanel,
        current: Callable[[], Annotation | None],
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._workspace = workspace
        self._panel = panel
        self._current = current
        self.prompts = PromptWork(panel, workspace, self)
        self.large = LargeWork(viewer, workspace, self.prompts.runs, self)
        self.repainter = Repainter(workspace, self)
        self.review = Review(workspace, self)
        self.objects = ObjectWork(panel.objects, workspace, self)
        self.overlays = Overlays(viewer, workspace, self)
        self.queue = queue_for(viewer, workspace)
        for part in (self.prompts, self.large, self.review, self.objects, self.overlays):
            part.said.connect(self.said)
        self.prompts.runs.ended.connect(self._on_run_ended)
        self.large.shown.connect(self.refresh)
        self.large.sliceFound.connect(self.repaint)
        self.repainter.failed.connect(lambda text: self.said.emit("error", text))
        self.review.rejected.connect(self.refresh)
        self.objects.changed.connect(self.refresh)
        self.objects.unlocked.connect(self.repaint)
        self.queue.changed.connect(self._show_position)
        workspace.projectOpened.connect(self._on_project_opened)
        workspace.projectChanged.connect(self._show_overlaps)
        workspace.positionAsked.connect(self._store_position)
        panel.threshold.dragStarted.connect(self._on_drag_started)
        panel.threshold.dragEnded.connect(self.repainter.end_drag)
        panel.instances.toggled.connect(lambda _on: self.repaint())
        panel.prompts.currentChanged.connect(lambda _prompt: self.refresh_chosen())
        panel.prompts.finishedToggled.connect(self._on_finished_toggled)
        panel.overlaps.valueChanged.connect(lambda rule: self._set_rule(rule, workspace.overlaps().order))
        panel.overlaps.firstRequested.connect(self._put_first)
        panel.shown.valueChanged.connect(lambda _shown: self._show_overlays())
        self._show_overlaps()
        self._show_position()

    def is_busy(self) -> bool:
        """Tell whether anything is still to be drawn, opened or changed."""
        parts = (self.large, self.repainter, self.objects, self.overlays, self.queue)
        return self.prompts.runs.is_running() or any(part.is_busy() for part in parts)

    def refresh(self, _annotation: Annotation | None = None) -> None:
        """Show the present state of the image at hand."""
        annotation = self._current()
        self.prompts.show_prompts(annotation)
        self.objects.show(annotation)
        self.refresh_chosen()

    def repaint(self, annotation: Annotation | None = None) -> None:
        """Write what the model proposes to the labels layer, soon."""
        wanted = annotation or self._current()
        if isinstance(wanted, SlideAnnotation):
            self.large.renew(wanted)
        elif wanted is not None and wanted.labels in self._viewer.layers:
            self.repainter.request(
                wanted,
                self._workspace.prompts,
                instances=self._panel.instances.isChecked(),
                # what a person does not see, Ctrl+Z should not change
                undoable=wanted is self._current(),
            )

    def refresh_chosen(self) -> None:
        """Show what concerns the chosen prompt."""
        panel, annotation, prompt = self._panel, self._current(), self._panel.prompts.current()
        usable = annotation is not None and prompt is not None and annotation.labels is not None
        for widget in (panel.accept_button, panel.region_button, panel.reject_button, panel.threshold):
            widget.setEnabled(usable)
        self._show_overlays()
        if annotation is None or prompt is None:
            panel.chosen.setWhole("")
            return
        panel.threshold.setValue(annotation.threshold(prompt))
        panel.chosen.setWhole(f"Chosen: {prompt}{' (finished)' if prompt in annotation.finished else ''}")
        if annotation.labels is not None and annotation.has_run(prompt):
            annotation.labels.selected_label = annotation.value(prompt)

    # Inner workings

    def _show_overlays(self) -> None:
        annotation, prompt = self._current(), self._panel.prompts.current()
        self.overlays.show(annotation, prompt, self._panel.shown.value())
        known = annotation.accepted.get(prompt) if annotation is not None and prompt is not None else None
        self._panel.shown.setSummary(*summary(known))

    def _show_overlaps(self) -> None:
        overlaps = self._workspace.overlaps()
        self._panel.overlaps.setValue(overlaps.rule, overlaps.order)
        self._panel.overlaps.setEnabled(self._workspace.project is not None)

    def _show_position(self) -> None:
        self._panel.step.setValue(self.queue.position_text())

    def _set_rule(self, rule: OverlapRule, order: tuple[str, ...]) -> None:
        def store(project: Project) -> None:
            project.prompts.set_overlap_rule(rule, order or tuple(self._workspace.prompts))

        self._workspace.with_project(store, lambda _: self.repaint())

    def _put_first(self) -> None:
        prompt = self._panel.prompts.current()
        if prompt is None:
            self.said.emit("warning", "Choose a prompt of the list first.")
            return
        order = dict.fromkeys([prompt, *self._workspace.overlaps().order, *self._workspace.prompts])
        self._set_rule(OverlapRule.PRIORITY, tuple(order))

    def _store_position(self) -> None:
        if not isalive(self._panel):
            return
        item = self.queue.current
        state = present_place(
            self._viewer, self._current(), item.id if item is not None else None, self._panel.prompts.current()
        )
        if state is not None:
            self._workspace.store_position(state)

    def _on_project_opened(self, left: ResumeState | None) -> None:
        view = self._workspace.view
        if view is not None:
            self.refresh()
        if left is not None and left.image_id is not None:
            self.queue.open_image(left.image_id, lambda annotation: self._go_back(annotation, left))

    def _go_back(self, annotation: Annotation, left: ResumeState) -> None:
        go_back(self._viewer, annotation, left)
        if left.prompt is not None:
            self._panel.prompts.setCurrent(left.prompt)
        self.refresh_chosen()
        self.said.emit("info", f"Back at {annotation.image.name}, where you left off.")

    def _on_run_ended(self, level: str, _text: str) -> None:
        if level == "error":
            self.prompts.forget_unused(self._current())
        self.refresh()

    def _on_drag_started(self) -> None:
        annotation = self._current()
        if annotation is not None:
            self.repainter.begin_drag(annotation)

    def _on_finished_toggled(self, prompt: str, on: bool) -> None:
        annotation = self._current()
        if annotation is not None:
            annotation.finish(prompt, on)
            self.refresh()
