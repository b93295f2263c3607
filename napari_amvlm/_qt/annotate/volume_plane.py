"""The plane of a volume, which a person may choose: the volume is shown again, cut the other way."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject

from napari_amvlm._qt.layers.image import describe_layer
from napari_amvlm._qt.layers.labels import images
from napari_amvlm._reader import image_layers
from napari_amvlm.imaging import in_plane, plane_of

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_amvlm._qt.layers.layer_choice import LayerChoice
    from napari_amvlm._qt.widgets.plane_choice import PlaneChoice
    from napari_amvlm.imaging import Plane

_VOLUME = "volume"
"""Key in the metadata of a layer that shows the volume of another one: what that one is called."""


class VolumePlane(QObject):
    """Shows the plane of the image at hand, and opens the same volume in another one.

    Parameters
    ----------
    viewer
        Gets a layer for each plane that is chosen.
    choice
        Shows the plane.
    chosen
        Knows the image at hand.
    parent
        Owner.
    """

    def __init__(self, viewer: Any, choice: PlaneChoice, chosen: LayerChoice, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer, self._choice, self._images = viewer, choice, chosen
        choice.chosen.connect(self._on_chosen)

    def show(self) -> None:
        """Show the plane of the image at hand."""
        layer = self._images.current()
        self._choice.setValue(None if layer is None else _plane(layer))

    def _on_chosen(self, plane: Plane) -> None:
        layer = self._images.current()
        if layer is None or plane == _plane(layer):
            return
        volume = layer.metadata.get(_VOLUME, layer.name)
        same = (one for one in images(self._viewer) if volume == one.metadata.get(_VOLUME, one.name))
        other = next((one for one in same if _plane(one) == plane), None) or self._cut(layer, volume, plane)
        layer.visible, other.visible = False, True
        self._viewer.layers.selection.active = other
        self._viewer.reset_view()
        self._viewer.dims.set_current_step(0, self._viewer.dims.nsteps[0] // 2)

    def _cut(self, layer: Image, volume: str, plane: Plane) -> Image:
        """Add the volume of a layer in another plane."""
        image = replace(describe_layer(layer), orientation=layer.metadata["orientation"], name=f"{volume} {plane}")
        ((data, options, _),) = image_layers(in_plane(image, plane))
        options["metadata"] = (
            layer.metadata | options["metadata"] | {_VOLUME: volume, "path": layer.metadata.get("path")}
        )
        options["contrast_limits"] = None if layer.rgb else layer.contrast_limits
        return self._viewer.add_image(data, **options)


def _plane(layer: Image) -> Plane | None:
    return plane_of(str(layer.metadata.get("orientation", ""))) if layer.ndim > 2 else None
