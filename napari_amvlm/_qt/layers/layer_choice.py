"""A list of the viewer's images that keeps up with the viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import QObject, QSignalBlocker, Signal

from napari_amvlm._qt.layers.labels import images

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image
    from qtpy.QtWidgets import QComboBox


class LayerChoice(QObject):
    """Fills a combo box with the image layers, the topmost first.

    Signals
    -------
    changed
        Another image is chosen, by the person or because the one chosen has gone.
    """

    changed = Signal()

    def __init__(self, box: QComboBox, viewer: ViewerModel) -> None:
        super().__init__(box)
        self._box = box
        self._viewer = viewer
        self._layers: list[Image] = []
        viewer.layers.events.inserted.connect(self._on_layers)
        viewer.layers.events.removed.connect(self._on_layers)
        viewer.layers.events.reordered.connect(self._on_layers)
        box.currentIndexChanged.connect(self.changed)
        self._refill()

    def current(self) -> Image | None:
        """Return the chosen layer; None where there is none."""
        index = self._box.currentIndex()
        return self._layers[index] if 0 <= index < len(self._layers) else None

    def choose(self, layer: Image | None) -> None:
        """Choose a layer, if it is listed."""
        if layer in self._layers:
            self._box.setCurrentIndex(self._layers.index(layer))

    def _topmost_in_view(self) -> Image | None:
        return next((layer for layer in self._layers if layer.visible), None)

    def _on_layers(self, event: Any) -> None:
        if isalive(self):
            self._refill()

    def _on_renamed(self, event: Any) -> None:
        if isalive(self):
            self._refill(renamed=True)

    def _refill(self, *, renamed: bool = False) -> None:
        chosen, before = self.current(), self._layers
        self._layers = images(self._viewer)
        if self._layers == before and not renamed:
            return
        for layer in before:
            if layer not in self._layers:
                layer.events.name.disconnect(self._on_renamed)
        for layer in self._layers:
            if layer not in before:
                layer.events.name.connect(self._on_renamed)
        with QSignalBlocker(self._box):
            self._box.clear()
            self._box.addItems([layer.name for layer in self._layers])
            self.choose(chosen if chosen in self._layers else self._topmost_in_view())
        if self.current() is not chosen:
            self.changed.emit()
