"""The plane in which the slices of a volume lie, and the way back to the axes of its file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_amvlm.errors import ImageError
from napari_amvlm.imaging.image_data import Turn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_amvlm.imaging.image_data import ImageData

Plane = Literal["acquired", "axial", "coronal", "sagittal"]

_SPATIAL = "ZYX"
_SIDES = ("LR", "PA", "SI")
_PLANES: dict[Plane, str] = {"sagittal": "RIP", "coronal": "PIL", "axial": "SPL"}
"""What Z, Y and X grow towards in each plane, as in a sorted DICOM series; in the order of `_SIDES`."""
_TIE = 0.99
"""Distances that differ by less than 1 % are equal."""
_FEW = 4
"""An axis with so many times fewer slices than the others is that of the slices."""


def in_plane(image: ImageData, plane: Plane) -> ImageData:
    """Return a volume whose slices lie in `plane`, turned as radiologists look at it; nothing is resampled.

    Parameters
    ----------
    image
        A volume. Smaller levels are dropped where axes move.
    plane
        "acquired" returns the image as it is.

    Raises
    ------
    ImageError
        The image is one plane, or its file does not say how it lies in the patient.
    """
    if plane == "acquired":
        return image
    if "Z" not in image.axes or len(image.orientation) != 3:
        reason = "it is one plane" if "Z" not in image.axes else "its file does not say where left, front and head are"
        raise ImageError(f"{image.path or image.name} cannot be cut into {plane} slices, because {reason}.")
    return _turned_to(image, _PLANES[plane])


def plane_of(orientation: str) -> Plane | None:
    """Return the plane of slices whose Z, Y and X grow towards these sides; None where they are not three.

    Examples
    --------
    >>> plane_of("SPL"), plane_of("RIP"), plane_of("PL")
    ('axial', 'sagittal', None)
    """
    return [*_PLANES][_side_number(orientation[0])] if len(orientation) == len(_SPATIAL) else None


def in_acquired_plane(image: ImageData, slice_axis: str | None = None) -> ImageData:
    """Return a volume whose slices lie in its two finest axes.

    Parameters
    ----------
    image
        A volume with the axes of its file.
    slice_axis
        The letter of the axis that the file names as that of the slices; it decides where distances are equal. Without
        it, equal distances give the plane across the axis that has far fewer slices than the others, else axial ones.
    """
    lengths = dict(zip(image.axes, image.data.shape, strict=False))
    across = _slice_axis(image, lengths, slice_axis)
    if not image.orientation:
        first = _SPATIAL.index(across)
        return _reordered(image, Turn((first, *(n for n in range(3) if n != first)), (False,) * 3), "")
    side = image.orientation[_SPATIAL.index(across)]
    return _turned_to(image, [*_PLANES.values()][_side_number(side)])


def _slice_axis(image: ImageData, lengths: Mapping[str, int], named: str | None) -> str:
    """Return the letter of the axis across the plane in which a volume was acquired."""
    sizes = dict(zip(image.axes, image.scale, strict=True))
    largest = max(sizes[axis] for axis in _SPATIAL)
    single = [axis for axis in _SPATIAL if lengths[axis] == 1]
    coarse = single or [axis for axis in _SPATIAL if sizes[axis] >= _TIE * largest]
    if len(coarse) == 1:
        return coarse[0]
    if named in coarse:
        return str(named)
    fewest = min(coarse, key=lambda axis: lengths[axis])
    if _FEW * lengths[fewest] <= min(lengths[axis] for axis in _SPATIAL if axis != fewest):
        return fewest
    sides = dict(zip(_SPATIAL, image.orientation or "SPL", strict=True))
    return next((axis for axis in coarse if sides[axis] in "SI"), coarse[0])


def to_file_axes(array: NDArray[Any], image: ImageData) -> NDArray[Any]:
    """Return `array`, which has the axes of `image` (without colours), with the axes of the image's file.

    Returns
    -------
    ndarray
        Axes before Z, then the file's own slowest to fastest spatial axis; `array` itself where nothing was turned.
    """
    turn = image.turn
    if turn is None:
        return array
    if "Z" not in image.axes:
        array = np.expand_dims(array, image.axes.index("Y"))
    lead = array.ndim - 3
    mirrored = tuple(slice(None, None, -1) if flipped else slice(None) for flipped in turn.mirrored)
    back = np.argsort(turn.axes)
    return array[(..., *mirrored)].transpose(*range(lead), *(lead + int(axis) for axis in back))


def from_file_axes(array: NDArray[Any], image: ImageData) -> NDArray[Any]:
    """Return what `to_file_axes` was given: an array with the axes of `image`, of one with the axes of its file."""
    turn = image.turn
    if turn is None:
        return array
    lead = array.ndim - 3
    moved = array.transpose(*range(lead), *(lead + axis for axis in turn.axes))
    moved = moved[(..., *(slice(None, None, -1) if flipped else slice(None) for flipped in turn.mirrored))]
    return moved if "Z" in image.axes else moved[(slice(None),) * lead + (0,)]


def without_single_axes(image: ImageData) -> ImageData:
    """Return a volume without a single time, and without the axis of the slices where there is one slice."""
    if image.axes.startswith("T") and image.data.shape[0] == 1:
        image = replace(image, data=image.data[0], axes="ZYX")
    across = image.axes.index("Z")
    if image.data.shape[across] > 1:
        return image
    return replace(
        image,
        data=image.data[(slice(None),) * across + (0,)],
        axes=image.axes.replace("Z", ""),
        spacing={axis: distance for axis, distance in (image.spacing or {}).items() if axis != "Z"},
        orientation=image.orientation[1:],
    )


def _turned_to(image: ImageData, wanted: str) -> ImageData:
    """Return a volume whose Z, Y and X grow towards the sides `wanted`."""
    numbers = [_side_number(letter) for letter in image.orientation]
    axes = [numbers.index(_side_number(letter)) for letter in wanted]
    mirrored = tuple(image.orientation[axis] != letter for axis, letter in zip(axes, wanted, strict=True))
    return _reordered(image, Turn((axes[0], axes[1], axes[2]), (mirrored[0], mirrored[1], mirrored[2])), wanted)


def _reordered(image: ImageData, turn: Turn, orientation: str) -> ImageData:
    """Return a volume whose spatial axes are moved and mirrored, with the sum of this turn and the one before."""
    first = image.axes.index("Z")
    order = [*range(first), *(first + axis for axis in turn.axes), *range(first + 3, image.data.ndim)]
    mirrored = tuple(slice(None, None, -1) if flipped else slice(None) for flipped in turn.mirrored)
    data = image.data.transpose(order)[(slice(None),) * first + mirrored]
    before = image.turn or Turn()
    total = Turn(
        tuple(before.axes[axis] for axis in turn.axes),
        tuple(before.mirrored[axis] != flipped for axis, flipped in zip(turn.axes, turn.mirrored, strict=True)),
    )
    given = dict(image.spacing or {})
    moved = {new: given[_SPATIAL[old]] for new, old in zip(_SPATIAL, turn.axes, strict=True) if _SPATIAL[old] in given}
    others = {axis: distance for axis, distance in given.items() if axis not in _SPATIAL}
    smaller = image.smaller if turn == Turn() else ()
    return replace(
        image,
        data=data,
        smaller=smaller,
        spacing=others | moved,
        orientation=orientation or image.orientation,
        turn=total,
    )


def _side_number(letter: str) -> int:
    """Return 0 for left and right, 1 for front and back, 2 for feet and head."""
    return next(number for number, sides in enumerate(_SIDES) if letter in sides)
