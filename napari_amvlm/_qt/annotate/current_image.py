"""The image at hand in the Annotate dock: which layer, and of a stack which slice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image
from qtpy.compat import isalive
from qtpy.QtCore import QObject, Signal

from napari_amvlm._qt.layers.image import is_seen_from_the_side, layer_kind, layer_shape, place_in_view
from napari_amvlm._qt.layers.layer_choice import LayerChoice
from napari_amvlm._qt.layers.mask import MaskLayer
from napari_amvlm.errors import ImageError

if TYPE_CHECKING:
    from napari_amvlm._qt.annotate.panel import AnnotatePanel
    from napari_amvlm._qt.annotation.annotation import Annotation
    from napari_amvlm._qt.annotation.mask_layers import MaskLayers
    from napari_amvlm._qt.workspace import Workspace


class CurrentImage(QObject):
    """Binds the panel's list of images, and what it offers for slides and stacks, to the viewer.

    Signals
    -------
    changed
        Another image or another slice is at hand.
    """

    changed = Signal()

    def __init__(
        self, viewer: Any, workspace: Workspace, panel: AnnotatePanel, masks: MaskLayers, parent: QObject
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._workspace = workspace
        self._panel = panel
        self._masks = masks
        self.images = LayerChoice(panel.image, viewer)
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

    def _show_kind(self) -> None:
        image = self.images.current()
        if image is None:
            self._panel.extent.setKind("plane")
        else:
            self._panel.extent.setKind(layer_kind(image), layer_shape(image)[-3] if image.ndim > 2 else 1)

    def _on_image_changed(self) -> None:
        self._show_kind()
        self.changed.emit()

    def _on_step(self, _event: Any = None) -> None:
        image = self.images.current() if isalive(self) else None
        if image is not None and image.ndim > 2:
            self.changed.emit()

    def _on_active_layer(self, event: Any) -> None:
        """Follow the layer that a person selects: an image, or the mask of a prompt."""
        if not isalive(self) or self._masks.is_busy:
            return
        if isinstance(event.value, Image):
            self.images.choose(event.value)
        elif isinstance(event.value, MaskLayer):
            self._panel.prompts.setCurrent(event.value.prompt)
