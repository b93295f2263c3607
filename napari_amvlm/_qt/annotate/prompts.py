"""Running prompts: what is typed goes to the model, and what it answers to the labels layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal
from qtpy.QtGui import QColor

from napari_amvlm._qt import settings
from napari_amvlm._qt.annotation.slide import SlideAnnotation
from napari_amvlm._qt.layers import labels as label_layers
from napari_amvlm._qt.predict.run import PredictionRun
from napari_amvlm._qt.widgets.prompt_list import PRESENT, PromptEntry
from napari_amvlm.errors import ImageError, InputError

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_amvlm._qt.annotate.panel import AnnotatePanel
    from napari_amvlm._qt.annotation.annotation import Annotation
    from napari_amvlm._qt.widgets.extent_choice import Extent
    from napari_amvlm._qt.widgets.scale_choice import ScaleSettings
    from napari_amvlm._qt.workspace import Workspace
    from napari_amvlm.imaging import Tile
    from napari_amvlm.predictor import Prediction


class PromptWork(QObject):
    """Takes prompts from the panel, runs them, and shows them in the list of prompts.

    Signals
    -------
    said : level, text
    predicted : Annotation, ScaleSettings, list of Prediction
        What is to be written to the labels layer.
    listed
        The list of prompts shows the present state.
    """

    said = Signal(str, str)
    predicted = Signal(object, object, object)
    listed = Signal()

    def __init__(self, panel: AnnotatePanel, workspace: Workspace, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._panel = panel
        self._workspace = workspace
        self._prompts = workspace.prompts
        self.runs = PredictionRun(workspace, self)
        self.runs.waiting.connect(panel.progress.setBusy)
        self.runs.progressed.connect(panel.progress.setProgress)
        self.runs.noticed.connect(self._on_noticed)
        self.runs.done.connect(self._on_done)
        self.runs.ended.connect(self._on_ended)
        panel.progress.cancelled.connect(self.runs.cancel)

    def run(self, annotation: Annotation | None, target: Labels | None, view: Tile | None = None) -> None:
        """Run the prompts that are typed and those not yet run on this image; with none typed, all of the list.

        `target` is the labels layer that a plane or a stack is written to, `view` what is in view of a slide.
        """
        if annotation is None or self.runs.is_running():
            text = "A run is under way; wait for it, or cancel it first." if annotation else "Open an image first."
            self.said.emit("warning", text)
            return
        panel = self._panel
        typed = panel.prompt.prompts()
        if not typed and not self._prompts:
            self.said.emit("warning", "The prompt is empty; type what to find, for example nuclei.")
            return
        try:
            label_layers.check_image(annotation.image)
            if isinstance(annotation, SlideAnnotation):
                _check_view(annotation, panel.extent.value(), view)
            elif target is not None:
                label_layers.check_labels(target, annotation.image)
        except InputError as error:
            self.said.emit("error", str(error))
            return
        now, model = panel.scale.value(), self._workspace.served_key()
        missing = [p for p in self._prompts if p not in typed and not (typed and annotation.is_current(p, now, model))]
        self._prompts[:] = dict.fromkeys([*self._prompts, *typed])
        if typed:
            panel.prompt.remember(typed)
            settings.write_prompts(panel.prompt.history())
        self.show_prompts(annotation)
        if typed:
            panel.prompts.setCurrent(typed[0])
        panel.progress.setBusy("Looking at the image ...")
        panel.run_button.setEnabled(False)
        if panel.extent.value().part != "here":
            self.said.emit("info", f"Working through {annotation.image.name}; you can look around meanwhile.")
        self.runs.start(annotation, [*typed, *missing], now, panel.extent.value(), view, target)

    def show_prompts(self, annotation: Annotation | None) -> None:
        """Show what is known of each prompt on the image."""
        self._panel.prompts.setValue([_entry(annotation, prompt) for prompt in self._prompts])
        self._panel.objects.setPrompts(self._prompts)
        self.listed.emit()

    def forget_unused(self, annotation: Annotation | None) -> None:
        """Take prompts off the list that never gave anything."""
        used = {p for known in self._workspace.annotations.values() for p in (*known.prompts(), *known.accepted)}
        self._prompts[:] = [prompt for prompt in self._prompts if prompt in used]
        self.show_prompts(annotation)

    def _on_done(self, annotation: Annotation, used: ScaleSettings, predictions: list[Prediction]) -> None:
        self._rest()
        self.predicted.emit(annotation, used, predictions)

    def _on_ended(self, level: str, text: str) -> None:
        self._rest()
        self.said.emit(level, text)

    def _on_noticed(self, text: str) -> None:
        self.said.emit("warning", text)

    def _rest(self) -> None:
        self._panel.progress.setIdle()
        self._panel.run_button.setEnabled(True)


def _entry(annotation: Annotation | None, prompt: str) -> PromptEntry:
    if annotation is None or annotation.labels is None:
        return PromptEntry(prompt)
    if not annotation.has_run(prompt) and prompt not in annotation.accepted:
        return PromptEntry(prompt)
    value = annotation.value(prompt)
    red, green, blue, *_ = annotation.labels.get_color(value)
    colour = QColor.fromRgbF(float(red), float(green), float(blue)).name()
    return PromptEntry(prompt, value, colour, annotation.presence(prompt), prompt in annotation.finished)


def _check_view(annotation: Annotation, extent: Extent, view: Tile | None) -> None:
    if view is None and extent.part == "here":
        raise ImageError(
            f"Nothing of slide {annotation.image.name!r} is in view; move it into view, or choose the whole slide."
        )


def describe(annotation: Annotation, predictions: list[Prediction]) -> str:
    """Say what a run found, one line for each prompt."""
    words = []
    for found in predictions:
        presence = f"{'present' if found.presence >= PRESENT else 'absent'} {found.presence:.2f}"
        scale = "whole image" if found.scale.name == "whole" else "tiles"
        words.append(f"{found.prompt} in {annotation.name}: {presence}, {found.seconds:.1f} s, {scale}")
    finished = [p.prompt for p in predictions if p.prompt in annotation.finished]
    if finished:
        words.append(f"{', '.join(finished)} is finished here and was not painted over: unlock it to let the model")
    return "\n".join(words)
