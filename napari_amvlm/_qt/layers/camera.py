"""The camera of a viewer, and a view that stays fitted until a person moves it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from qtpy.compat import isalive
from qtpy.QtCore import QObject

from napari_amvlm._qt.layers.image import CUT_FROM
from napari_amvlm._qt.layers.labels import is_overlay
from napari_amvlm._qt.timers import single_shot

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.layers import Layer

_FITTED = 0.95
"""Share of the canvas that a fitted layer fills, as in napari."""


def camera_of(viewer: Any) -> Any:
    """Return the camera, wherever this version of napari keeps it."""
    return getattr(viewer, "scene", viewer).camera


def fit_to_view(viewer: Any, layers: Sequence[Layer]) -> None:
    """Fit some layers to the canvas, also planes beside a stack, at which the function of napari fails."""
    if max(layer.ndim for layer in layers) == viewer.dims.ndim:
        viewer.fit_to_view(layers=layers)
        return
    extents = [layer.extent for layer in layers]
    first = np.min([extent.world[0, -2:] for extent in extents], axis=0)
    last = np.max([extent.world[1, -2:] for extent in extents], axis=0)
    pixel = np.max([extent.step[-2:] for extent in extents], axis=0)
    camera = camera_of(viewer)
    camera.center = tuple((first + last) / 2)
    camera.zoom = _FITTED * float(np.min(np.asarray(viewer.canvas.size) / (last - first + pixel)))
    viewer.events.reset_view(center=camera.center, zoom=camera.zoom, angles=camera.angles)


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
        self._timer = single_shot(self, 0, self._fit_new)
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.events.reset_view.connect(self._on_fitted)
        viewer.canvas.events.size.connect(self._on_resized)
        self._find_fitted()

    def fit(self, layers: Sequence[Layer] | None = None) -> None:
        """Fit some layers, or all visible ones, to the canvas."""
        wanted = [layer for layer in layers or self._viewer.layers if layer in self._viewer.layers]
        shown = [layer for layer in wanted if layers or layer.visible]
        if shown:
            fit_to_view(self._viewer, shown)
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
            self._timer.start()

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
