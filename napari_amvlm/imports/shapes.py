"""Pixels out of polygons and run lengths, as COCO and GeoJSON have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.errors import LabelsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


def polygon_mask(rings: Sequence[ArrayLike], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the pixels whose centre lies inside a polygon, bool `shape`; what lies outside the image is cut off.

    Parameters
    ----------
    rings
        `(N, 2)` each, points `(x, y)` where the pixel in row r and column c is the square from (c, r) to
        (c + 1, r + 1): the outer ring first, then holes.
    shape
        Height and width of the image.

    Raises
    ------
    LabelsError
        A ring has fewer than three points, or a coordinate is no finite number.

    Examples
    --------
    >>> polygon_mask([[(0, 0), (2, 0), (2, 1), (0, 1)]], (2, 3)).astype(int)
    array([[1, 1, 0],
           [0, 0, 0]])
    """
    from skimage.draw import polygon

    mask = np.zeros(shape, np.bool_)
    for number, ring in enumerate(rings):
        points = _points(ring)
        # Pixel centres are whole numbers to the drawing function, and halves here.
        rows, columns = polygon(points[:, 1] - 0.5, points[:, 0] - 0.5, shape)
        mask[rows, columns] = number == 0
    return mask


def _points(ring: ArrayLike) -> NDArray[np.float64]:
    try:
        points = np.asarray(ring, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise LabelsError("a polygon must be a list of points (x, y), but it is not: export it again.") from error
    if points.ndim != 2 or points.shape[1] < 2 or len(points) < 3:
        raise LabelsError(f"a polygon needs at least three points (x, y), but has the shape {points.shape}: redraw it.")
    if not np.isfinite(points).all():
        raise LabelsError("a polygon has a coordinate that is no finite number: redraw it.")
    return points


def run_length_mask(counts: Sequence[int], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the mask of COCO's run lengths: down the columns, background first.

    Raises
    ------
    LabelsError
        The runs do not make up the image.

    Examples
    --------
    >>> run_length_mask([3, 2, 1], (3, 2)).astype(int)
    array([[0, 1],
           [0, 1],
           [0, 0]])
    """
    runs = np.asarray(counts, dtype=np.int64)
    pixels = shape[0] * shape[1]
    if runs.ndim != 1 or (runs < 0).any() or runs.sum() != pixels:
        raise LabelsError(f"run lengths must add up to {pixels} pixels, but give {runs.sum()}: export them again.")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(shape[1], shape[0]).T


def decode_counts(text: str) -> list[int]:
    """Return the run lengths that COCO packs into a string.

    Each number is five bits a character, from the lowest on; a sixth bit says that more follow, and the last one's top
    bit is the sign. From the third on, the difference to the number two places before is stored.

    Raises
    ------
    LabelsError
        The string is cut off, or holds other characters.

    Examples
    --------
    >>> decode_counts("321")
    [3, 2, 4]
    """
    counts: list[int] = []
    value, shift = 0, 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise LabelsError(f"packed run lengths hold {character!r}, which they cannot: export them again.")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value, shift = 0, 0
    if shift:
        raise LabelsError("packed run lengths are cut off: export them again.")
    return counts
