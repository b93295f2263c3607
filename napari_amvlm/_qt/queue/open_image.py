"""Images of the project in the viewer: opened, shown alone, and with what was accepted on them before."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from napari_amvlm._qt.corrections import find_image
from napari_amvlm._qt.layers import labels as label_layers
from napari_amvlm._qt.layers.image import layer_kind, layer_path
from napari_amvlm._qt.settings import preferences
from napari_amvlm.session.accepted import Accepted, accepted_on

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_amvlm._qt.annotation.annotation import Annotation
    from napari_amvlm._qt.workspace import Workspace
    from napari_amvlm.project import ImageRecord, Project, QueueItem


@dataclass(frozen=True)
class _Found:
    record: ImageRecord
    pixels: np.ndarray | None
    accepted: dict[str, Accepted]
    problems: list[str]


class ImageOpening(QObject):
    """Shows one image of the project at a time; what is read from the disk is read in a thread.

    Signals
    -------
    said : level, text
    shown : Annotation
        An image of the project is shown, with what was accepted on it.
    """

    said = Signal(str, str)
    shown = Signal(object)

    def __init__(self, viewer: Any, workspace: Workspace, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer_reference = weakref.ref(viewer)
        self._workspace = workspace
        self._opened_here: list[Image] = []
        self._opening = 0
        self._sought: weakref.WeakKeyDictionary[Annotation, Path] = weakref.WeakKeyDictionary()

    def is_busy(self) -> bool:
        """Tell whether an image is being opened."""
        return self._opening > 0

    def open(
        self, item: QueueItem, done: Callable[[Annotation], None], failed: Callable[[str], None] | None = None
    ) -> None:
        """Show the image of a piece of work, opened first where it is not in the viewer."""
        project = self._workspace.project
        if project is None:
            return
        viewer = self._viewer_reference()
        is_open = viewer is not None and self._layer_of(viewer, item.image_id) is not None
        self._opening += 1

        def finish(found: _Found) -> None:
            self._opening -= 1
            viewer = self._viewer_reference()
            if viewer is None:
                return
            image = self._layer_of(viewer, item.image_id) or self._add(viewer, found)
            if image is None:
                return
            annotation = self._workspace.annotation(image)
            self._recall(viewer, annotation, found)
            self._show_only(viewer, annotation)
            if item.region is not None:
                _look_at(viewer, image, item)
            self._let_go(viewer, image)
            self.shown.emit(annotation)
            done(annotation)

        def fail(text: str) -> None:
            self._opening -= 1
            (failed or (lambda words: self.said.emit("error", words)))(text)

        self._workspace.submit(lambda: _read(project, item.image_id, pixels=not is_open), finish, fail)

    def recognise(self, annotation: Annotation) -> None:
        """Show what was accepted on an image of a file that the project knows, or on a slice with the same pixels."""
        project, viewer = self._workspace.project, self._viewer_reference()
        image, place, path = annotation.image, annotation.place, layer_path(annotation.image)
        if project is None or viewer is None or annotation.image_id is not None or layer_kind(image) == "slide":
            return
        if (path is None and not place) or self._sought.get(annotation) == project.root:
            return
        self._sought[annotation] = project.root

        def read() -> _Found | None:
            if place:
                record = project.find_array(label_layers.pixels(image, place))
            else:
                record = find_image(project, path) if path is not None else None
            return _read(project, record.id, pixels=False) if record is not None else None

        def done(found: _Found | None) -> None:
            if found is not None and image in viewer.layers and annotation.image_id is None:
                self._recall(viewer, annotation, found)
                self.shown.emit(annotation)

        self._workspace.submit(read, done)

    def _recall(self, viewer: Any, annotation: Annotation, found: _Found) -> None:
        """Note whose image it is, and show masks that were accepted another day; those of today are there already."""
        annotation.image_id = found.record.id
        missing = {prompt: known for prompt, known in found.accepted.items() if prompt not in annotation.accepted}
        if missing:
            if annotation.labels is None:
                self._workspace.attach(annotation, label_layers.add_labels(viewer, annotation.image))
            annotation.restore({**annotation.accepted, **missing}, self._workspace.overlaps())
        if found.problems:
            self.said.emit("warning", found.problems[0])

    def _layer_of(self, viewer: Any, image_id: int) -> Image | None:
        for annotation in self._workspace.annotations.values():
            if annotation.image_id == image_id and not annotation.place and annotation.image in viewer.layers:
                return annotation.image
        return None

    def _add(self, viewer: Any, found: _Found) -> Image | None:
        record, pixels = found.record, found.pixels
        if pixels is None:  # the layer was taken out of the viewer meanwhile
            return None
        place = {"path": str(record.path)} if record.source == "file" else {}
        image = Image(pixels, name=record.name, rgb=pixels.ndim == 3, metadata=place)
        # known before the docks see the layer, so that they need not look for it in the project
        self._workspace.annotation(image).image_id = record.id
        viewer.add_layer(image)
        self._opened_here.append(image)
        return image

    def _show_only(self, viewer: Any, annotation: Annotation) -> None:
        for image in label_layers.images(viewer):
            image.visible = image is annotation.image
        for other in self._workspace.annotations.values():
            if other.labels is not None:
                other.labels.visible = other is annotation
        viewer.layers.selection.active = annotation.image if annotation.labels is None else annotation.labels
        viewer.fit_to_view(layers=[annotation.image])

    def _let_go(self, viewer: Any, present: Image) -> None:
        """Take the oldest images out of the viewer that hold nothing a person still needs."""
        self._opened_here = [image for image in self._opened_here if image in viewer.layers]
        spare = [image for image in self._opened_here if image is not present and self._is_done(image)]
        for image in spare[: max(0, len(self._opened_here) - preferences().kept_images)]:
            self._opened_here.remove(image)
            known = self._workspace.annotations.get(image)
            for layer in (known.labels if known is not None else None, image):
                if layer is not None and layer in viewer.layers:
                    viewer.layers.remove(layer)

    def _is_done(self, image: Image) -> bool:
        known = self._workspace.annotations.get(image)
        return known is None or known.is_stored()


def _read(project: Project, image_id: int, *, pixels: bool) -> _Found:
    record, problems = project.image(image_id), list[str]()
    accepted = accepted_on(project, image_id, problems.append)
    return _Found(record, project.load_image(record) if pixels else None, accepted, problems)


def _look_at(viewer: Any, image: Image, item: QueueItem) -> None:
    """Move the camera to the region of a piece of work."""
    region = item.region
    if region is None:
        return
    camera = getattr(viewer, "scene", viewer).camera
    ends = (region.y, region.x), (region.y + region.height, region.x + region.width)
    first, last = (np.asarray(image.data_to_world(end))[-2:] for end in ends)
    camera.center = (*camera.center[:-2], *((first + last) / 2))
    size = np.maximum(np.abs(last - first), 1e-9)
    camera.zoom = 0.95 * float(np.min(np.asarray(viewer.canvas.size) / size))
