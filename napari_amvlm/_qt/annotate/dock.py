"""The Annotate dock: type what to find, correct it, accept it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive

from napari_amvlm._qt import keys, settings
from napari_amvlm._qt.annotate.current_image import ChosenImage
from napari_amvlm._qt.annotate.panel import REDO_KEY, UNDO_KEY, AnnotatePanel
from napari_amvlm._qt.annotate.prompts import describe
from napari_amvlm._qt.annotate.work import DockWork
from napari_amvlm._qt.annotation.slide import READ_ONLY, SlideAnnotation
from napari_amvlm._qt.corrections import default_project
from napari_amvlm._qt.dock import Dock
from napari_amvlm._qt.layers import labels as label_layers
from napari_amvlm._qt.layers.image import place_in_view
from napari_amvlm._qt.layers.regions import chosen_region
from napari_amvlm._qt.widgets.project_row import ask_read_only
from napari_amvlm.errors import InputError, LabelsError

if TYPE_CHECKING:
    from pathlib import Path

    import napari.viewer
    from napari.layers import Labels

    from napari_amvlm._qt.annotation.annotation import Annotation
    from napari_amvlm._qt.widgets.scale_choice import ScaleSettings
    from napari_amvlm._qt.widgets.status_line import Level
    from napari_amvlm._qt.workspace import Workspace
    from napari_amvlm.predictor import Prediction

THRESHOLD_STEP = 0.05


class AnnotateDock(Dock):
    """Type what to find, correct it, accept it; see `Dock` for the parameters."""

    panel: AnnotatePanel

    def __init__(self, viewer: napari.viewer.Viewer, workspace: Workspace | None = None) -> None:
        super().__init__(viewer, AnnotatePanel(), workspace)
        self._annotations = self.workspace.annotations
        self.ask_read_only = ask_read_only
        self._chosen_image = ChosenImage(self._viewer, self.workspace, self.panel, self)
        self._labels = self._chosen_image.labels
        self.work = DockWork(self._viewer, self.workspace, self.panel, self.annotation, self)
        self.run_of_prompts = self.work.prompts.runs
        self.repainter = self.work.repainter
        # signals
        self._connect_panel()
        self._connect_sources()
        self.panel.prompt.setHistory(settings.read_prompts())
        self.panel.project.setRecent(settings.read_projects())
        keys.bind(self._viewer, self)
        self._keys = keys.DockKeys(self)
        keys.on_change(self._on_keys_changed, self)
        self._on_keys_changed()
        if self.workspace.model_state == "none":
            self.workspace.load_model()
        self._on_image_changed()
        self._on_model_changed()
        self._on_project_changed()

    def annotation(self) -> Annotation | None:
        """Return what is known of the image at hand, of a stack of the slice in view; None where there is none."""
        return self._chosen_image.annotation()

    # What buttons and keys do

    def run(self) -> None:
        """Run the prompts that are typed and those not yet run on this image; with none typed, all of the list."""
        annotation = self.annotation()
        try:
            self._chosen_image.check_side()
        except InputError as error:
            self.say("error", str(error))
            return
        self.work.prompts.run(annotation, self._labels.current(), self.work.large.view(annotation))

    def accept(self) -> None:
        """Store the chosen prompt's mask in the project; only then is it called finished."""
        chosen = self._chosen()
        if chosen is not None and isinstance(chosen[0], SlideAnnotation):
            self.say("warning", READ_ONLY)
        elif chosen is not None:
            self.repainter.when_painted(lambda: self.work.review.accept(*chosen), self._say_not_painted)

    def accept_region(self) -> None:
        """Store a part of the chosen prompt's mask: what was drawn, the queue's region, or what is in view."""
        chosen = self._chosen()
        if chosen is None:
            return
        annotation, prompt = chosen
        if isinstance(annotation, SlideAnnotation):
            self.work.large.open_region(annotation)
            return
        current = self.work.queue.current
        work = current.region if current is not None and current.image_id == annotation.image_id else None
        try:
            label_layers.check_image(annotation.image)
            region, words = chosen_region(self._viewer, annotation.image, work, annotation.place)
        except InputError as error:
            self.say("error", str(error))
            return
        self.say("info", f"Accepting {words}: {region.mean():.0%} of the image ...")
        self.repainter.when_painted(lambda: self.work.review.accept(annotation, prompt, region), self._say_not_painted)

    def reject(self) -> None:
        """Take the chosen prompt's mask off the image, and out of the project if it was accepted."""
        chosen = self._chosen()
        if chosen is not None:
            self.repainter.when_painted(lambda: self.work.review.reject(*chosen))

    def undo(self) -> None:
        """Take the last change of the labels layer back, whoever made it."""
        annotation = self.annotation()
        if annotation is not None and annotation.labels is not None:
            annotation.labels.undo()

    def redo(self) -> None:
        """Do the change again that was taken back last."""
        annotation = self.annotation()
        if annotation is not None and annotation.labels is not None:
            annotation.labels.redo()

    def next_item(self) -> None:
        """Open the next piece of work of the queue."""
        self.work.queue.step(1)

    def previous_item(self) -> None:
        """Open the piece of work before."""
        self.work.queue.step(-1)

    def next_prompt(self) -> None:
        """Choose the next prompt of the list; after the last comes the first."""
        self.panel.prompts.step(1)

    def previous_prompt(self) -> None:
        """Choose the prompt before."""
        self.panel.prompts.step(-1)

    def toggle_masks(self) -> None:
        """Show or hide the masks."""
        self.panel.shown.masks.toggle()

    def toggle_reviewed(self) -> None:
        """Show or hide what was reviewed."""
        self.panel.shown.reviewed.toggle()

    def toggle_uncertainty(self) -> None:
        """Show or hide where the model is unsure."""
        self.panel.shown.uncertainty.toggle()

    def lower_threshold(self) -> None:
        """Paint more of the chosen prompt."""
        self._move_threshold(-THRESHOLD_STEP)

    def raise_threshold(self) -> None:
        """Paint less of the chosen prompt."""
        self._move_threshold(THRESHOLD_STEP)

    # Wiring

    def _connect_panel(self) -> None:
        panel = self.panel
        panel.prompt.submitted.connect(self.run)
        panel.run_button.clicked.connect(self.run)
        panel.accept_button.clicked.connect(self.accept)
        panel.region_button.clicked.connect(self.accept_region)
        panel.reject_button.clicked.connect(self.reject)
        panel.step.stepped.connect(self.work.queue.step)
        panel.shortcuts[UNDO_KEY].activated.connect(self.undo)
        panel.shortcuts[REDO_KEY].activated.connect(self.redo)
        panel.threshold.valueChanged.connect(self._on_threshold_changed)
        panel.prompts.removed.connect(self._on_prompt_removed)
        panel.labels.activated.connect(self._on_labels_chosen)
        panel.project.chosen.connect(self._on_project_chosen)

    def _connect_sources(self) -> None:
        self._chosen_image.changed.connect(self._on_image_changed)
        self._viewer.layers.events.removed.connect(self._on_layer_removed)
        self.work.said.connect(self.say)
        self.work.prompts.predicted.connect(self._on_predicted)
        self.work.review.accepted.connect(self._on_accepted)
        self.work.queue.images.shown.connect(self._on_shown)
        self.work.queue.predicted.connect(self._on_predicted_ahead)
        self.work.large.shown.connect(self._chosen_image.show_labels)
        self.work.large.regionOpened.connect(self._on_region_opened)
        self.workspace.modelChanged.connect(self._on_model_changed)
        self.workspace.projectChanged.connect(self._on_project_changed)
        self.workspace.projectBusy.connect(self._on_project_busy)

    def _chosen(self) -> tuple[Annotation, str] | None:
        annotation, prompt = self.annotation(), self.panel.prompts.current()
        if annotation is None or prompt is None:
            self.say("warning", "There is nothing to accept or reject yet; run a prompt first.")
            return None
        return annotation, prompt

    def _repaint(self) -> None:
        self.work.repaint()

    def _move_threshold(self, by: float) -> None:
        if self.panel.threshold.isEnabled():
            self.panel.threshold.stepBy(by)

    def _say_not_painted(self) -> None:
        self.say("error", "Nothing was accepted, for the mask could not be painted; move the threshold and try again.")

    # Slots

    def _on_predicted(self, annotation: Annotation, used: ScaleSettings, predictions: list[Prediction]) -> None:
        if annotation.image not in self._viewer.layers:
            return
        target = self._labels.current() if annotation is self.annotation() else annotation.labels
        try:
            if target is None or target not in self._viewer.layers:
                target = label_layers.add_labels(self._viewer, annotation.image)
            label_layers.check_labels(target, annotation.image)
        except InputError as error:
            self.say("error", str(error))
            return
        self.workspace.attach(annotation, target)
        annotation.keep(predictions, used, self.workspace.served_key())
        if annotation is self.annotation():
            self._labels.choose(target)
            self._viewer.layers.selection.active = target
        self.work.refresh()
        self.work.repaint(annotation)
        self.work.queue.note_predicted(annotation)
        self.say("info", describe(annotation, predictions))

    def _on_predicted_ahead(self, annotation: Annotation) -> None:
        if annotation.labels is None:
            self.workspace.attach(annotation, label_layers.add_labels(self._viewer, annotation.image))
        self._labels.choose(annotation.labels)
        self._viewer.layers.selection.active = annotation.labels
        self.work.refresh()
        self.work.repaint(annotation)
        self.work.queue.note_predicted(annotation)

    def _on_accepted(self, annotation: Annotation) -> None:
        self.work.refresh()
        waiting = [p for p in self.workspace.prompts if p in annotation.results and p not in annotation.finished]
        if waiting and self.panel.prompts.current() in annotation.finished:
            self.panel.prompts.setCurrent(waiting[0])
        self.work.queue.note_image(annotation)
        self.workspace.remember_position()

    def _on_shown(self, annotation: Annotation) -> None:
        self._chosen_image.show(annotation)
        self.work.refresh()

    def _on_region_opened(self, annotation: Annotation) -> None:
        self._on_shown(annotation)
        self.work.repaint(annotation)

    def _on_threshold_changed(self, value: float) -> None:
        chosen = self._chosen()
        if chosen is not None:
            annotation, prompt = chosen
            annotation.thresholds[prompt] = value
            self._repaint()

    def _on_prompt_removed(self, prompt: str) -> None:
        self.workspace.prompts.remove(prompt)
        self.work.refresh()
        self._repaint()

    def _on_image_changed(self) -> None:
        annotation = self.annotation()
        self._labels.choose(annotation.labels if annotation is not None else None)
        self.panel.project.setDefault(default_project(annotation.image if annotation is not None else None))
        self.work.refresh()
        self.work.queue.note_image(annotation)
        if annotation is not None:
            self.work.queue.images.recognise(annotation)
            if annotation.place and annotation.results:
                self.work.repaint(annotation)  # the threshold may have moved while another slice was in view

    def _on_labels_chosen(self, _index: int) -> None:
        """Let the person's own labels layer be that of the image at once; a new one is made by the next run."""
        annotation, target = self.annotation(), self._labels.current()
        if annotation is None or target is None or target is annotation.labels:
            return
        try:
            if isinstance(annotation, SlideAnnotation):
                raise LabelsError(READ_ONLY)
            label_layers.check_labels(target, annotation.image)
            self._check_free(target, annotation)
        except InputError as error:
            self.say("error", str(error))
            self._labels.choose(annotation.labels)
            return
        self.workspace.attach(annotation, target)
        self._viewer.layers.selection.active = target
        self.work.refresh()
        self.work.repaint(annotation)
        self.say("info", f"Masks of {annotation.image.name} go to {target.name} from now on.")

    def _check_free(self, target: Labels, annotation: Annotation) -> None:
        known = self.workspace.annotations.values()
        owner = next((k.name for k in known if k.labels is target and k.image is not annotation.image), None)
        if owner is not None:
            raise LabelsError(
                f"Labels layer {target.name!r} holds the masks of {owner!r}; choose another layer, or a new one."
            )

    def _on_layer_removed(self, event: Any) -> None:
        if not isalive(self) or label_layers.is_overlay(event.value):
            return
        self.workspace.forget_layer(event.value)
        self.work.refresh()

    def _on_keys_changed(self) -> None:
        self.panel.setKeys(keys.key_text, keys.help_lines())

    def _on_model_changed(self) -> None:
        workspace = self.workspace
        self.panel.prompt.setPresets(workspace.presets())
        if workspace.model_state == "ready" and workspace.predictor is not None:
            info = workspace.predictor.info
            words = f"{info.name}, {info.licence}" if info is not None else "unnamed model"
            self.panel.model.setValue("info", f"Model: {words}, on {workspace.predictor.device}")
        else:
            level: Level = "error" if workspace.model_state == "failed" else "info"
            self.panel.model.setValue(level, workspace.model_message)

    def _on_project_chosen(self, path: Path) -> None:
        def done() -> None:
            self.say("info", f"Project {path.name} is open.")

        # what was accepted before goes to the project that was open then
        self.repainter.when_painted(lambda: self.workspace.open_project(path, done))

    def _on_project_busy(self, path: Path) -> None:
        """Offer to open a project for reading that another program writes to."""
        if self.ask_read_only(self, path):
            said = f"Project {path.name} is open for reading only; nothing can be accepted."
            self.workspace.open_project(path, lambda: self.say("info", said), read_only=True)

    def _on_project_changed(self) -> None:
        view = self.workspace.view
        if view is not None and view.root != self.panel.project.value():
            self.panel.project.setValue(view.root)
            settings.write_projects(self.panel.project.recent())
        for image in label_layers.images(self._viewer):
            known = self.workspace.annotation(image, place_in_view(self._viewer, image))
            self.work.queue.images.recognise(known)
