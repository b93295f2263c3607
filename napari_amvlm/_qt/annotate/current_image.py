"""The image at hand in the Annotate dock: which layer, of a stack which slice, and where results go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels
from qtpy.compat import isalive
from qtpy.QtCore import QObject, Signal

from napari_amvlm._qt.layers.image import is_seen_from_the_side, layer_kind, layer_shape, place_in_view
from napari_amvlm._qt.layers.layer_choice import LayerChoice
from napari_amvlm.errors import ImageError

if TYPE_CHECKING:
    from napari_amvlm._qt.annotate.panel import AnnotatePanel
    from napari_amvlm._qt.annotation.annotation import Annotation
    from napari_amvlm._qt.workspace import Workspace

NEW_LAYER = "(new layer)"


class ChosenImage(QObject):
    """Binds the panel's lists of layers, and what it offers for slides and stacks, to the viewer.

    Signals
    -------
    changed
        Another image or another slice is at hand.
    """

    changed = Signal()

    def __init__(self, viewer: Any, workspace: Workspace, panel: AnnotatePanel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._workspace = workspace
        self._extent = panel.extent
        self.images = LayerChoice(panel.image, viewer, Image)
        self.labels = LayerChoice(panel.labels, viewer, Labels, first=NEW_LAYER)
        self.images.changed.connect(self._on_image_changed)
        viewer.dims.events.current_step.connect(self._on_step)
        viewer.layers.selection.events.active.connect(self._on_active_layer)
        self._show_kind()

    def annotation(self) -> Annotation | None:
        """Return what is known of the image at hand, of a stack of the slice in view; None where there is no image."""
        image = self.images.current()
        return self._workspace.annotation(image, place_in_view(self._viewer, image)) if image is not None else None

    def check_side(self) -> None:
        """Check that the planes in view are those that a prompt would run on.

        Raises
        ------
        ImageError
            A stack is seen from the side.
        """
        image = self.images.current()
        if image is not None and is_seen_from_the_side(self._viewer, image):
            raise ImageError(f"Stack {image.name!r} is seen from the side; turn it so that its slices are shown.")

    def show(self, annotation: Annotation) -> None:
        """Take another image at hand, with its labels layer."""
        self.images.choose(annotation.image)
        self.labels.choose(annotation.labels)

    def show_labels(self, annotation: Annotation) -> None:
        """Show the labels layer that an image has got meanwhile."""
        if self.images.current() is annotation.image:
            self.labels.choose(annotation.labels)

    def _show_kind(self) -> None:
        image = self.images.current()
        if image is None:
            self._extent.setKind("plane")
        else:
            self._extent.setKind(layer_kind(image), layer_shape(image)[-3] if image.ndim > 2 else 1)

    def _on_image_changed(self) -> None:
        self._show_kind()
        self.changed.emit()

    def _on_step(self, _event: Any = None) -> None:
        image = self.images.current() if isalive(self) else None
        if image is not None and image.ndim > 2:
            self.changed.emit()

    def _on_active_layer(self, event: Any) -> None:
        if not isalive(self):
            return
        layer = event.value
        if isinstance(layer, Image):
            self.images.choose(layer)
        for annotation in self._workspace.annotations.values():
            if layer is not None and annotation.labels is layer:
                self.images.choose(annotation.image)
                return
