"""Between napari layers and arrays: what an image layer must be like, and how a result is written."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels

from napari_amvlm._qt.layers.image import full_resolution, layer_kind, layer_shape
from napari_amvlm._qt.layers.mask import OPACITY, MaskLayer
from napari_amvlm.errors import ImageError, LabelsError
from napari_amvlm.imaging import MIN_SIDE
from napari_amvlm.imaging.formats.limits import LARGEST_PLANE
from napari_amvlm.wording import shortened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari.components import ViewerModel

LARGEST_STACK = 1 << 31
"""Pixels of a stack that labels are made for; of these, only slices that are drawn on take memory."""

_LISTED, _LEAST_NAME = 19, 4
"""Letters that napari's list of layers shows at 1280x800, and that are left of an image's name at least."""

OVERLAY = "napari-amvlm overlay"
"""Key in the metadata of layers that only show something: no prompt runs on them, and no result goes there."""


def images(viewer: ViewerModel) -> list[Image]:
    """Return the image layers, the topmost first."""
    return [layer for layer in reversed(viewer.layers) if isinstance(layer, Image) and not is_overlay(layer)]


def is_overlay(layer: Any) -> bool:
    """Tell whether a layer is one that only shows something of another."""
    return OVERLAY in layer.metadata


@contextlib.contextmanager
def selection_left(viewer: ViewerModel) -> Iterator[None]:
    """Insert layers without selecting each: napari lays its controls out anew for every layer that is selected."""
    layers = viewer.layers
    before, layers._activate_on_insert = layers._activate_on_insert, False
    try:
        yield
    finally:
        layers._activate_on_insert = before


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


def check_image(layer: Image) -> tuple[int, ...]:
    """Return the shape of what lies on an image layer that can be used: (H, W), of a stack (..., H, W).

    Raises
    ------
    ImageError
        It has a number of channels that is not understood, or is too small, or a stack that is too large.
    """
    shape = layer_shape(layer)
    if layer.ndim == 3 and shape[-1] == 2:
        raise ImageError(
            f"Image {layer.name!r} has 2 channels ({_times(shape)}), and 1 (gray) or 3 (RGB) were expected; "
            "split it (right-click on the layer, Split Stack) and choose one channel."
        )
    if min(shape[-2:]) < MIN_SIDE:
        raise ImageError(
            f"Image {layer.name!r} has {_times(shape[-2:])} pixels, and at least {MIN_SIDE} x {MIN_SIDE} were "
            "expected; give a larger image."
        )
    if layer.ndim > 2 and shape[-2] * shape[-1] > LARGEST_PLANE:
        raise ImageError(
            f"Image {layer.name!r} is a stack of planes of {_times(shape[-2:])} pixels, and at most "
            f"{LARGEST_PLANE // 10**6} million were expected; split it (right-click on the layer, Split Stack)."
        )
    if layer.ndim > 2 and math.prod(shape) > LARGEST_STACK:
        raise ImageError(
            f"Image {layer.name!r} is a stack of {_times(shape)} pixels, and at most {LARGEST_STACK / 1e9:.0f} billion "
            "were expected, for which labels fit into memory; open a part of it."
        )
    return shape


def check_plane(layer: Image) -> None:
    """Check that an image layer can go into a project as one image.

    Raises
    ------
    ImageError
        It is a stack or a slide.
    """
    kind, shape = layer_kind(layer), check_image(layer)
    if kind == "stack":
        raise ImageError(
            f"Image {layer.name!r} is a stack of {layer.ndim} dimensions ({_times(shape)}), of which each slice is an "
            "image of the project once something is accepted on it; accept its slices in the Annotate dock."
        )
    if kind == "slide":
        raise ImageError(
            f"Image {layer.name!r} is a slide ({_times(shape)}), of which regions are images of the project; open a "
            "region of it with Region in the Annotate dock, and accept there."
        )


def pixels(layer: Image, place: tuple[int, ...] = ()) -> np.ndarray:
    """Return the pixels of a checked layer, of a stack at `place`, (H, W) or (H, W, 3); alpha is left out."""
    data = np.asarray(full_resolution(layer)[place] if place else full_resolution(layer))
    return data[..., :3] if layer.rgb else data


def check_labels(labels: Labels, image: Image) -> None:
    """Check that a labels layer lies pixel for pixel on an image.

    Raises
    ------
    LabelsError
        It has levels, or another shape.
    """
    expected = check_image(image)
    if labels.multiscale:
        raise LabelsError(f"Labels layer {labels.name!r} has several levels, and one was expected; choose another.")
    shape = tuple(int(side) for side in labels.data.shape)
    if shape != expected:
        raise LabelsError(
            f"Labels layer {labels.name!r} has shape {_times(shape)}, but image {image.name!r} has {_times(expected)}; "
            "choose another labels layer."
        )


def new_mask(image: Image, prompt: str, data: Any = None) -> MaskLayer:
    """Return a layer for the mask of a prompt that lies on `image` exactly; it is in no viewer yet.

    Parameters
    ----------
    data
        Levels, where they are read from the disk; by default an empty mask.
    """
    return MaskLayer(
        # of a large stack, only the slices that something is written to take memory
        np.zeros(check_image(image), np.int32) if data is None else data,
        prompt=prompt,
        name=_mask_name(image.name, prompt),
        **on_top_of(image),
        multiscale=isinstance(data, list),
        opacity=OPACITY,
    )


def _mask_name(image: str, prompt: str) -> str:
    """Return a name in which the list of layers cuts the image short before the prompt."""
    prompt = shortened(prompt)
    room = max(_LEAST_NAME, _LISTED - len(prompt) - 3)
    shown = image if len(image) <= room else f"{image[: room - 1]}\N{HORIZONTAL ELLIPSIS}"
    return f"{shown} \N{MIDDLE DOT} {prompt}"


def in_stack(image: Image, place: tuple[int, ...], plane: np.ndarray) -> np.ndarray:
    """Return an array of the shape of `image` that holds `plane` (H, W) at `place` and 0 elsewhere."""
    if not place:
        return plane
    stack = np.zeros(layer_shape(image), plane.dtype)
    stack[place] = plane
    return stack


def write(
    labels: Labels,
    indices: tuple[Any, ...],
    values: np.ndarray,
    *,
    place: tuple[int, ...] = (),
    undoable: bool = True,
) -> None:
    """Write `values` at `indices` (rows, columns), of a stack at `place`; if `undoable`, as one step of undo."""
    if not values.size:
        return
    if undoable:
        labels.data_setitem((*(np.full(values.size, number) for number in place), *indices), values)
        # napari shows the change in the image alone
        labels.refresh(data_displayed=False, highlight=False, extent=False)
    else:
        labels.data[place][indices] = values
        labels.refresh(extent=False)


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(str(side) for side in shape)
