"""Images of the project in the viewer: opened, shown alone, and with the masks that were accepted on them."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from napari_amvlm._qt.annotation.mask_layers import mask_layers_for
from napari_amvlm._qt.corrections import find_image, lies_as_stored
from napari_amvlm._qt.layers import labels as label_layers
from napari_amvlm._qt.layers.camera import camera_of, fit_to_view
from napari_amvlm._qt.layers.image import layer_kind, layer_path, layer_shape
from napari_amvlm._qt.settings import preferences
from napari_amvlm.errors import ImageError
from napari_amvlm.session.accepted import Accepted, accepted_on

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from napari_amvlm._qt.annotation.annotation import Annotation
    from napari_amvlm._qt.queue.ahead import ReadyImage
    from napari_amvlm._qt.workspace import Workspace
    from napari_amvlm.project import ImageRecord, Project, QueueItem


@dataclass(frozen=True)
class _Stored:
    """What the project has of an image: `pixels` is None where `layer` shows it already."""

    record: ImageRecord
    pixels: np.ndarray | None
    accepted: dict[str, Accepted]
    problems: list[str]
    layer: Image | None = None


class ImageOpener(QObject):
    """Shows one image of the project at a time; files are read in a thread.

    Attributes
    ----------
    opening
        The names of the images that are being opened.

    Signals
    -------
    shown : Annotation
        An image of the project is shown, with what was accepted on it.
    recognised : Annotation
        An image that was open already is one of the project, and what was accepted on it is known now.
    predicted : Annotation, list of str
        An image is shown that was predicted in the background, and the prompts of which a mask is still to be drawn.
    closed : int
        So many images were taken out of the viewer.
    """

    shown = Signal(object)
    recognised = Signal(object)
    predicted = Signal(object, object)
    closed = Signal(int)

    def __init__(self, viewer: Any, workspace: Workspace, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer_reference = weakref.ref(viewer)
        self._workspace = workspace
        self._opened_here: list[Image] = []
        self.opening: list[str] = []
        workspace.projectOpened.connect(self._close_left)
        self._looked_up: weakref.WeakKeyDictionary[Annotation, tuple[Path, int]] = weakref.WeakKeyDictionary()

    def is_busy(self) -> bool:
        """Tell whether an image is being opened."""
        return bool(self.opening)

    def open(
        self,
        item: QueueItem,
        done: Callable[[Annotation], None],
        failed: Callable[[str], None] | None = None,
        *,
        ready: ReadyImage | None = None,
    ) -> None:
        """Show the image of a queue item, opened first where no layer of the viewer shows it.

        What is `ready` of it is neither read nor predicted again.
        """
        project, viewer = self._workspace.project, self._viewer_reference()
        if project is None or viewer is None:
            return
        known = self._layer_of(viewer, item.image_id)
        unknown = [] if known is not None else self._unknown_images(viewer)
        self.opening.append(item.name)

        def finish(stored: _Stored) -> None:
            self.opening.remove(item.name)
            # the canvas is arranged anew once, and not for each layer that comes, goes or hides
            with viewer.layers.batched_update():
                show(stored)

        def show(stored: _Stored) -> None:
            image = self._layer_of(viewer, item.image_id)
            if image is None and stored.layer in viewer.layers:
                image = stored.layer
            image = image or self._add(viewer, stored)
            if image is None:
                return
            annotation = self._workspace.annotation(image)
            self._restore(viewer, annotation, stored)
            missing = self._draw(annotation, ready) if ready is not None else []
            self.show_only(annotation)
            if item.region is not None:
                _show_region(viewer, image, item)
            self.shown.emit(annotation)
            done(annotation)
            if ready is not None:
                self.predicted.emit(annotation, missing)
            # last: until the image is at hand, a layer that goes brings the masks of the one before back
            self._close_oldest(viewer, image)

        def fail(text: str) -> None:
            self.opening.remove(item.name)
            if failed is not None:
                failed(text)
            else:
                self._workspace.said.emit("error", text)

        pixels = ready.pixels if ready is not None else None

        def read() -> _Stored:
            return _read(project, item.image_id, is_open=known is not None, open_images=unknown, pixels=pixels)

        self._workspace.submit(read, finish, fail)

    def recognise(self, annotation: Annotation) -> None:
        """Show what was accepted on an image of a file that the project knows, or on a slice with the same pixels."""
        project, view, viewer = self._workspace.project, self._workspace.view, self._viewer_reference()
        image, place, path = annotation.image, annotation.place, layer_path(annotation.image)
        if project is None or viewer is None or annotation.image_id is not None or layer_kind(image) == "slide":
            return
        state = project.root, view.counts.images if view is not None else 0
        if (path is None and not place) or self._looked_up.get(annotation) == state:
            return
        self._looked_up[annotation] = state

        def read() -> _Stored | None:
            if place:
                record = project.images.find_array(label_layers.pixels(image, place))
            else:
                record = find_image(project, path) if path is not None else None
                if record is not None and path is not None and not lies_as_stored(image, record, path):
                    raise ImageError(
                        f"{path} is shown without the orientation that its file names, so what was accepted on it is "
                        "not shown: open it with the reader of napari-amvlm."
                    )
            return _read(project, record.id, is_open=True) if record is not None else None

        def done(stored: _Stored | None) -> None:
            if stored is not None and image in viewer.layers and annotation.image_id is None:
                self._restore(viewer, annotation, stored)
                self.recognised.emit(annotation)

        self._workspace.submit(read, done, lambda text: self._workspace.said.emit("warning", text))

    def _restore(self, viewer: Any, annotation: Annotation, stored: _Stored) -> None:
        """Set the image's number, and show masks that were accepted another day; those of today are shown already."""
        annotation.image_id = stored.record.id
        missing = {prompt: known for prompt, known in stored.accepted.items() if prompt not in annotation.accepted}
        annotation.restore(missing)
        if stored.problems:
            self._workspace.said.emit("warning", stored.problems[0])

    def _draw(self, annotation: Annotation, ready: ReadyImage) -> list[str]:
        """Draw what was predicted in the background; return the prompts that it was not drawn of."""
        missing = []
        for found, proposal in zip(ready.predictions, ready.proposals, strict=True):
            prompt = found.prompt
            if annotation.has_run(prompt):
                continue
            annotation.keep([found], ready.settings, self._workspace.served_key())
            is_new = prompt not in annotation.layers and prompt not in annotation.accepted
            made_for = proposal.threshold, proposal.separate
            if is_new and made_for == (annotation.threshold(prompt), annotation.style(prompt).separate_objects):
                annotation.show(prompt, proposal.values, undoable=False)
            else:
                missing.append(prompt)
        return missing

    def _layer_of(self, viewer: Any, image_id: int) -> Image | None:
        for annotation in self._workspace.annotations.values():
            if annotation.image_id == image_id and not annotation.place and annotation.image in viewer.layers:
                return annotation.image
        return None

    def _unknown_images(self, viewer: Any) -> list[Image]:
        """Return the planes in the viewer that are not known to be an image of the project."""
        known = {id(each.image) for each in self._workspace.annotations.values() if each.image_id is not None}
        return [
            image for image in label_layers.images(viewer) if id(image) not in known and layer_kind(image) == "plane"
        ]

    def _add(self, viewer: Any, stored: _Stored) -> Image | None:
        record, pixels = stored.record, stored.pixels
        if pixels is None:  # the layer was taken out of the viewer meanwhile
            return None
        metadata = {"path": str(record.path)} if record.source == "file" else {}
        image = Image(pixels, name=record.name, rgb=pixels.ndim == 3, metadata=metadata)
        # known before the docks see the layer, so that they need not look for it in the project
        self._workspace.annotation(image).image_id = record.id
        with label_layers.selection_left(viewer):
            viewer.add_layer(image)
        self._opened_here.append(image)
        return image

    def show_only(self, annotation: Annotation) -> None:
        """Bring an image into view, and no other."""
        viewer = self._viewer_reference()
        if viewer is None:
            return
        for image in label_layers.images(viewer):
            if image.visible != (image is annotation.image):  # napari draws anew also where nothing changes
                image.visible = image is annotation.image
        mask_layers_for(viewer, self._workspace).show(annotation)
        fit_to_view(viewer, [annotation.image])

    def _close_oldest(self, viewer: Any, current: Image) -> None:
        """Take the oldest images out of the viewer whose masks are all stored."""
        self._opened_here = [image for image in self._opened_here if image in viewer.layers]
        stored = [image for image in self._opened_here if image is not current and self._is_stored(image)]
        oldest = stored[: max(0, len(self._opened_here) - preferences().kept_images)]
        for image in oldest:
            self._opened_here.remove(image)
            viewer.layers.remove(image)
        self.closed.emit(len(oldest))

    def _close_left(self, _state: object) -> None:
        """Take the images of a project that was left out of the viewer, whoever opened them.

        Those with work that it lacks stay open, and stacks and slides, of which it has parts only.
        """
        viewer = self._viewer_reference()
        self._opened_here = []
        if viewer is None:
            return
        known = [each for each in self._workspace.annotations.values() if each.left and not each.left_work]
        left = [each.image for each in known if each.image in viewer.layers and layer_kind(each.image) == "plane"]
        with viewer.layers.batched_update():
            for image in left:
                viewer.layers.remove(image)
        self.closed.emit(len(left))

    def _is_stored(self, image: Image) -> bool:
        known = self._workspace.annotations.get(image)
        return known is None or known.is_stored()


def _read(
    project: Project,
    image_id: int,
    *,
    is_open: bool,
    open_images: Sequence[Image] = (),
    pixels: np.ndarray | None = None,
) -> _Stored:
    """Read an image and its accepted masks; the pixels only where no layer shows them."""
    record, problems = project.images.get(image_id), list[str]()
    accepted = accepted_on(project, image_id, problems.append)
    layer = next((layer for layer in open_images if _shows(project, layer, record)), None)
    if is_open or layer is not None:
        pixels = None
    elif pixels is None:
        pixels = project.images.load(record)
    return _Stored(record, pixels, accepted, problems, layer)


def _shows(project: Project, layer: Image, record: ImageRecord) -> bool:
    """Tell whether a plane of the viewer is an image of the project: by its file, or by its pixels without one."""
    path = layer_path(layer)
    if path is not None:
        if record.source != "file" or path.resolve() != record.path.resolve():
            return False
        is_current = not path.is_file() or project.images.locate(record) == record.path
        return is_current and lies_as_stored(layer, record, path)
    if record.source == "file" or layer_shape(layer) != record.shape:
        return False
    try:
        same = project.images.find_array(label_layers.pixels(layer))
    except ImageError:  # a layer whose pixels cannot be stored is none of the project
        return False
    return same is not None and same.id == record.id


def _show_region(viewer: Any, image: Image, item: QueueItem) -> None:
    """Move the camera to the region of a queue item."""
    region = item.region
    if region is None:
        return
    camera = camera_of(viewer)
    ends = (region.y, region.x), (region.y + region.height, region.x + region.width)
    first, last = (np.asarray(image.data_to_world(end))[-2:] for end in ends)
    camera.center = (*camera.center[:-2], *((first + last) / 2))
    size = np.maximum(np.abs(last - first), 1e-9)
    camera.zoom = 0.95 * float(np.min(np.asarray(viewer.canvas.size) / size))
