"""Which part of an image is meant by "region": shapes that were drawn, a queue item, or what is in view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Shapes

from napari_amvlm._qt.layers.camera import camera_of
from napari_amvlm._qt.layers.image import layer_shape
from napari_amvlm.errors import LabelsError
from napari_amvlm.imaging import Tile
from napari_amvlm.imports.shapes import polygon_mask

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_amvlm.project import Region


def chosen_region(
    viewer: Any, image: Image, work: Region | None, place: tuple[int, ...] = ()
) -> tuple[np.ndarray, str]:
    """Return the region as bool (H, W) of a plane, or of the slice `place` of a stack, and what it is in words.

    The shapes of the selected shapes layers, of those that were drawn on slices the ones on this slice, else the
    queue's region `work`, else what of the image is in view.

    Raises
    ------
    LabelsError
        The region does not touch the image.
    """
    height, width = layer_shape(image)[-2:]
    shape = (height, width)
    drawn = [layer for layer in viewer.layers.selection if isinstance(layer, Shapes) and len(layer.data)]
    region = np.zeros(shape, np.bool_)
    if drawn:
        words = "the drawn shapes"
        for layer in drawn:
            region |= _inside(layer, image, shape, place)
    elif work is not None:
        words = "the region of the queue"
        region[work.slices] = True
    else:
        words = "what is in view"
        _check_flat(viewer)
        first, last = _in_view(viewer, image)
        rows, columns = (slice(max(0, int(a)), max(0, int(b))) for a, b in zip(first, last, strict=True))
        region[rows, columns] = True
    if not region.any():
        raise _outside(words, image)
    return region, words


def view_box(viewer: Any, image: Image) -> Tile | None:
    """Return what of a plane is in view, pixels at full resolution; None where nothing of it is."""
    return _inside_image(image, *_in_view(viewer, image))


def chosen_box(viewer: Any, image: Image) -> tuple[Tile, str]:
    """Return the rectangle around the shapes of the selected shapes layers, else what is in view, and it in words.

    Raises
    ------
    LabelsError
        It does not touch the image.
    """
    drawn = [layer for layer in viewer.layers.selection if isinstance(layer, Shapes) and len(layer.data)]
    if drawn:
        words = "the drawn shapes"
        corners = np.concatenate([outline for layer in drawn for outline in _outlines(layer, image)])
        box = _inside_image(image, np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0)))
    else:
        _check_flat(viewer)
        words, box = "what is in view", view_box(viewer, image)
    if box is None:
        raise _outside(words, image)
    return box, words


def _check_flat(viewer: Any) -> None:
    if viewer.dims.ndisplay == 3:
        raise LabelsError("The view is in 3D, so that what is in view is no region; switch to 2D, or draw a shape.")


def _inside_image(image: Image, first: np.ndarray, last: np.ndarray) -> Tile | None:
    height, width = layer_shape(image)[-2:]
    top, left = (int(max(0, place)) for place in first)
    bottom, right = int(min(height, last[0])), int(min(width, last[1]))
    return Tile(top, left, bottom - top, right - left) if bottom > top and right > left else None


def _outside(words: str, image: Image) -> LabelsError:
    return LabelsError(f"The region ({words}) lies outside of image {image.name!r}; move it onto the image.")


def _inside(layer: Shapes, image: Image, shape: tuple[int, int], place: tuple[int, ...]) -> np.ndarray:
    """Return the pixels of a slice of `image` inside the shapes of a layer, wherever either lies."""
    region = np.zeros(shape, np.bool_)
    for outline in _outlines(layer, image, place):
        if len(outline) > 2:
            # napari has the centre of a pixel at whole numbers, `polygon_mask` its corner
            region |= polygon_mask([outline[:, ::-1] + 0.5], shape)
    return region


def _outlines(layer: Shapes, image: Image, place: tuple[int, ...] = ()) -> list[np.ndarray]:
    """Return the outline of each shape on the slice `place`, (points, 2), in pixels of `image`.

    A layer of shapes with two axes holds for all slices.
    """
    found = []
    for corners, kind in zip(layer.data, layer.shape_type, strict=True):
        outline = _ellipse(np.asarray(corners)) if kind == "ellipse" else np.asarray(corners)
        points = np.array([image.world_to_data(layer.data_to_world(point)) for point in outline])
        if place and layer.ndim == points.shape[1] and not np.all(np.rint(points[:, :-2]) == place):
            continue
        found.append(points[:, -2:])
    return found


def _ellipse(corners: np.ndarray) -> np.ndarray:
    """Return the outline of an ellipse that napari describes by the corners of the box around it."""
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)[:, None]
    half, other = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    return np.asarray(corners.mean(axis=0) + np.cos(angle) * half + np.sin(angle) * other)


def _in_view(viewer: Any, image: Image) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and last row and column of the image that the canvas shows."""
    camera = camera_of(viewer)
    half = np.asarray(viewer.canvas.size, float) / camera.zoom / 2
    centre = np.asarray(camera.center[-2:], float)
    places = np.empty((4, 2))
    for number, side in enumerate(((-1, -1), (-1, 1), (1, -1), (1, 1))):
        corner = np.array(viewer.dims.point, float)
        corner[list(viewer.dims.displayed[-2:])] = centre + half * side  # the camera knows the axes as they are shown
        places[number] = image.world_to_data(corner)[-2:]
    return np.floor(places.min(axis=0)), np.ceil(places.max(axis=0)) + 1
