"""Click mode: objects of the chosen mask answer to the pointer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from qtpy.compat import isalive
from qtpy.QtCore import QObject

from napari_amvlm._qt.annotate.objects import Change
from napari_amvlm._qt.annotation.slide import READ_ONLY, SlideAnnotation, paintable
from napari_amvlm._qt.layers import labels as label_layers
from napari_amvlm._qt.layers.image import describe_layer
from napari_amvlm.errors import LabelsError
from napari_amvlm.imaging.image_data import MICROMETERS
from napari_amvlm.review.clicks import add_object, cut_along, object_at, remove_objects
from napari_amvlm.review.objects import drawn_line
from napari_amvlm.wording import counted, shortened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari.layers import Image

    from napari_amvlm._qt.annotate.objects import Objects
    from napari_amvlm._qt.annotation.annotation import Annotation
    from napari_amvlm._qt.layers.mask import MaskLayer
    from napari_amvlm._qt.widgets.object_row import ObjectRow
    from napari_amvlm._qt.workspace import Workspace

_STILL = 4
"""Pixels of the screen that the mouse may move in a click."""

_COLOUR = "#ffffff"


class ObjectClicks(QObject):
    """Lets clicks add and choose objects of the mask at hand, and drawn lines cut them, while "Pick" is on.

    A click beside all objects adds the one under the pointer, or lets the chosen ones go; a click on an object chooses
    it, or lets it go; a line drawn with Shift cuts; a drag pans, as always.
    """

    def __init__(
        self, viewer: Any, workspace: Workspace, row: ObjectRow, objects: Objects, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._workspace = workspace
        self._row = row
        self._objects = objects
        self._chosen: tuple[Annotation, str] | None = None
        self._layer: MaskLayer | None = None
        self._outline: Labels | None = None
        self._bound = False
        row.valueChanged.connect(self.show_chosen)
        row.pick.toggled.connect(self._on_toggled)

    def show(self, annotation: Annotation | None, prompt: str | None) -> None:
        """Listen to clicks on another mask from now on."""
        self._chosen = paintable(annotation, prompt)
        layer = self._chosen[0].layers[self._chosen[1]] if self._chosen is not None else None
        if layer is not self._layer:
            if self._layer is not None and self._on_drag in self._layer.mouse_drag_callbacks:
                self._layer.mouse_drag_callbacks.remove(self._on_drag)
            self._bind_escape(False)
            self._layer = layer
            if layer is not None:
                layer.mouse_drag_callbacks.append(self._on_drag)
            self._bind_escape(self._row.pick.isChecked())
        self.show_chosen()

    def toggle(self) -> None:
        """Let clicks act on objects, or no more."""
        if isinstance(self._workspace.at_hand, SlideAnnotation):
            self._workspace.say("warning", READ_ONLY)
        elif self._chosen is None:
            self._workspace.say("warning", "Run a prompt first, or choose one of the list.")
        else:
            self._row.pick.toggle()

    def remove(self) -> None:
        """Remove the chosen objects."""
        picked = self._row.value()
        if not picked:
            self._workspace.say("info", "No object is chosen; click on one in click mode.")
            return
        words = counted(len(picked), "object")

        def removed(_annotation: Annotation, _prompt: str, data: np.ndarray) -> Change:
            return Change(remove_objects(data, picked), f"Removed {words}.", picks=False)

        self._objects.make(removed)

    def let_go(self) -> None:
        """Choose no object any more."""
        self._row.setValue(())

    def show_chosen(self) -> None:
        """Outline the chosen objects, and say how large they are."""
        picked = self._row.value() if self._chosen is not None else ()
        if not picked or self._chosen is None or self._chosen[0].image not in self._viewer.layers:
            self._hide()
            return
        annotation, prompt = self._chosen
        inside = np.isin(annotation.plane(prompt), picked)
        self._row.showArea(area_words(int(inside.sum()), annotation.image))
        self._show(annotation, inside)

    # Clicks

    def _on_drag(self, layer: MaskLayer, event: Any) -> Iterator[None]:
        if not self._row.pick.isChecked() or layer.mode != "pan_zoom" or event.button != 1 or self._chosen is None:
            return
        cuts, start = "Shift" in event.modifiers, np.asarray(event.pos)
        line, is_click = [self._place(layer, event)], True
        if cuts:
            layer.mouse_pan = False
        yield
        while event.type == "mouse_move":
            is_click = is_click and float(np.abs(np.asarray(event.pos) - start).max()) <= _STILL
            line.append(self._place(layer, event))
            if cuts:
                self._show(self._chosen[0], drawn_line(line, self._chosen[0].plane(self._chosen[1]).shape))
            yield
        if cuts:
            layer.mouse_pan = True
            self.cut(line)
        elif is_click:
            self.click(*(round(number) for number in line[0]))

    def click(self, row: int, column: int) -> None:
        """Do what a click on a pixel does."""
        if self._chosen is None:
            return
        annotation, prompt = self._chosen
        plane = annotation.plane(prompt)
        inside = 0 <= row < plane.shape[0] and 0 <= column < plane.shape[1]
        value = int(plane[row, column]) if inside else 0
        if value > 0:
            self._objects.pick(value)
        elif self._row.value():
            self.let_go()
        elif inside:
            self._add(row, column)

    def cut(self, line: list[tuple[float, float]]) -> None:
        """Cut every object that a line crosses."""

        def parted(_annotation: Annotation, _prompt: str, data: np.ndarray) -> Change:
            after = cut_along(data, line)
            count = len(np.unique(after)) - len(np.unique(data))
            return Change(after, f"Cut; {counted(count, 'more object')}.", picks=False)

        self._row.setValue(())
        self._hide()
        self._objects.make(parted)

    def _add(self, row: int, column: int) -> None:
        def added(annotation: Annotation, prompt: str, data: np.ndarray) -> Change:
            if prompt not in annotation.results:
                name = shortened(prompt)
                raise LabelsError(f"{name} has no probability to find an object by; run it first, or paint.")
            found = object_at(annotation.results[prompt].prediction.probability, row, column)
            after, number = add_object(data, found)
            area = area_words(int((after == number).sum()), annotation.image)
            return Change(after, f"Added an object of {area}.", picks=False)

        self._objects.make(added)

    def _place(self, layer: MaskLayer, event: Any) -> tuple[float, float]:
        row, column = layer.world_to_data(event.position)[-2:]
        return float(row), float(column)

    def _bind_escape(self, on: bool) -> None:
        """Take Esc from napari, or give it back: it ends polygons there."""
        if self._layer is not None and (on or self._bound):
            self._layer.bind_key("Escape", self._on_escape if on else None, overwrite=True)
            self._bound = on

    def _on_escape(self, layer: MaskLayer) -> None:
        layer.drop_polygon()
        if isalive(self):
            self.let_go()

    def _on_toggled(self, on: bool) -> None:
        self._bind_escape(on)
        if not on:
            self.let_go()
        words = "Click beside objects to add one, on objects to choose them; draw with Shift to cut."
        self._workspace.say("info", words if on else "Clicks act on objects no more.")

    # Outlines of what is chosen

    def _show(self, annotation: Annotation, inside: np.ndarray) -> None:
        image, layers = annotation.image, self._viewer.layers
        data = label_layers.in_stack(image, annotation.place, inside.astype(np.uint8))
        if self._outline is not None and self._outline in layers and self._outline.data.shape == data.shape:
            self._outline.data = data
            return
        self._hide()
        active = layers.selection.active
        self._outline = Labels(
            data,
            name=f"{image.name} chosen",
            colormap=DirectLabelColormap(color_dict={0: "#00000000", None: _COLOUR}),
            metadata={label_layers.OVERLAY: "chosen"},
            opacity=1.0,
            **label_layers.on_top_of(image),
        )
        self._outline.contour = max(1, round(max(inside.shape) / 300))
        self._outline.editable = False
        layers.append(self._outline)
        layers.selection.active = active

    def _hide(self) -> None:
        outline, self._outline = self._outline, None
        if outline is not None and outline in self._viewer.layers:
            self._viewer.layers.remove(outline)


def area_words(pixels: int, image: Image) -> str:
    """Return an area in pixels, and in square micrometers where the image says how large a pixel is."""
    spacing = describe_layer(image).spacing or {}
    sides = [spacing[axis] for axis in "YX" if axis in spacing]
    micrometers = [size * MICROMETERS[unit] for size, unit in sides if unit in MICROMETERS]
    if len(micrometers) < 2:
        return f"{pixels} px"
    return f"{pixels} px, {pixels * micrometers[0] * micrometers[1]:.4g} um2"
