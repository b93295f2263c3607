"""Slides and stacks in the viewer: pieces of a run are shown as they come, and regions of slides are opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from napari.utils.transforms.transform_utils import compose_linear_matrix
from qtpy.compat import isalive
from qtpy.QtCore import QObject, Signal

from napari_amvlm._qt.annotation.slide import SlideAnnotation
from napari_amvlm._qt.layers import labels as label_layers
from napari_amvlm._qt.layers.camera import camera_of
from napari_amvlm._qt.layers.image import CUT_FROM, describe_layer
from napari_amvlm._qt.layers.regions import chosen_box, view_box
from napari_amvlm._qt.timers import single_shot
from napari_amvlm.errors import InputError, LabelsError
from napari_amvlm.imaging import slide_key
from napari_amvlm.imaging.scale import WorkingScale
from napari_amvlm.project import SlidePlace

if TYPE_CHECKING:
    from napari_amvlm._qt.annotate.prompts import Prompts
    from napari_amvlm._qt.annotation.annotation import Annotation
    from napari_amvlm._qt.predict.request import PromptRequest
    from napari_amvlm._qt.workspace import Workspace
    from napari_amvlm.imaging import Tile
    from napari_amvlm.slides import SlideReport, SlideStore

LARGEST_REGION = 4096
"""Pixels a side of a region that is opened for correction."""

_REFRESH_MS = 100
_FOLLOW_MS = 150


@dataclass(frozen=True)
class _Region:
    """What was read of a slide: its key, pixels, and the probabilities `(H, W)` of each prompt that is done there."""

    box: Tile
    slide: str | None
    pixels: np.ndarray
    maps: dict[str, np.ndarray]


class Slides(QObject):
    """Shows what a run finds on slides and stacks, and follows the view.

    Signals
    -------
    predicted : Annotation
        A slice can be drawn, or a region of a slide that is an image of its own now.
    changed
        The first piece of a slide is there, or the last.
    """

    predicted = Signal(object)
    changed = Signal()

    def __init__(self, viewer: Any, workspace: Workspace, prompts: Prompts, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._workspace = workspace
        self._prompts = prompts
        self._stale: set[SlideAnnotation] = set()
        self._filled: list[tuple[SlideAnnotation, SlideStore]] = []
        self._opening = False
        self._refresher = single_shot(self, _REFRESH_MS, self._refresh)
        self._follower = single_shot(self, _FOLLOW_MS, self._follow)
        prompts.opened.connect(self._on_opened)
        prompts.found.connect(self._on_found)
        prompts.ended.connect(self._on_ended)
        camera = camera_of(viewer)
        camera.events.center.connect(self._on_camera)
        camera.events.zoom.connect(self._on_camera)

    def is_busy(self) -> bool:
        """Tell whether anything is still to be shown or opened."""
        return self._opening or self._refresher.isActive()

    def view(self, annotation: Annotation | None) -> Tile | None:
        """Return what of a slide is in view; None for anything else."""
        return view_box(self._viewer, annotation.image) if isinstance(annotation, SlideAnnotation) else None

    def renew(self, annotation: SlideAnnotation) -> None:
        """Show a slide's results at their present thresholds, soon."""
        annotation.renew()
        self._stale.add(annotation)
        self._refresher.start()

    def open_region(self, annotation: SlideAnnotation) -> None:
        """Open what is in view of a slide, or the box around drawn shapes, as an image that can be corrected."""
        try:
            box, words = chosen_box(self._viewer, annotation.image)
            _check_size(box, words)
        except InputError as error:
            self._workspace.say("error", str(error))
            return
        if self._opening:
            return
        self._opening = True
        image, prompts = describe_layer(annotation.image), annotation.prompts()

        def read() -> _Region:
            # where a prompt was not run yet, Accept would store that nothing is there
            done = [prompt for prompt in prompts if annotation.is_done(prompt, box)]
            maps = {prompt: annotation.probability(prompt, box) for prompt in done}
            return _Region(box, slide_key(image.data), np.array(image.data[box.slices]), maps)

        def done(region: _Region) -> None:
            self._opening = False
            if annotation.image in self._viewer.layers:
                self._open(annotation, region)

        def failed(text: str) -> None:
            self._opening = False
            self._workspace.say("error", text)

        self._workspace.say("info", f"Opening {words}: {box.width} x {box.height} pixels ...")
        self._workspace.submit(read, done, failed)

    def _open(self, slide: SlideAnnotation, read: _Region) -> None:
        from napari_amvlm.prediction import Prediction

        layer = _region_layer(slide.image, read)
        region = self._workspace.annotation(layer)
        for prompt, probability in read.maps.items():
            store = slide.shown_prompt(prompt).store
            settings, model = slide.settings(prompt)
            scale = WorkingScale(store.request.scale, store.request.magnification)
            presence = slide.presence(prompt) or 0.0
            region.keep([Prediction(prompt, probability, probability, presence, scale, 0.0)], settings, model)
            region.thresholds[prompt] = slide.threshold(prompt)
        self._viewer.add_layer(layer)
        self._viewer.layers.selection.active = layer
        self.predicted.emit(region)
        missing = ", ".join(prompt for prompt in slide.prompts() if prompt not in read.maps)
        if missing:
            text = f"{layer.name} is open, and the slide is not done there for {missing}: press Run."
            self._workspace.say("warning", text)
        else:
            self._workspace.say("info", f"{layer.name} is open: correct its masks, and accept them there.")

    # Pieces of a run

    def _on_opened(self, request: PromptRequest, store: SlideStore) -> None:
        annotation = request.annotation
        if not isinstance(annotation, SlideAnnotation) or annotation.image not in self._viewer.layers:
            return
        annotation.open(store, request.settings, self._workspace.served_key())
        annotation.note_presence(store)
        self._filled.append((annotation, store))
        self.renew(annotation)
        self.changed.emit()

    def _on_found(self, request: PromptRequest, report: Any) -> None:
        if request.annotation.image not in self._viewer.layers:
            self._prompts.cancel()
        elif isinstance(request.annotation, SlideAnnotation):
            self._on_block(request.annotation, report)
        else:
            annotation = self._workspace.annotation(request.annotation.image, report.index)
            annotation.keep(report.predictions, request.settings, self._workspace.served_key())
            self.predicted.emit(annotation)

    def _on_block(self, annotation: SlideAnnotation, report: SlideReport) -> None:
        was_known = any(annotation.presence(prompt) for prompt in report.store.request.prompts)
        annotation.note(report)
        if _meet(self.view(annotation), report.rectangle):
            self._stale.add(annotation)
            if not self._refresher.isActive():
                self._refresher.start()
        if not was_known:
            self.changed.emit()

    def _on_ended(self) -> None:
        filled, self._filled = self._filled, []
        for annotation, store in filled:
            if annotation.image in self._viewer.layers:
                annotation.note_presence(store)
                self.renew(annotation)
        if filled:
            self.changed.emit()

    # The view

    def _refresh(self) -> None:
        stale, self._stale = self._stale, set()
        for annotation in stale:
            # the small picture in the list of layers can wait until the run has ended
            ended = self._prompts.slide_at_work() is not annotation
            for layer in annotation.layers.values():
                if layer in self._viewer.layers:
                    layer.refresh(extent=False, highlight=False, thumbnail=ended)

    def _on_camera(self, _event: Any = None) -> None:
        if isalive(self) and self._prompts.slide_at_work() is not None and not self._follower.isActive():
            self._follower.start()

    def _follow(self) -> None:
        slide = self._prompts.slide_at_work()
        view = self.view(slide) if slide is not None and slide.image in self._viewer.layers else None
        if view is not None:
            self._prompts.look_at(view)


def _meet(one: Tile | None, other: Tile) -> bool:
    """Tell whether two rectangles share a pixel."""
    if one is None:
        return False
    down = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    across = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    return down > 0 and across > 0


def _check_size(box: Tile, words: str) -> None:
    if max(box.height, box.width) > LARGEST_REGION:
        raise LabelsError(
            f"The region ({words}) has {box.width} x {box.height} pixels, and at most {LARGEST_REGION} x "
            f"{LARGEST_REGION} can be corrected at once; zoom in, or draw a smaller shape."
        )


def _region_layer(image: Image, read: _Region) -> Image:
    """Return a layer that lies on `image` where the region is."""
    y, x = read.box.y, read.box.x
    on_top = label_layers.on_top_of(image)
    moved = compose_linear_matrix(image.rotate, image.scale, image.shear) @ np.array([y, x], float)
    on_top["translate"] = np.asarray(image.translate) + moved
    limits = {} if image.rgb else {"contrast_limits": image.contrast_limits, "colormap": image.colormap}
    return Image(
        read.pixels,
        name=f"{image.name} x{x} y{y}",
        rgb=image.rgb,
        metadata={CUT_FROM: SlidePlace(read.slide, y, x)} if read.slide is not None else {},
        **limits,
        **on_top,
    )
