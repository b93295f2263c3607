"""Between napari layers and arrays: what an image layer must be like, and how a result is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from napari.utils.colormaps import label_colormap

from napari_amvlm.errors import ImageError, LabelsError

if TYPE_CHECKING:
    from napari.components import ViewerModel

SUFFIX = " masks"
"""Ends the name of a labels layer that holds results."""

OVERLAY = "napari-amvlm overlay"
"""Key in the metadata of layers that only show something: no prompt runs on them, and no result goes there."""

COLOURS = 49
COLOUR_SEED = 0.475
"""Give label 1 a yellow that stands out on stained tissue and on gray images, and 2 to 4 other hues."""


def images(viewer: ViewerModel) -> list[Image]:
    """Return the image layers, the topmost first."""
    return [layer for layer in reversed(viewer.layers) if isinstance(layer, Image) and not is_overlay(layer)]


def is_overlay(layer: Any) -> bool:
    """Tell whether a layer is one that only shows something of another."""
    return OVERLAY in layer.metadata


def on_top_of(image: Image) -> dict[str, Any]:
    """Return what makes a new layer lie on `image` exactly, however it is moved, turned or sheared."""
    return {
        "scale": image.scale,
        "translate": image.translate,
        "rotate": image.rotate,
        "shear": image.shear,
        "affine": image.affine,
        "units": image.units,
        "axis_labels": image.axis_labels,
    }


def check_image(layer: Image) -> tuple[int, int]:
    """Return height and width of an image layer that can be used.

    Raises
    ------
    ImageError
        It is multiscale, a stack, or has a number of channels that is not understood.
    """
    if layer.multiscale:
        raise ImageError(
            f"Image {layer.name!r} is a multiscale pyramid with {len(layer.data)} levels, which cannot be used yet; "
            "open one of its levels as a plain image."
        )
    shape = tuple(int(side) for side in layer.data.shape)
    if layer.ndim != 2:
        if len(shape) == 3 and 2 in (shape[0], shape[-1]):
            raise ImageError(
                f"Image {layer.name!r} has 2 channels ({_times(shape)}), and 1 (gray) or 3 (RGB) were expected; "
                "split it (right-click on the layer, Split Stack) and choose one channel."
            )
        raise ImageError(
            f"Image {layer.name!r} is a stack of {layer.ndim} dimensions ({_times(shape)}), and a single 2-D image was "
            "expected; split it (right-click on the layer, Split Stack) and choose one plane."
        )
    return shape[0], shape[1]


def pixels(layer: Image) -> np.ndarray:
    """Return the pixels of a checked layer, (H, W) or (H, W, 3); an alpha channel is left out."""
    data = np.asarray(layer.data)
    return data[..., :3] if layer.rgb else data


def check_labels(labels: Labels, image: Image) -> None:
    """Check that results for `image` can be written to `labels`.

    Raises
    ------
    LabelsError
        Its shape is another, or it cannot be edited.
    """
    expected = check_image(image)
    if labels.multiscale:
        raise LabelsError(
            f"Labels layer {labels.name!r} is multiscale and cannot be edited; choose another or a new one."
        )
    shape = tuple(int(side) for side in labels.data.shape)
    if shape != expected:
        raise LabelsError(
            f"Labels layer {labels.name!r} has shape {_times(shape)}, but image {image.name!r} has {_times(expected)}; "
            "choose another labels layer or a new one."
        )
    if not isinstance(labels.data, np.ndarray) or not labels.data.flags.writeable:
        raise LabelsError(
            f"Labels layer {labels.name!r} lies in a read-only or delayed array and cannot be edited; choose a new one."
        )


def add_labels(viewer: ViewerModel, image: Image) -> Labels:
    """Add an empty labels layer that lies on `image` exactly, however it is moved, turned or sheared."""
    layer = Labels(
        np.zeros(check_image(image), np.int32),
        name=image.name + SUFFIX,
        **on_top_of(image),
        opacity=0.55,
        colormap=label_colormap(COLOURS, seed=COLOUR_SEED, background_value=0),
    )
    index = viewer.layers.index(image) + 1
    viewer.layers.insert(index, layer)
    return layer


def write(labels: Labels, indices: tuple[Any, ...], values: np.ndarray) -> None:
    """Write `values` at `indices` as one step of undo.

    Raises
    ------
    LabelsError
        The layer's number format is too small for a value.
    """
    if not values.size:
        return
    largest = np.iinfo(labels.data.dtype).max
    if int(values.max()) > largest:
        raise LabelsError(
            f"Labels layer {labels.name!r} holds values up to {largest} ({labels.data.dtype}), but {int(values.max())} "
            "are needed; choose a new labels layer."
        )
    labels.data_setitem(indices, values)


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(str(side) for side in shape)
