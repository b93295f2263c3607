"""The camera of a viewer, and a view that stays fitted until a person moves it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer

from napari_amvlm._qt.layers.image import CUT_FROM
from napari_amvlm._qt.layers.labels import is_overlay

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.layers import Layer


def camera_of(viewer: Any) -> Any:
    """Return the camera, wherever this version of napari keeps it."""
    return getattr(viewer, "scene", viewer).camera


class FittedView(QObject):
    """Fits new images to the canvas, and keeps a fitted view fitted when the canvas changes its size.

    Once a person has moved the camera, nothing moves it until the next fit.

    Parameters
    ----------
    viewer : napari.Viewer
    is_known : callable
        Tells of an image layer whether something else has chosen the view of it already.
    """

    def __init__(self, viewer: Any, is_known: Callable[[Image], bool], parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._is_known = is_known
        self._new: list[Image] = []
        self._fitted: tuple[Any, ...] | None = None
        self._layers: Sequence[Layer] | None = None
        # once for all images that are added at a time, and after the layout has settled
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._fit_new)
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.events.reset_view.connect(self._on_fitted)
        viewer.canvas.events.size.connect(self._on_resized)
        self._find_fitted()

    def fit(self, layers: Sequence[Layer] | None = None) -> None:
        """Fit some layers, or all visible ones, to the canvas."""
        wanted = [layer for layer in layers or self._viewer.layers if layer in self._viewer.layers]
        shown = [layer for layer in wanted if layers or layer.visible]
        if shown:
            self._viewer.fit_to_view(layers=shown)
            self._layers = layers

    def _find_fitted(self) -> None:
        """Find out whether the view is fitted already: whether fitting it changes nothing."""
        camera, before = camera_of(self._viewer), self._view()
        self.fit()
        if not np.allclose(before, self._view(), rtol=0.01):
            camera.center, camera.zoom, self._fitted = before[:-1], before[-1], None

    def _on_inserted(self, event: Any) -> None:
        layer = event.value
        if not isalive(self) or not isinstance(layer, Image) or is_overlay(layer) or CUT_FROM in layer.metadata:
            return
        if not self._is_known(layer):
            self._new.append(layer)
            self._timer.start(0)

    def _fit_new(self) -> None:
        new, self._new = self._new, []
        self.fit(new)

    def _on_fitted(self, _event: Any) -> None:
        if isalive(self):
            self._fitted, self._layers = self._view(), None

    def _on_resized(self, _event: Any) -> None:
        if isalive(self) and self._fitted == self._view():
            self.fit(self._layers)

    def _view(self) -> tuple[Any, ...]:
        camera = camera_of(self._viewer)
        return (*camera.center, camera.zoom)
