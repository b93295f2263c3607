"""Layers that show two models side by side: one on the left of a border that can be moved, one on the right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Vectors
from napari.utils.colormaps import DirectLabelColormap
from qtpy.QtCore import QObject, Signal

from napari_amvlm._qt.layers import labels as label_layers
from napari_amvlm._qt.layers.camera import camera_of, fit_to_view
from napari_amvlm._qt.widgets.swipe import ACCEPTED_COLOUR, AFTER_COLOUR, BEFORE_COLOUR
from napari_amvlm.session.model_comparison import ACCEPTED, AFTER, BEFORE

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari.layers import Layer

    from napari_amvlm.session import Compared

CLEAR = "#00000000"
REACH = 8
"""Distance to the border, in screen pixels, within which the mouse drags it."""

_GAP = 0.5
"""Free space beside the person's own layers, in widths of the compared image."""


class ComparisonLayers(QObject):
    """An image, the two masks, and the outline of the accepted mask, beside the layers of the person.

    Signals
    -------
    borderMoved : float
        The mouse moved the border in the canvas; a share of the width.
    removedByHand
        The person removed one of the layers.
    """

    borderMoved = Signal(float)
    removedByHand = Signal()

    def __init__(self, viewer: Any, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._layers: list[Layer] = []
        self._shown: tuple[Compared, str] | None = None
        self._column = 0
        self._camera: tuple[Any, float] | None = None
        self._removing = False

    def value(self) -> tuple[Compared, str] | None:
        """Return what is shown: the comparison, and for which prompt."""
        return self._shown

    def show(self, compared: Compared, prompt: str, border: float) -> None:
        """Show one image instead of the one before."""
        same_image = self._shown is not None and self._shown[0].image_id == compared.image_id
        if self._camera is None:
            camera = camera_of(self._viewer)
            self._camera = (tuple(camera.center), float(camera.zoom))
            self._viewer.layers.events.removed.connect(self._on_layer_removed)
            self._viewer.mouse_drag_callbacks.append(self._on_drag)
        self._remove_layers()
        self._shown = compared, prompt
        self._column = _column(compared, border)
        active = self._viewer.layers.selection.active
        transform = self._beside(compared)
        for layer in _made(compared, prompt, self._column, transform):
            self._layers.append(layer)
            self._viewer.add_layer(layer)
        self._viewer.layers.selection.active = active
        if not same_image:
            fit_to_view(self._viewer, self._layers[:1])

    def setBorder(self, border: float) -> None:
        """Move the border to a share of the width, without a signal."""
        if self._shown is None:
            return
        compared, prompt = self._shown
        column = _column(compared, border)
        first, last = sorted((self._column, column))
        self._column = column
        if first == last:
            return
        masks, line = self._layers[1], self._layers[3]
        # only the strip between the two borders changes sides
        masks.data[:, first:last] = _sides(compared.masks[prompt], column)[:, first:last]
        masks.refresh()
        line.data = _line(compared, column)

    def remove(self) -> None:
        """Remove every layer, and restore the camera if it still shows the comparison."""
        if self._camera is None:
            return
        looks_here = self._looks_here()
        self._remove_layers()
        self._viewer.layers.events.removed.disconnect(self._on_layer_removed)
        self._viewer.mouse_drag_callbacks.remove(self._on_drag)
        if looks_here:
            camera = camera_of(self._viewer)
            camera.center, camera.zoom = self._camera
        self._camera = self._shown = None

    # Inner workings

    def _beside(self, compared: Compared) -> dict[str, Any]:
        """Return a transform to the right of all other layers, so that painting on them reaches no pixel here."""
        origin = np.zeros(2)
        units: Any = None
        if len(self._viewer.layers):
            extent = self._viewer.layers.extent
            first, last = np.asarray(extent.world)[:, -2:]
            origin = np.array([first[0], last[1] + _GAP * compared.shape[1]])
            units = extent.units[-2:] if extent.units is not None else None
        return {"scale": (compared.step, compared.step), "translate": origin, "units": units}

    def _remove_layers(self) -> None:
        self._removing = True
        try:
            for layer in self._layers:
                if layer in self._viewer.layers:
                    self._viewer.layers.remove(layer)
        finally:
            self._removing = False
        self._layers = []

    def _looks_here(self) -> bool:
        if not self._layers:
            return False
        (top, left), (bottom, right) = self._layers[0].extent.world[:, -2:]
        row, column = camera_of(self._viewer).center[-2:]
        return bool(top <= row <= bottom and left <= column <= right)

    def _on_layer_removed(self, event: Any) -> None:
        if not self._removing and event.value in self._layers:
            self.removedByHand.emit()

    def _on_drag(self, _viewer: Any, event: Any) -> Generator[None, None, None]:
        """Drag the border in the canvas with the mouse."""
        if self._shown is None or not self._is_near(event.position):
            return
        camera = camera_of(self._viewer)
        pans, camera.mouse_pan = camera.mouse_pan, False
        try:
            yield
            while event.type == "mouse_move":
                border = self._border_at(event.position)
                self.setBorder(border)
                self.borderMoved.emit(border)
                yield
        finally:
            camera.mouse_pan = pans

    def _is_near(self, position: Any) -> bool:
        if not self._layers or self._shown is None:
            return False
        row, column = self._layers[0].world_to_data(position)[-2:]
        height = self._shown[0].pixels.shape[0]
        step = self._shown[0].step
        distance = abs(column - self._column) * step * camera_of(self._viewer).zoom
        return bool(0 <= row < height and distance <= REACH)

    def _border_at(self, position: Any) -> float:
        if not self._layers or self._shown is None:
            return 0.5
        column = self._layers[0].world_to_data(position)[-1]
        return float(np.clip(column / self._shown[0].pixels.shape[1], 0, 1))


def _column(compared: Compared, border: float) -> int:
    return round(border * int(compared.pixels.shape[1]))


def _sides(code: np.ndarray, column: int) -> np.ndarray:
    """Return the earlier model's mask left of a column and the later one's right of it, as label values."""
    return np.concatenate([code[:, :column] & BEFORE, code[:, column:] & AFTER], axis=1)


def _line(compared: Compared, column: int) -> np.ndarray:
    """Return the border as one vector, (1, 2, 2): where it starts, and how far it goes."""
    return np.array([[[-0.5, column - 0.5], [compared.pixels.shape[0], 0]]], np.float32)


def _made(compared: Compared, prompt: str, column: int, transform: dict[str, Any]) -> list[Layer]:
    thickness = max(1, round(max(compared.pixels.shape[:2]) / 400))
    code, name = compared.masks[prompt], compared.name
    options = {"metadata": {label_layers.OVERLAY: compared.image_id}, **transform}
    image = Image(compared.pixels, name=f"{name}, compared", rgb=True, **options)
    swipe = DirectLabelColormap(color_dict={None: CLEAR, 0: CLEAR, BEFORE: BEFORE_COLOUR, AFTER: AFTER_COLOUR})
    masks = Labels(_sides(code, column), name=f"{name}, before | after", colormap=swipe, opacity=0.6, **options)
    right = DirectLabelColormap(color_dict={None: CLEAR, 0: CLEAR, 1: ACCEPTED_COLOUR})
    inside = ((code & ACCEPTED) > 0).astype(np.uint8)
    accepted = Labels(inside, name=f"{name}, accepted", colormap=right, opacity=1.0, **options)
    accepted.contour = thickness
    for layer in (masks, accepted):
        layer.editable = False
    border = Vectors(
        _line(compared, column),
        name=f"{name}, border",
        edge_color="white",
        edge_width=thickness,
        vector_style="line",
        **options,
    )
    return [image, masks, accepted, border]
