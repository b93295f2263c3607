"""The Annotate dock: type what to find, correct it, accept it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive

from napari_amvlm._qt import keys, settings
from napari_amvlm._qt.annotate.accept_reject import AcceptReject
from napari_amvlm._qt.annotate.actions import AnnotateActions
from napari_amvlm._qt.annotate.chosen_prompt import ChosenPrompt
from napari_amvlm._qt.annotate.current_image import CurrentImage
from napari_amvlm._qt.annotate.drafts import Drafts
from napari_amvlm._qt.annotate.objects import Objects
from napari_amvlm._qt.annotate.overlays import Overlays
from napari_amvlm._qt.annotate.panel import REDO_KEY, UNDO_KEY, AnnotatePanel
from napari_amvlm._qt.annotate.pixel_size import PixelSize
from napari_amvlm._qt.annotate.prompts import Prompts
from napari_amvlm._qt.annotate.repaint import Repainter
from napari_amvlm._qt.annotate.resume import Resume
from napari_amvlm._qt.annotate.slides import Slides
from napari_amvlm._qt.annotate.volume_plane import VolumePlane
from napari_amvlm._qt.annotation.mask_layers import mask_layers_for
from napari_amvlm._qt.annotation.slide import SlideAnnotation
from napari_amvlm._qt.corrections import default_project
from napari_amvlm._qt.layers import labels as label_layers
from napari_amvlm._qt.layers.image import place_in_view
from napari_amvlm._qt.queue.queue import queue_for
from napari_amvlm._qt.strokes.clicks import ObjectClicks
from napari_amvlm._qt.strokes.spreading import Spreading
from napari_amvlm._qt.widgets.project_row import ask_read_only
from napari_amvlm.wording import project_name

if TYPE_CHECKING:
    from pathlib import Path

    import napari.viewer

    from napari_amvlm._qt.annotation.annotation import Annotation
    from napari_amvlm._qt.layers.mask import MaskLayer
    from napari_amvlm._qt.workspace import Workspace


class AnnotateDock(AnnotateActions):
    """Type what to find, correct it, accept it; see `Dock` for the parameters."""

    def __init__(self, viewer: napari.viewer.Viewer, workspace: Workspace | None = None) -> None:
        panel = AnnotatePanel()
        super().__init__(viewer, panel, workspace)
        self.ask_read_only = ask_read_only
        self.masks = mask_layers_for(self._viewer, self.workspace)
        self.current_image = CurrentImage(self._viewer, self.workspace, panel, self.masks, self)
        self.pixel_size = PixelSize(self.workspace, panel, self.current_image.images, self)
        self.volume_plane = VolumePlane(self._viewer, panel.plane, self.current_image.images, self)
        self.queue = queue_for(self._viewer, self.workspace)
        self.prompts = Prompts(panel, self.workspace, self)
        if self.masks.chosen is not None:  # in a dock that was closed
            self.prompts.show_list(None)
            panel.prompts.setCurrent(self.masks.chosen)
        self.slides = Slides(self._viewer, self.workspace, self.prompts, self)
        self.repainter = Repainter(self.workspace, self)
        self.review = AcceptReject(self.workspace, panel.confirm, self)
        self.drafts = Drafts(self.workspace, self.review, self)
        self.objects = Objects(self._viewer, panel.objects, self.workspace, self)
        self.overlays = Overlays(self._viewer, self.workspace, self)
        self.clicks = ObjectClicks(self._viewer, self.workspace, panel.objects, self.objects, self)
        self.spreading = Spreading(self.workspace, panel.brush, self.prompts.limits_of, self)
        self.chosen = ChosenPrompt(
            self._viewer, self.workspace, panel, self.objects, self.spreading, self.repainter, self.annotation, self
        )
        self.resume = Resume(self._viewer, self.workspace, panel, self.queue, self.annotation, self)
        # signals
        self._connect_panel()
        self._connect_parts()
        panel.prompt.setHistory(settings.read_prompts())
        panel.project.setRecent(settings.read_projects())
        keys.bind(self._viewer, self)
        keys.on_change(self._on_keys_changed, self)
        self._on_keys_changed()
        if self.workspace.model_state == "none":
            self.workspace.load_model()
        self._on_image_changed()
        self._on_model_changed()
        self._on_project_changed()

    def is_busy(self) -> bool:
        """Tell whether anything is still to be run, drawn, opened or changed."""
        parts = (self.slides, self.repainter, self.objects, self.overlays, self.queue, self.spreading)
        return self.prompts.is_running() or any(part.is_busy() for part in parts)

    # What is shown

    def refresh(self, _annotation: Annotation | None = None) -> None:
        """Show the present state of the image at hand."""
        annotation, panel = self.annotation(), self.panel
        self.prompts.show_list(annotation)
        prompt = panel.prompts.current()
        shown = panel.shown.value()
        self.masks.chosen = prompt
        self.masks.set_shown(visible=shown.masks, outlines=shown.outlines)
        self.masks.show(annotation)
        self.objects.show(annotation, prompt)
        self.clicks.show(annotation, prompt)
        self.spreading.show(annotation, prompt)
        self.overlays.show(annotation, prompt, shown)
        self.chosen.show(annotation, prompt)
        if annotation is not None and prompt in annotation.layers:
            annotation.layers[prompt].on_undo = self._on_undo_key

    def draw(self, annotation: Annotation | None = None, prompt: str | None = None) -> None:
        """Draw what the model proposes, of all prompts of the image or of one, soon."""
        wanted = annotation or self.annotation()
        if isinstance(wanted, SlideAnnotation):
            self.slides.renew(wanted)
        elif wanted is not None and wanted.image in self._viewer.layers:
            for each in [prompt] if prompt is not None else self.workspace.prompts:
                # what a person does not see, Ctrl+Z should not change
                self.repainter.request(wanted, each, undoable=wanted is self.annotation())

    def _connect_panel(self) -> None:
        panel = self.panel
        panel.prompt.submitted.connect(self.run)
        panel.run_button.clicked.connect(self.run)
        panel.accept_button.clicked.connect(self.accept)
        panel.region_button.clicked.connect(self.accept_region)
        panel.reject_button.clicked.connect(self.reject)
        panel.restore_button.clicked.connect(self.restore)
        panel.step.stepped.connect(self.queue.step)
        panel.shortcuts[UNDO_KEY].activated.connect(self.undo)
        panel.shortcuts[REDO_KEY].activated.connect(self.redo)
        panel.prompts.currentChanged.connect(self._on_prompt_chosen)
        panel.prompts.removed.connect(self._on_prompt_removed)
        panel.shown.valueChanged.connect(self.refresh)
        panel.objects.pick.toggled.connect(self._on_pick_toggled)
        panel.project.chosen.connect(self._on_project_chosen)

    def _connect_parts(self) -> None:
        workspace, panel = self.workspace, self.panel
        self.current_image.changed.connect(self._on_image_changed)
        self._viewer.layers.events.removed.connect(self._on_layer_removed)
        self._viewer.layers.events.inserted.connect(self._on_layer_inserted)
        self.masks.removed.connect(self._on_mask_removed)
        self.prompts.predicted.connect(self._on_predicted)
        self.prompts.ended.connect(self.refresh)
        self.slides.predicted.connect(self._on_predicted)
        self.slides.changed.connect(self.refresh)
        self.review.accepted.connect(self._on_accepted)
        self.review.changed.connect(self.refresh)
        self.objects.changed.connect(self.refresh)
        self.objects.changed.connect(self.drafts.keep_soon)
        self.spreading.changed.connect(self._on_followed)
        self.spreading.stateChanged.connect(lambda: self.chosen.show(self.annotation(), panel.prompts.current()))
        self.drafts.changed.connect(self._on_recognised)
        self.objects.unlocked.connect(self.draw)
        self.chosen.changed.connect(self.refresh)
        self.chosen.drawn.connect(lambda prompt: self.draw(prompt=prompt))
        self.queue.changed.connect(self._on_queue_changed)
        self.queue.images.shown.connect(self._on_shown)
        self.queue.images.recognised.connect(self._on_recognised)
        self.queue.images.predicted.connect(self._on_predicted)
        workspace.modelChanged.connect(self._on_model_changed)
        workspace.projectChanged.connect(self._on_project_changed)
        workspace.projectOpened.connect(panel.confirm.withdraw)
        workspace.projectOpened.connect(self.refresh)
        workspace.projectLocked.connect(self._on_project_locked)
        self._on_queue_changed()

    # Slots

    def _on_undo_key(self, layer: MaskLayer, undoing: bool) -> None:
        """Take back in napari's own way, and with it what was decided about the mask."""
        annotation = self.annotation() if isalive(self) else None
        if annotation is None or annotation.layers.get(layer.prompt) is not layer:
            layer.undo_at((), undoing)
        elif undoing:
            self.undo()
        else:
            self.redo()

    def _on_predicted(self, annotation: Annotation, missing: list[str] | None = None) -> None:
        """Draw what was predicted, where only some masks are missing these."""
        if annotation.image not in self._viewer.layers:
            return
        for prompt in annotation.prompts():
            annotation.layer(prompt)
        if missing is None:
            self.draw(annotation)
        for prompt in missing or ():
            self.draw(annotation, prompt)
        self.refresh()
        self.queue.note_predicted(annotation)

    def _on_followed(self, annotation: Annotation) -> None:
        self.refresh()
        if annotation is self.annotation():
            self.drafts.keep_soon()
        else:
            self.drafts.keep(annotation)

    def _on_accepted(self, annotation: Annotation) -> None:
        listed = self.workspace.prompts
        # one of which nothing is drawn would take the next stroke, which was meant for the mask that is seen
        drawn = (p for p in listed if annotation.is_drawn(p) or (annotation.has_run(p) and annotation.has_work(p)))
        waiting = [p for p in drawn if p not in annotation.finished]
        if annotation is self.annotation() and waiting and self.panel.prompts.current() in annotation.finished:
            self.chosen.move_on(annotation, waiting[0])
        self.refresh()
        self.queue.note_image(annotation)
        self.workspace.remember_position()

    def _on_shown(self, annotation: Annotation) -> None:
        self.current_image.images.choose(annotation.image)
        self._on_recognised(annotation)

    def _on_recognised(self, annotation: Annotation) -> None:
        listed = self.workspace.prompts
        listed[:] = dict.fromkeys([*listed, *annotation.accepted, *annotation.drafts])
        self.drafts.recall(annotation)
        self.refresh()
        if annotation is self.annotation():
            self.queue.note_image(annotation)

    def _on_queue_changed(self) -> None:
        self.panel.step.setValue(self.queue.position_text())

    def _on_prompt_chosen(self, prompt: str) -> None:
        annotation = self.annotation()
        if annotation is not None and prompt in annotation.layers:
            annotation.layers[prompt].hidden = False
        self.panel.confirm.withdraw()
        self.refresh()

    def _on_pick_toggled(self, on: bool) -> None:
        if on and self.panel.instances.isEnabled():
            self.panel.instances.setChecked(True)  # what is picked has a number of its own

    def _on_prompt_removed(self, prompt: str) -> None:
        self.workspace.prompts.remove(prompt)
        self.workspace.styles.remove(prompt)
        self.queue.ahead.update()
        self.refresh()

    def _on_image_changed(self) -> None:
        annotation, before = self.annotation(), self.workspace.at_hand
        if annotation is not before:
            self.drafts.keep(before)
            self.workspace.at_hand = annotation
            self.panel.status.setValue("info", "")  # it was about another image
            self.panel.confirm.withdraw()
            self.chosen.begin()
            self._bring_into_view(annotation, before)
        self.pixel_size.show()
        self.volume_plane.show()
        self.panel.project.setDefault(default_project(annotation.image if annotation is not None else None))
        if annotation is not None:
            for layer in annotation.layers.values():
                layer.hidden = False
                layer.turn_to(annotation.place)
            self.queue.images.recognise(annotation)
            if annotation.place and annotation.results:
                self.draw(annotation)  # the threshold may have moved while another slice was in view
        self.refresh()
        self.queue.note_image(annotation)

    def _bring_into_view(self, annotation: Annotation | None, before: Annotation | None) -> None:
        """Show a hidden image that a person has chosen: its mask would be painted over another one."""
        if annotation is None or before is None or annotation.image is before.image:
            return
        if not annotation.image.visible and before.image in self._viewer.layers:
            self.queue.images.show_only(annotation)

    def _on_layer_inserted(self, event: Any) -> None:
        if isalive(self) and not self.masks.is_busy and not label_layers.is_overlay(event.value):
            self.refresh()

    def _on_layer_removed(self, event: Any) -> None:
        if isalive(self) and not self.masks.is_busy and not label_layers.is_overlay(event.value):
            for annotation in self.workspace.annotations_of(event.value):
                self.drafts.keep(annotation, last_chance=True)
            self.workspace.forget_image(event.value)
            self.refresh()

    def _on_mask_removed(self, layer: MaskLayer) -> None:
        if isalive(self):
            self.drafts.keep(self.workspace.at_hand)
            self.say("info", f"The mask of {layer.prompt} is out of view; choose the prompt to see it again.")

    def _on_keys_changed(self) -> None:
        self.panel.setKeys(keys.key_text, keys.help_lines())

    def _on_model_changed(self) -> None:
        workspace, panel = self.workspace, self.panel
        panel.prompt.setPresets(workspace.presets())
        panel.prompt.setConfig(workspace.predictor.model.config if workspace.predictor is not None else None)
        if workspace.model_state == "ready" and workspace.predictor is not None:
            info = workspace.predictor.info
            name = f"{info.name} ({info.licence})" if info is not None else "unnamed model"
            # short enough for one line beside four prompts at 1280 x 800
            panel.model.setValue("info", f"Model: {name}, {workspace.predictor.device}")
        else:
            panel.model.setValue("error" if workspace.model_state == "failed" else "info", workspace.model_message)

    def _on_project_chosen(self, path: Path) -> None:
        def done() -> None:
            self.say("info", f"Project {project_name(path)} is open.")

        def open_it() -> None:
            self.drafts.keep_all()
            self.workspace.open_project(path, done)

        # what was accepted and painted before goes to the project that was open then
        self._when_shown(open_it)

    def _on_project_locked(self, path: Path) -> None:
        """Offer to open a project for reading that cannot be written to."""
        if self.ask_read_only(self, path):
            text = f"Project {path.name} is open for reading only; nothing can be accepted."
            self.workspace.open_project(path, lambda: self.say("info", text), read_only=True)

    def _on_project_changed(self) -> None:
        view, read_only, shown = self.workspace.view, self.workspace.is_read_only(), self.panel.project
        if view is not None and (view.root, read_only) != (shown.value(), shown.isReadOnly()):
            shown.setValue(view.root, read_only=read_only)
            settings.write_projects(self.panel.project.recent())
        for image in label_layers.images(self._viewer):
            known = self.workspace.annotation(image, place_in_view(self._viewer, image))
            self.queue.images.recognise(known)
