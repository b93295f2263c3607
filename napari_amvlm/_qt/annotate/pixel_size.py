"""The magnification that the pixel size of an image asks for, shown where a person can set another one."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject

from napari_amvlm._qt.layers.image import describe_layer, layer_kind, layer_path
from napari_amvlm.imaging import file_spacing, magnification_by_spacing
from napari_amvlm.imaging.structure_size import ESTIMATE_DOUBT, estimated_magnification

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_amvlm._qt.annotate.panel import AnnotatePanel
    from napari_amvlm._qt.layers.layer_choice import LayerChoice
    from napari_amvlm._qt.widgets.scale_choice import ScaleSettings
    from napari_amvlm._qt.workspace import Workspace


class PixelSize(QObject):
    """Sets the magnification by the pixel size of the image at hand, until a person sets it for that image.

    Parameters
    ----------
    workspace
        Its model knows the pixel size that it was taught at.
    panel
        Shows the magnification.
    images
        Knows the image at hand.
    parent
        Owner.
    """

    def __init__(self, workspace: Workspace, panel: AnnotatePanel, images: LayerChoice, parent: QObject) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self._scale = panel.scale
        self._images = images
        self._by_size: weakref.WeakKeyDictionary[Image, tuple[str, float | None]] = weakref.WeakKeyDictionary()
        self._by_hand: weakref.WeakKeyDictionary[Image, float] = weakref.WeakKeyDictionary()
        self._shown: weakref.ref[Image] | None = None
        self._is_automatic = False
        self._estimate: float | None = None
        panel.scale.valueChanged.connect(self._on_changed)
        panel.scale.estimateAsked.connect(self._on_estimate)
        workspace.modelChanged.connect(self._on_model_changed)

    def show(self) -> None:
        """Show the magnification for the image at hand, and say so where the image is to be resized."""
        layer = self._images.current()
        if layer is None or (self._shown is not None and self._shown() is layer):
            return
        factor = self._factor(layer)
        self._estimate = None
        self._scale.estimate.setVisible(factor is None and layer_kind(layer) == "plane" and bool(layer.rgb))
        self._shown = weakref.ref(layer)
        wanted = self._by_hand.get(layer, factor)
        if wanted is None and self._is_automatic:
            wanted = 1.0
        self._is_automatic = factor is not None and layer not in self._by_hand
        self._scale.setNote(f"By the pixel size of {layer.name}: x{factor:.2f}" if factor is not None else "")
        if wanted is None:
            return
        self._scale.setValue(replace(self._scale.value(), magnification=wanted))
        if self._is_automatic and wanted != 1.0:
            self._workspace.say(
                "info",
                f"By the pixel size of {layer.name}, tiles are looked at at x{wanted:.2f}; Scale sets another one.",
            )

    def _factor(self, layer: Image) -> float | None:
        """Return the magnification by the size that the layer has, or else its file; None where nothing says it."""
        predictor = self._workspace.predictor
        if predictor is None:
            return None
        key = self._workspace.served_key() or ""
        known = self._by_size.get(layer)
        if known is None or known[0] != key:
            taught, path = predictor.model.config.micrometers, layer_path(layer)
            factor = magnification_by_spacing(describe_layer(layer).spacing or {}, taught)
            if factor is None and path is not None:
                factor = magnification_by_spacing(file_spacing(path), taught)
            known = self._by_size[layer] = (key, factor)
        return known[1]

    def _on_changed(self, value: ScaleSettings) -> None:
        layer = self._images.current()
        factor = None if layer is None else self._factor(layer)
        if layer is None or factor is None:
            return
        self._is_automatic = round(factor, 2) == value.magnification
        if self._is_automatic:
            self._by_hand.pop(layer, None)
        else:
            self._by_hand[layer] = value.magnification

    def _on_estimate(self) -> None:
        """Offer an estimate; use it when it is asked for again."""
        layer, predictor = self._images.current(), self._workspace.predictor
        if layer is None or predictor is None:
            return
        if self._estimate is not None:
            self._scale.setValue(replace(self._scale.value(), magnification=self._estimate))
            self._scale.valueChanged.emit(self._scale.value())
            self._workspace.say("info", f"Tiles of {layer.name} are looked at at x{self._estimate:.2f}.")
            return
        self._estimate = estimated_magnification(np.asarray(layer.data), predictor.model.config.micrometers)
        if self._estimate is None:
            self._workspace.say("info", f"{layer.name} is too small or too even to estimate its magnification.")
            return
        self._workspace.say(
            "info",
            f"By the size of its structures, x{self._estimate:.2f} may fit {layer.name}; {ESTIMATE_DOUBT}. "
            "Click ? again to use it.",
        )

    def _on_model_changed(self) -> None:
        self._shown = None
        self.show()
