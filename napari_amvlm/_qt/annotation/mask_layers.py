"""The masks of the image at hand in the viewer: the chosen prompt's on top, those of other images out of the way."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer, Signal
from vispy.gloo import gl

from napari_amvlm._qt.layers import labels as label_layers
from napari_amvlm._qt.layers.image import layer_shape
from napari_amvlm._qt.layers.mask import OPACITY, MaskLayer

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_amvlm._qt.annotation.annotation import Annotation
    from napari_amvlm._qt.workspace import Workspace

_VERTEX_ARRAYS = 8
"""More than any visual of vispy uses."""

_BELOW = 0.8
"""Opacity of outlines below the chosen mask."""


class MaskLayers(QObject):
    """Puts the layers of one image's masks into the viewer, and takes all others out.

    The chosen prompt's mask is the active layer, filled; the others are outlines below it. `show` shows what was
    `chosen` last, which outlives the dock.

    Signals
    -------
    removed : MaskLayer
        A person took a mask out of the viewer.
    """

    removed = Signal(object)

    def __init__(self, viewer: Any, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._viewer_reference = weakref.ref(viewer)
        self._workspace = workspace
        self.chosen: str | None = None
        self._visible = self._were_visible = True
        self._outlines = False
        self._in_hand: weakref.ref[MaskLayer] | None = None
        self.is_busy = False
        viewer.layers.events.removed.connect(self._on_removed)

    def set_shown(self, *, visible: bool, outlines: bool) -> None:
        """Say whether masks are to be seen, and whether the chosen one is an outline too; `show` shows it."""
        self._visible, self._outlines = visible, outlines

    def show(self, annotation: Annotation | None) -> None:
        """Show the masks of one image, and of no other."""
        viewer = self._viewer_reference()
        if viewer is None or self.is_busy:
            return
        self.is_busy = True
        try:
            self._show(viewer, annotation if annotation is not None and annotation.image in viewer.layers else None)
        finally:
            self.is_busy = False

    def _show(self, viewer: Any, annotation: Annotation | None) -> None:
        wanted = self._wanted(annotation) if annotation is not None else []
        active = viewer.layers.selection.active
        if annotation is not None:
            top = _top(viewer, annotation.image)
            with label_layers.selection_left(viewer):
                for layer in wanted:
                    self._set_look(layer, max(layer_shape(annotation.image)[-2:]))
                    is_new = layer not in viewer.layers
                    # visible at first: napari cannot write to a layer that it never showed
                    _put_above(viewer, layer, top)
                    if is_new or self._visible != self._were_visible:
                        layer.visible = self._visible
                    top = layer
            self._were_visible = self._visible
            self._activate(viewer, active, wanted, annotation)
        # last, for napari selects another layer in place of a selected one that goes
        for layer in [each for each in viewer.layers if isinstance(each, MaskLayer) and each not in wanted]:
            viewer.layers.remove(layer)

    def _set_look(self, layer: MaskLayer, side: int) -> None:
        """Fill the chosen mask, and outline the others; what a person changed stays while that is as it was."""
        is_chosen = layer.prompt == self.chosen
        look = "filled" if is_chosen and not self._outlines else "outlined" if is_chosen else "below"
        if layer.look != look:
            layer.look = look
            layer.contour = 0 if look == "filled" else max(1, round(side / 250))
            layer.opacity = {"filled": OPACITY, "outlined": 1.0, "below": _BELOW}[look]

    def _wanted(self, annotation: Annotation) -> list[MaskLayer]:
        """Return the layers to be shown, from the bottom up."""
        listed = [prompt for prompt in self._workspace.prompts if prompt in annotation.layers]
        listed.sort(key=lambda prompt: prompt == self.chosen)
        return [annotation.layers[prompt] for prompt in listed if not annotation.layers[prompt].hidden]

    def _activate(self, viewer: Any, active: Any, wanted: list[MaskLayer], annotation: Annotation) -> None:
        """Take the chosen mask in hand, with the tool that was used last, unless something else is in hand."""
        chosen = annotation.layers.get(self.chosen or "")
        if chosen is None or chosen not in viewer.layers:
            # of another image, or out of view soon
            leaves = isinstance(active, (Image, MaskLayer)) and not label_layers.is_overlay(active)
            stays = active in viewer.layers and (not leaves or active in wanted)
            viewer.layers.selection.active = active if stays else annotation.image
            if not stays:
                self._alone_soon(annotation.image)
        elif active is None or isinstance(active, (Image, MaskLayer)):
            last = self._in_hand() if self._in_hand is not None else None
            if last is not None and last is not chosen and not chosen.multiscale and not last.multiscale:
                chosen.brush_size, chosen.mode = last.brush_size, last.mode
            self._in_hand = weakref.ref(chosen)
            viewer.layers.selection.active = chosen
            self._alone_soon(chosen)
        else:
            viewer.layers.selection.active = active

    def _alone_soon(self, layer: Layer) -> None:
        """Let a layer be the only selected one.

        napari goes on with the selection, or the removal, that led here, and adds a layer: Delete would remove both.
        """
        reference = weakref.ref(layer)
        QTimer.singleShot(0, lambda: self._select_alone(reference()))

    def _select_alone(self, layer: Layer | None) -> None:
        viewer = self._viewer_reference() if isalive(self) else None
        if viewer is not None and layer in viewer.layers and layer in viewer.layers.selection:
            others = [each for each in viewer.layers.selection if each is not layer]
            if others and all(isinstance(each, (Image, MaskLayer)) for each in others):
                viewer.layers.selection.select_only(layer)
            # napari's list of layers selects, and shows, what was selected while another selection was being told of
            unselected = set(viewer.layers) - set(viewer.layers.selection)
            viewer.layers.selection.events.changed(added=set(), removed=unselected)

    def _on_removed(self, event: Any) -> None:
        viewer = self._viewer_reference()
        if viewer is not None and isalive(self):
            _forget_vertex_arrays(viewer)
        if not self.is_busy and isinstance(event.value, MaskLayer):
            event.value.hidden = True
            self.removed.emit(event.value)


def _top(viewer: Any, image: Image) -> Any:
    """Return the topmost layer of an image that masks are to lie on: an overlay, or the image itself."""
    on_it = [layer for layer in viewer.layers if layer.metadata.get(label_layers.OVERLAY) is image]
    return on_it[-1] if on_it else image


def _forget_vertex_arrays(viewer: Any) -> None:
    """Let OpenGL read no vertices of a layer that was removed.

    vispy leaves vertex arrays enabled whose buffers it deletes with a layer; drawing anything else afterwards may then
    read freed memory, and end the program. Every draw enables what it needs.
    """
    window = getattr(viewer.window, "_qt_window", None)
    if window is None or not isalive(window):
        return  # it is closed already
    canvas = window._qt_viewer.canvas.native
    if canvas.isVisible():
        canvas.makeCurrent()
        for index in range(_VERTEX_ARRAYS):
            gl.glDisableVertexAttribArray(index)
        canvas.doneCurrent()


def _put_above(viewer: Any, layer: MaskLayer, other: Any) -> None:
    if layer not in viewer.layers:
        viewer.layers.insert(viewer.layers.index(other) + 1, layer)
    elif viewer.layers.index(layer) < viewer.layers.index(other):
        viewer.layers.move(viewer.layers.index(layer), viewer.layers.index(other) + 1)


def mask_layers_for(viewer: Any, workspace: Workspace) -> MaskLayers:
    """Return what shows the masks of a workspace, made at the first call."""
    found = workspace.findChild(MaskLayers)
    return found if isinstance(found, MaskLayers) else MaskLayers(viewer, workspace)
