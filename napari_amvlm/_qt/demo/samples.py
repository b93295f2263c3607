"""The commands behind File > Open Sample: the sample's layers, and a view that shows all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import napari

from napari_amvlm import _sample_data

if TYPE_CHECKING:
    from napari_amvlm._sample_data import LayerData


def nuclei() -> list[LayerData]:
    """Return the stained tissue tiles, side by side."""
    return _fitted(_sample_data.nuclei())


def lungs() -> list[LayerData]:
    """Return the chest X-rays, side by side."""
    return _fitted(_sample_data.lungs())


def spine() -> list[LayerData]:
    """Return the spine MR slices, side by side."""
    return _fitted(_sample_data.spine())


def _fitted(layers: list[LayerData]) -> list[LayerData]:
    """Have the viewer that is about to add `layers` show all of them; by itself it would show the first alone."""
    viewer = napari.current_viewer()
    if viewer is None:
        return layers
    wanted = len(viewer.layers) + len(layers)

    def fit(_event: Any) -> None:
        if len(viewer.layers) >= wanted:
            viewer.layers.events.inserted.disconnect(fit)
            viewer.reset_view()

    viewer.layers.events.inserted.connect(fit)
    return layers
