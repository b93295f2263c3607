"""The Annotate dock: type what to find, correct it, accept it."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels
from qtpy.compat import isalive
from qtpy.QtGui import QColor, QShowEvent
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from napari_amvlm._qt import layers, settings
from napari_amvlm._qt.annotate_panel import ACCEPT_KEY, REDO_KEY, REJECT_KEY, UNDO_KEY, AnnotatePanel
from napari_amvlm._qt.annotation import Annotation
from napari_amvlm._qt.close_guard import guard_window
from napari_amvlm._qt.layer_choice import LayerChoice
from napari_amvlm._qt.notices import notify
from napari_amvlm._qt.prediction_run import PredictionRun
from napari_amvlm._qt.repaint import Repainter
from napari_amvlm._qt.review import Review
from napari_amvlm._qt.storing import default_project
from napari_amvlm._qt.theme import theme_colours
from napari_amvlm._qt.widgets.prompt_list import PRESENT, PromptEntry
from napari_amvlm._qt.workspace import Workspace, unwrapped, workspace_for
from napari_amvlm.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    import napari.viewer

    from napari_amvlm._qt.widgets.scale_choice import ScaleSettings
    from napari_amvlm._qt.widgets.status_line import Level
    from napari_amvlm.predictor import Prediction

NEW_LAYER = "(new layer)"


class AnnotateDock(QWidget):
    """Binds the panel to a viewer, and to the workspace that it shares with the Learn dock.

    Parameters
    ----------
    viewer : napari.Viewer
    workspace : Workspace, optional
        By default the viewer's own.
    """

    def __init__(self, viewer: napari.viewer.Viewer, workspace: Workspace | None = None) -> None:
        super().__init__()
        self._viewer = unwrapped(viewer)
        self.workspace = workspace or workspace_for(self._viewer)
        self._annotations = self.workspace.annotations
        self._prompts = self.workspace.prompts
        # widgets
        self.panel = AnnotatePanel()
        self.run_of_prompts = PredictionRun(self.workspace, self)
        self.repainter = Repainter(self.workspace, self)
        self.review = Review(self.workspace, self)
        self._images = LayerChoice(self.panel.image, self._viewer, Image)
        self._labels = LayerChoice(self.panel.labels, self._viewer, Labels, first=NEW_LAYER)
        # layout
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.panel)
        # napari pushes a dock that does not want the height to the top, and halves it
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        # signals
        self._connect_panel()
        self._connect_sources()
        self.panel.prompt.setHistory(settings.read_prompts())
        self.panel.project.setRecent(settings.read_projects())
        if self.workspace.model_state == "none":
            self.workspace.load_model()
        self._on_theme_changed()
        self._on_image_changed()
        self._on_model_changed()
        self._on_project_changed()

    def showEvent(self, event: QShowEvent | None) -> None:
        """Guard the window that the dock has come to lie in."""
        super().showEvent(event)
        guard_window(self, self.workspace)

    def annotation(self) -> Annotation | None:
        """Return what is known of the chosen image; None where there is no image."""
        image = self._images.current()
        if image is None:
            return None
        if image not in self._annotations:
            self._annotations[image] = Annotation(image)
        return self._annotations[image]

    # What the buttons do

    def run(self) -> None:
        """Run the prompts that are typed and those not yet run on this image; with none typed, all of the list."""
        annotation = self.annotation()
        if annotation is None or self.run_of_prompts.is_running():
            text = "A run is under way; wait for it, or cancel it first." if annotation else "Open an image first."
            self.say("warning", text)
            return
        typed = self.panel.prompt.prompts()
        if not typed and not self._prompts:
            self.say("warning", "The prompt is empty; type what to find, for example nuclei.")
            return
        try:
            layers.check_image(annotation.image)
            target = self._labels.current()
            if target is not None:
                layers.check_labels(target, annotation.image)
        except InputError as error:
            self.say("error", str(error))
            return
        now, model = self.panel.scale.value(), self.workspace.served_key()
        missing = [p for p in self._prompts if p not in typed and not (typed and annotation.is_current(p, now, model))]
        self._prompts[:] = dict.fromkeys([*self._prompts, *typed])
        if typed:
            self.panel.prompt.remember(typed)
            settings.write_prompts(self.panel.prompt.history())
        self._refresh_prompts()
        if typed:
            self.panel.prompts.setCurrent(typed[0])
        self.panel.progress.setBusy("Looking at the image ...")
        self.panel.run_button.setEnabled(False)
        self.run_of_prompts.start(annotation, [*typed, *missing], now)

    def accept(self) -> None:
        """Store the chosen prompt's mask in the project; only then is it called finished."""
        chosen = self._chosen()
        if chosen is not None:
            self.review.accept(*chosen)

    def reject(self) -> None:
        """Take the chosen prompt's mask off the image, and out of the project if it was accepted."""
        chosen = self._chosen()
        if chosen is not None:
            self.review.reject(*chosen)

    def undo(self) -> None:
        """Take the last change of the labels layer back."""
        annotation = self.annotation()
        if annotation is not None and annotation.labels is not None:
            annotation.labels.undo()

    def redo(self) -> None:
        """Do the change again that was taken back last."""
        annotation = self.annotation()
        if annotation is not None and annotation.labels is not None:
            annotation.labels.redo()

    def say(self, level: Level, text: str) -> None:
        """Tell the person something."""
        notify(self.panel.status, level, text)

    # Wiring

    def _connect_panel(self) -> None:
        panel = self.panel
        panel.prompt.submitted.connect(self.run)
        panel.run_button.clicked.connect(self.run)
        panel.progress.cancelled.connect(self.run_of_prompts.cancel)
        panel.accept_button.clicked.connect(self.accept)
        panel.reject_button.clicked.connect(self.reject)
        panel.shortcuts[ACCEPT_KEY].activated.connect(self.accept)
        panel.shortcuts[REJECT_KEY].activated.connect(self.reject)
        panel.shortcuts[UNDO_KEY].activated.connect(self.undo)
        panel.shortcuts[REDO_KEY].activated.connect(self.redo)
        panel.threshold.valueChanged.connect(self._on_threshold_changed)
        panel.threshold.dragStarted.connect(self._on_drag_started)
        panel.threshold.dragEnded.connect(self.repainter.end_drag)
        panel.instances.toggled.connect(self._repaint)
        panel.prompts.currentChanged.connect(self._on_prompt_chosen)
        panel.prompts.removed.connect(self._on_prompt_removed)
        panel.prompts.finishedToggled.connect(self._on_finished_toggled)
        panel.project.chosen.connect(self._on_project_chosen)

    def _connect_sources(self) -> None:
        self._images.changed.connect(self._on_image_changed)
        self._viewer.layers.selection.events.active.connect(self._on_active_layer)
        self._viewer.layers.events.removed.connect(self._on_layer_removed)
        self._viewer.events.theme.connect(self._on_theme_changed)
        run = self.run_of_prompts
        run.waiting.connect(self.panel.progress.setBusy)
        run.progressed.connect(self.panel.progress.setProgress)
        run.noticed.connect(self._on_noticed)
        run.done.connect(self._on_predicted)
        run.ended.connect(self._on_run_ended)
        self.review.said.connect(self.say)
        self.review.accepted.connect(self._on_accepted)
        self.review.rejected.connect(self._refresh_prompts)
        self.repainter.failed.connect(lambda text: self.say("error", text))
        self.workspace.modelChanged.connect(self._on_model_changed)
        self.workspace.projectChanged.connect(self._on_project_changed)
        self.workspace.said.connect(self.say)
        dock = weakref.ref(self)
        for key, name in ((ACCEPT_KEY, "accept"), (REJECT_KEY, "reject")):
            self._viewer.bind_key(key, _calling(dock, name), overwrite=True)

    def _chosen(self) -> tuple[Annotation, str] | None:
        annotation, prompt = self.annotation(), self.panel.prompts.current()
        if annotation is None or prompt is None:
            self.say("warning", "There is nothing to accept or reject yet; run a prompt first.")
            return None
        return annotation, prompt

    def _on_accepted(self, annotation: Annotation) -> None:
        self._refresh_prompts()
        waiting = [p for p in self._prompts if p in annotation.results and p not in annotation.finished]
        if waiting:
            self.panel.prompts.setCurrent(waiting[0])

    def _repaint(self) -> None:
        annotation = self.annotation()
        if annotation is not None and annotation.labels in self._viewer.layers:
            self.repainter.request(annotation, self._prompts, instances=self.panel.instances.isChecked())

    def _refresh_prompts(self) -> None:
        annotation = self.annotation()
        self.panel.prompts.setValue([self._entry(annotation, prompt) for prompt in self._prompts])
        self._refresh_chosen()

    def _entry(self, annotation: Annotation | None, prompt: str) -> PromptEntry:
        stored = annotation.results.get(prompt) if annotation is not None else None
        if annotation is None or annotation.labels is None or stored is None:
            return PromptEntry(prompt)
        value = annotation.value(prompt)
        red, green, blue, *_ = annotation.labels.get_color(value)
        colour = QColor.fromRgbF(float(red), float(green), float(blue)).name()
        return PromptEntry(prompt, value, colour, stored.prediction.presence, prompt in annotation.finished)

    def _refresh_chosen(self) -> None:
        annotation, prompt = self.annotation(), self.panel.prompts.current()
        usable = annotation is not None and prompt is not None and annotation.labels is not None
        self.panel.accept_button.setEnabled(usable)
        self.panel.reject_button.setEnabled(usable)
        self.panel.threshold.setEnabled(usable)
        if annotation is None or prompt is None:
            self.panel.chosen.setText("")
            return
        self.panel.threshold.setValue(annotation.threshold(prompt))
        self.panel.chosen.setText(f"Chosen: {prompt}{' (finished)' if prompt in annotation.finished else ''}")
        if annotation.labels is not None and prompt in annotation.results:
            annotation.labels.selected_label = annotation.value(prompt)

    # Slots

    def _on_predicted(self, annotation: Annotation, used: ScaleSettings, predictions: list[Prediction]) -> None:
        self.panel.progress.setIdle()
        self.panel.run_button.setEnabled(True)
        if annotation.image not in self._viewer.layers:
            return
        target = self._labels.current() if annotation is self.annotation() else annotation.labels
        try:
            if target is None or target not in self._viewer.layers:
                target = layers.add_labels(self._viewer, annotation.image)
            layers.check_labels(target, annotation.image)
        except InputError as error:
            self.say("error", str(error))
            return
        annotation.attach(target)
        annotation.keep(predictions, used, self.workspace.served_key())
        if annotation is self.annotation():
            self._labels.choose(target)
            self._viewer.layers.selection.active = target
        self._refresh_prompts()
        self.repainter.request(annotation, self._prompts, instances=self.panel.instances.isChecked())
        self.say(*_summary(annotation, predictions))

    def _on_run_ended(self, level: Level, text: str) -> None:
        self.panel.progress.setIdle()
        self.panel.run_button.setEnabled(True)
        annotation = self.annotation()
        if level == "error" and annotation is not None:
            used = {prompt for known in self._annotations.values() for prompt in known.results}
            self._prompts[:] = [prompt for prompt in self._prompts if prompt in used]
            self._refresh_prompts()
        self.say(level, text)

    def _on_noticed(self, text: str) -> None:
        self.say("warning", text)

    def _on_threshold_changed(self, value: float) -> None:
        chosen = self._chosen()
        if chosen is not None:
            annotation, prompt = chosen
            annotation.thresholds[prompt] = value
            self._repaint()

    def _on_drag_started(self) -> None:
        annotation = self.annotation()
        if annotation is not None:
            self.repainter.begin_drag(annotation)

    def _on_prompt_chosen(self, _prompt: str) -> None:
        self._refresh_chosen()

    def _on_prompt_removed(self, prompt: str) -> None:
        self._prompts.remove(prompt)
        self._refresh_prompts()
        self._repaint()

    def _on_finished_toggled(self, prompt: str, on: bool) -> None:
        annotation = self.annotation()
        if annotation is not None:
            annotation.finish(prompt, on)
            self._refresh_prompts()

    def _on_image_changed(self) -> None:
        annotation = self.annotation()
        self._labels.choose(annotation.labels if annotation is not None else None)
        self.panel.project.setDefault(default_project(self._images.current()))
        self._refresh_prompts()

    def _on_active_layer(self, event: Any) -> None:
        if not isalive(self):
            return
        layer = event.value
        if isinstance(layer, Image):
            self._images.choose(layer)
        for annotation in self._annotations.values():
            if layer is not None and annotation.labels is layer:
                self._images.choose(annotation.image)

    def _on_layer_removed(self, event: Any) -> None:
        if not isalive(self):
            return
        self._annotations.pop(event.value, None)
        for annotation in self._annotations.values():
            if annotation.labels is event.value:
                annotation.detach()
        self._refresh_prompts()

    def _on_theme_changed(self, _event: Any = None) -> None:
        if isalive(self):
            self.panel.setColours(theme_colours(self._viewer.theme))

    def _on_model_changed(self) -> None:
        workspace = self.workspace
        self.panel.prompt.setPresets(workspace.presets())
        if workspace.model_state == "ready" and workspace.predictor is not None:
            info = workspace.predictor.info
            words = f"{info.name}, {info.licence}" if info is not None else "unnamed model"
            self.panel.model.setValue("info", f"Model: {words}, on {workspace.predictor.device}")
        else:
            level: Level = "error" if workspace.model_state == "failed" else "info"
            self.panel.model.setValue(level, workspace.model_words)

    def _on_project_chosen(self, path: Path) -> None:
        self.workspace.open_project(path, lambda: self.say("info", f"Project {path.name} is open."))

    def _on_project_changed(self) -> None:
        view = self.workspace.view
        if view is not None and view.root != self.panel.project.value():
            self.panel.project.setValue(view.root)
            settings.write_projects(self.panel.project.recent())


def _calling(dock: weakref.ref[AnnotateDock], name: str) -> Any:
    # a weak reference: the viewer's key bindings outlive the dock
    def call(_viewer: object) -> None:
        alive = dock()
        if alive is not None and isalive(alive):
            getattr(alive, name)()

    call.__doc__ = f"{name.capitalize()} the chosen prompt's mask (AMVLM)."
    return call


def _summary(annotation: Annotation, predictions: list[Prediction]) -> tuple[Level, str]:
    words = []
    for found in predictions:
        presence = f"{'present' if found.presence >= PRESENT else 'absent'} {found.presence:.2f}"
        scale = "whole image" if found.scale.name == "whole" else "tiles"
        words.append(f"{found.prompt} in {annotation.image.name}: {presence}, {found.seconds:.1f} s, {scale}")
    finished = [p.prompt for p in predictions if p.prompt in annotation.finished]
    if finished:
        words.append(f"{', '.join(finished)} is finished here and was not painted over: unlock it to let the model")
    return "info", "\n".join(words)
