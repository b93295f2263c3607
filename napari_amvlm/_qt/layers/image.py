"""Image layers of any kind as one description of an image: planes, slides with levels, stacks, lazy or not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_amvlm.imaging.formats.limits import LARGEST_PLANE
from napari_amvlm.imaging.image_data import ImageData

if TYPE_CHECKING:
    from napari.layers import Image

LayerKind = Literal["plane", "slide", "stack"]

_LEADING = "TZ"
"""What the axes before Y and X are called where the layer does not say."""


CUT_FROM = "cut_from"
"""Key in the metadata of a layer that was cut out of a slide: its `SlidePlace`."""


def layer_kind(layer: Image) -> LayerKind:
    """Tell how a layer is worked through: in one look, block by block, or slice by slice."""
    if layer.ndim > 2:
        return "stack"
    height, width = layer_shape(layer)
    return "slide" if layer.multiscale or height * width > LARGEST_PLANE else "plane"


def layer_shape(layer: Image) -> tuple[int, ...]:
    """Return the lengths of a layer's axes at full resolution, without colour."""
    return tuple(int(side) for side in full_resolution(layer).shape[: layer.ndim])


def full_resolution(layer: Image) -> Any:
    """Return the data of a layer, the finest level of a pyramid."""
    return layer.data[0] if layer.multiscale else layer.data


def layer_path(layer: Image) -> Path | None:
    """Return the file that a layer was read from, where it is known."""
    path = layer.source.path or layer.metadata.get("path")
    return Path(path) if path else None


def describe_layer(layer: Image) -> ImageData:
    """Return the image of a layer; nothing of it is read."""
    levels = [_lazy(level) for level in (layer.data if layer.multiscale else [layer.data])]
    axes = axis_letters(layer)
    spacing = {axis: (float(size), str(unit)) for axis, size, unit in zip(axes, layer.scale, layer.units, strict=True)}
    return ImageData(
        data=levels[0],
        name=layer.name,
        path=layer_path(layer),
        rgb=bool(layer.rgb),
        axes=axes,
        spacing=spacing,
        smaller=tuple(levels[1:]),
    )


def axis_letters(layer: Image) -> str:
    """Return a letter for each axis but colour; the last two are always Y and X."""
    leading = layer.ndim - 2
    named = [label.upper() for label in layer.axis_labels[:leading]]
    if any(len(name) != 1 or not name.isalpha() or name in "YX" for name in named) or len(set(named)) < leading:
        named = list("QPRSUVW"[: max(0, leading - 2)] + _LEADING[max(0, 2 - leading) :])
    return "".join(named) + "YX"


def place_words(layer: Image, place: tuple[int, ...]) -> str:
    """Return for instance "t2 z7"; empty for a plane."""
    return " ".join(f"{axis.lower()}{number}" for axis, number in zip(axis_letters(layer), place, strict=False))


def place_in_view(viewer: Any, layer: Image) -> tuple[int, ...]:
    """Return which slice of a stack the viewer stands at, a number for each axis before Y and X."""
    leading = layer.ndim - 2
    if leading <= 0:
        return ()
    here = layer.world_to_data(viewer.dims.point)
    lengths = layer_shape(layer)
    return tuple(int(np.clip(round(float(here[i])), 0, lengths[i] - 1)) for i in range(leading))


def is_seen_from_the_side(viewer: Any, layer: Image) -> bool:
    """Tell whether the viewer shows other planes of a stack than those of its last two axes."""
    return layer.ndim > 2 and set(viewer.dims.displayed[-2:]) != {viewer.dims.ndim - 2, viewer.dims.ndim - 1}


def _lazy(level: Any) -> Any:
    """Return a level as a numpy array or a dask array, which is what slides are read from."""
    if isinstance(level, np.ndarray):
        return level
    import dask.array as da

    if isinstance(level, da.Array):
        return level
    chunks = getattr(level, "chunks", None) or "auto"
    return da.from_array(level, chunks=chunks, name=False, asarray=True, fancy=False)
