"""Pixels out of polygons and run lengths, as COCO and GeoJSON have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.errors import LabelsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


Area = tuple[tuple[slice, slice], "NDArray[np.bool_]"]
"""A part of an image and its pixels in there: of the many objects of a large image, none takes all of it."""

_FARTHEST = 1e9
"""Pixels; no image reaches so far, and beyond it halves are not exact any more."""
_CROSSINGS_AT_ONCE = 1 << 20
_MOST_BITS = 65
"""Of one packed run length."""


def polygon_mask(
    rings: Sequence[ArrayLike], shape: tuple[int, int], corner: tuple[int, int] = (0, 0)
) -> NDArray[np.bool_]:
    """Return the pixels whose centre lies inside a polygon, bool `shape`; what lies outside the image is cut off.

    Parameters
    ----------
    rings
        `(N, 2)` each, points `(x, y)` where the pixel in row r and column c is the square from (c, r) to
        (c + 1, r + 1): the outer ring first, then holes.
    corner
        Row and column of the first pixel, where points count from elsewhere.

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
    mask = np.zeros(shape, np.bool_)
    for number, ring in enumerate(rings):
        points = _points(ring) - corner[::-1]
        # Pixel centres are halves: a row or column is touched where its centre lies from one end to before the other.
        low, high = (np.clip(np.ceil(f(points, axis=0) - 0.5), 0, shape[::-1]).astype(int) for f in (np.min, np.max))
        box = mask[low[1] : high[1], low[0] : high[0]]
        box[_inside(points - low, box.shape)] = number == 0
    return mask


def polygon_area(ring: ArrayLike, shape: tuple[int, int]) -> Area:
    """Return the pixels of a polygon without holes, as `polygon_mask` does, in the part of the image that it covers."""
    rows, columns = window_of([ring], shape)
    return (rows, columns), polygon_mask([ring], _lengths(rows, columns), (rows.start, columns.start))


def whole_area(mask: NDArray[np.bool_]) -> Area:
    """Return a mask that is given for all of an image."""
    return (slice(0, mask.shape[0]), slice(0, mask.shape[1])), mask


def window_of(
    rings: Sequence[ArrayLike], shape: tuple[int, int], corner: tuple[int, int] = (0, 0)
) -> tuple[slice, slice]:
    """Return the part of an image that polygons may cover; all of it where their points cannot be understood.

    Examples
    --------
    >>> window_of([[(1.5, 0), (2, 0), (2, 9)]], (2, 3))
    (slice(0, 2, None), slice(1, 2, None))
    """
    try:
        points = np.concatenate([np.asarray(ring, np.float64)[:, :2] for ring in rings]) - corner[::-1]
        low, high = np.floor(points.min(axis=0)), np.ceil(points.max(axis=0))
    except (TypeError, ValueError, IndexError, OverflowError):
        return slice(0, shape[0]), slice(0, shape[1])
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        return slice(0, shape[0]), slice(0, shape[1])
    (left, top), (right, bottom) = (np.clip(end, 0, shape[::-1]).astype(int).tolist() for end in (low, high))
    return slice(top, bottom), slice(left, right)


def _lengths(rows: slice, columns: slice) -> tuple[int, int]:
    return rows.stop - rows.start, columns.stop - columns.start


def _inside(points: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the pixels whose centre lies inside one ring, by the even-odd rule.

    Every edge turns over all pixels to the right of where it crosses their row, so that the work is that of the edges'
    lengths and not that of all pixels times all edges.
    """
    height, width = shape
    turned = np.zeros((height, width + 1), np.bool_)
    ends = np.roll(points, -1, axis=0)
    step = max(64, _CROSSINGS_AT_ONCE // max(1, height))
    for start in range(0, len(points), step):
        (x0, y0), (x1, y1) = (p[start : start + step].T for p in (points, ends))
        first, last = (np.clip(np.ceil(f(y0, y1) - 0.5), 0, height).astype(int) for f in (np.minimum, np.maximum))
        edge = np.repeat(np.arange(len(x0)), last - first)
        row = np.arange(len(edge)) - np.repeat(np.cumsum(last - first) - last, last - first)
        share = (row + 0.5 - y0[edge]) / (y1 - y0)[edge]
        column = np.clip(np.ceil(x0[edge] + share * (x1 - x0)[edge] - 0.5), 0, width).astype(int)
        np.logical_xor.at(turned, (row, column), True)
    return np.logical_xor.accumulate(turned[:, :-1], axis=1)


def _points(ring: ArrayLike) -> NDArray[np.float64]:
    try:
        points = np.asarray(ring, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise LabelsError("a polygon must be a list of points (x, y), but it is not: export it again.") from error
    if points.ndim != 2 or points.shape[1] < 2 or len(points) < 3:
        raise LabelsError(f"a polygon needs at least three points (x, y), but has the shape {points.shape}: redraw it.")
    if not (np.abs(points) < _FARTHEST).all():
        raise LabelsError("a polygon has a coordinate that is no finite number of pixels: redraw it.")
    return points[:, :2]


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
    (_, columns), part = run_length_area(counts, shape)
    mask = np.zeros(shape, np.bool_)
    mask[:, columns] = part
    return mask


def run_length_area(counts: Sequence[int], shape: tuple[int, int]) -> Area:
    """Return the pixels of COCO's run lengths, as `run_length_mask` does, in the columns that they cover."""
    height, pixels = shape[0], shape[0] * shape[1]
    # As Python numbers, which have no largest one: a sum that overflows may look right.
    if min(counts, default=0) < 0 or sum(counts) != pixels:
        raise LabelsError(f"run lengths must add up to {pixels} pixels, but do not: export them again.")
    runs = np.asarray(counts, dtype=np.int64)
    ends = np.cumsum(runs)
    drawn = np.flatnonzero((np.arange(len(runs)) % 2 == 1) & (runs > 0))
    first, last = (ends[drawn[0] - 1], ends[drawn[-1]]) if len(drawn) else (0, 0)
    left, right = int(first) // height, -(-int(last) // height)
    kept = np.clip(np.concatenate(([0], ends)), left * height, right * height)
    mask = np.repeat(np.arange(len(runs)) % 2 == 1, kept[1:] - kept[:-1]).reshape(right - left, height).T
    return (slice(0, height), slice(left, right)), mask


def row_run_length_mask(counts: Sequence[int], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the mask of run lengths along the rows, background first.

    Raises
    ------
    LabelsError
        The runs do not make up the image.

    Examples
    --------
    >>> row_run_length_mask([1, 2, 3], (2, 3)).astype(int)
    array([[0, 1, 1],
           [0, 0, 0]])
    """
    return run_length_mask(counts, shape[::-1]).T


def box_points(
    box: tuple[float, float, float, float], degrees: float, around: tuple[float, float]
) -> list[tuple[float, float]]:
    """Return the corners of a box (x, y, width, height), turned clockwise, as a picture is seen, around a point.

    Examples
    --------
    >>> box_points((0, 0, 2, 1), 90, (0, 0))
    [(0.0, 0.0), (0.0, 2.0), (-1.0, 2.0), (-1.0, 0.0)]
    """
    x, y, width, height = box
    cosine, sine = _direction(degrees)
    corners = ((x, y), (x + width, y), (x + width, y + height), (x, y + height))
    offsets = [(px - around[0], py - around[1]) for px, py in corners]
    return [(around[0] + dx * cosine - dy * sine, around[1] + dx * sine + dy * cosine) for dx, dy in offsets]


def ellipse_mask(
    centre: tuple[float, float], radii: tuple[float, float], degrees: float, shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """Return the pixels whose centre lies in an ellipse, turned clockwise, as a picture is seen, bool `shape`.

    Raises
    ------
    LabelsError
        A number is not finite, or a radius is not above 0.

    Examples
    --------
    >>> ellipse_mask((1.5, 0.5), (1.5, 0.5), 0, (2, 3)).astype(int)
    array([[1, 1, 1],
           [0, 0, 0]])
    """
    if not (np.abs([*centre, *radii]) < _FARTHEST).all() or min(radii) <= 0 or not abs(degrees) < _FARTHEST:
        raise LabelsError("an ellipse has a radius of 0 or numbers that are no pixels: redraw it.")
    cosine, sine = _direction(degrees)
    reach = max(radii)
    (left, right), (top, bottom) = (
        np.clip(np.ceil([place - reach - 0.5, place + reach - 0.5]), 0, n).astype(int)
        for place, n in zip(centre, shape[::-1], strict=True)
    )
    x = np.arange(left, right) + 0.5 - centre[0]
    y = (np.arange(top, bottom) + 0.5 - centre[1])[:, None]
    mask = np.zeros(shape, np.bool_)
    along, across = (x * cosine + y * sine) / radii[0], (y * cosine - x * sine) / radii[1]
    mask[top:bottom, left:right] = along**2 + across**2 <= 1
    return mask


def _direction(degrees: float) -> tuple[float, float]:
    """Return cosine and sine, exact for right angles."""
    if not abs(degrees) < _FARTHEST:
        raise LabelsError("it is turned by an angle that is no number: redraw it.")
    right_angles: dict[float, tuple[float, float]] = {0: (1.0, 0.0), 90: (0.0, 1.0), 180: (-1.0, 0.0), 270: (0.0, -1.0)}
    angle = float(np.deg2rad(degrees % 360))
    return right_angles.get(degrees % 360, (float(np.cos(angle)), float(np.sin(angle))))


def decode_counts(text: str) -> list[int]:
    """Return the run lengths that COCO packs into a string.

    Each number is five bits a character, from the lowest on; a sixth bit says that more follow, and the last one's top
    bit is the sign. From the fourth on, the difference to the number two places before is stored.

    Raises
    ------
    LabelsError
        The string is cut off, or holds other characters.

    Examples
    --------
    >>> decode_counts("321")
    [3, 2, 1]
    """
    counts: list[int] = []
    value, shift = 0, 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise LabelsError(f"packed run lengths hold {character!r}, which they cannot: export them again.")
        value |= (bits & 31) << shift
        shift += 5
        if shift > _MOST_BITS:
            raise LabelsError("packed run lengths hold a number beyond measure: export them again.")
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value, shift = 0, 0
    if shift:
        raise LabelsError("packed run lengths are cut off: export them again.")
    return counts
