"""What the demonstration shows: the window with the dock, and the sample's images in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_amvlm._qt.main_dock import NAME, MainDock
from napari_amvlm._qt.workspace import workspace_for
from napari_amvlm._sample_data import sample_folder
from napari_amvlm.errors import AmvlmError
from napari_amvlm.imaging import read_folder, read_image, read_mask

if TYPE_CHECKING:
    from pathlib import Path

    import napari
    import numpy as np
    from numpy.typing import NDArray

    from napari_amvlm.imaging import ImagePair

PROMPT = "nuclei"
"""What the model knows."""

NEW_PROMPT = "pink tissue"
"""What it was never taught: cytoplasm and stroma, all of the tissue that is no nucleus."""


def add_dock(viewer: napari.Viewer, model: str | Path | None) -> MainDock:
    """Add the dock, and load a model."""
    workspace_for(viewer).load_model(model)
    dock = MainDock(viewer)
    viewer.window.add_dock_widget(dock, name=NAME, area="right")
    return dock


def sample_pairs() -> list[ImagePair]:
    """Return the images of the sample, and where their masks are."""
    return list(read_folder(sample_folder(PROMPT)).pairs)


def true_mask(pair: ImagePair) -> NDArray[np.bool_]:
    """Return the nuclei of a sample image, `(H, W)`.

    Raises
    ------
    AmvlmError
        The sample is not complete.
    """
    if pair.mask is None:
        raise AmvlmError(f"Sample image {pair.name} has no mask; install napari-amvlm again.")
    return read_mask(pair.mask) > 0


def add_image(viewer: napari.Viewer, pair: ImagePair) -> None:
    """Add a sample image as a layer called by its name."""
    image = read_image(pair.image)
    viewer.add_image(image.data, name=pair.name, rgb=image.rgb, metadata={"path": str(pair.image)})


def show_only(viewer: napari.Viewer, name: str) -> None:
    """Show one image, and make it the active layer, so that its masks are shown."""
    for layer in viewer.layers:
        layer.visible = layer.name == name
    viewer.layers.selection.active = viewer.layers[name]
    viewer.fit_to_view(layers=[viewer.layers[name]])
