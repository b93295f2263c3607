"""Exact outlines of masks: polygons along pixel borders, with holes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

Point = tuple[int, int]
Ring = list[Point]


def outline(mask: NDArray[np.bool_]) -> list[Ring]:
    """Return the outline of one piece, its outer ring first, then its holes.

    Rings are closed (the first point comes last again), never touch themselves, and hold `(x, y)` pixel corners: the
    pixel in row r and column c is the square from (c, r) to (c + 1, r + 1). The outer ring has a positive signed area.

    Parameters
    ----------
    mask
        `(H, W)`; its foreground is connected through pixel sides.

    Examples
    --------
    >>> outline(np.array([[True]]))
    [[(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)]]
    """
    following = _border_steps(mask)
    rings: list[Ring] = []
    while following:
        rings.extend(_walk(next(iter(following)), following))
    rings.sort(key=signed_area, reverse=True)
    return [_corners(ring) for ring in rings]


def connected_parts(mask: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.bool_], int, int]]:
    """Yield each part of a mask that is connected through pixel sides, cut out, with its first row and column."""
    from skimage.measure import label, regionprops

    for region in regionprops(label(mask, connectivity=1)):
        yield region.image, region.bbox[0], region.bbox[1]


def polygon(piece: NDArray[np.bool_], top: int, left: int) -> list[list[list[int]]]:
    """Return the rings of one connected piece as JSON lists, moved to where it lies: its upper left corner."""
    return [[[x + left, y + top] for x, y in ring] for ring in outline(piece)]


def without_holes(piece: NDArray[np.bool_]) -> list[tuple[NDArray[np.bool_], int, int]]:
    """Cut a connected piece into parts that have no holes, for formats that know none.

    The cuts run along rows, through the middle of the first hole; the parts cover the piece exactly.

    Parameters
    ----------
    piece
        `(H, W)`.

    Returns
    -------
    list of (ndarray, int, int)
        Each part, `(h, w)`, and its first row and column in the piece.
    """
    from skimage.measure import label

    # Through pixel sides: a hole that touches the outside at a corner would be a ring of its own too.
    background = label(np.pad(~piece, 1, constant_values=True), connectivity=1)
    holes = np.where(background == background[0, 0], 0, background)[1:-1, 1:-1]
    if not holes.any():
        return [(piece, 0, 0)]
    rows = np.flatnonzero((holes == holes[holes > 0][0]).any(axis=1))
    cut = int(rows[len(rows) // 2])
    parts: list[tuple[NDArray[np.bool_], int, int]] = []
    for start, half in ((0, piece[:cut]), (cut, piece[cut:])):
        for whole, top, left in connected_parts(half):
            parts.extend((part, start + top + row, left + column) for part, row, column in without_holes(whole))
    return parts


def signed_area(ring: Ring) -> float:
    """Return the area inside a closed ring, negative where it runs the other way round (shoelace formula)."""
    x, y = np.asarray(ring, dtype=np.int64).T
    return float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) / 2


def _border_steps(mask: NDArray[np.bool_]) -> dict[Point, list[Point]]:
    """Return where the border goes on from each of its corners; the foreground is on its right (y points down)."""
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    steps: dict[Point, list[Point]] = {}
    # For each side of a pixel: the neighbour beyond it, and where the side starts and ends.
    sides = (
        (padded[:-2, 1:-1], (0, 0), (1, 0)),
        (padded[1:-1, 2:], (1, 0), (1, 1)),
        (padded[2:, 1:-1], (1, 1), (0, 1)),
        (padded[1:-1, :-2], (0, 1), (0, 0)),
    )
    for neighbour, (x0, y0), (x1, y1) in sides:
        for row, column in np.argwhere(inside & ~neighbour).tolist():
            steps.setdefault((column + x0, row + y0), []).append((column + x1, row + y1))
    return steps


def _walk(start: Point, following: dict[Point, list[Point]]) -> list[Ring]:
    """Follow the border from `start` until it closes, using it up; cut a ring off wherever a corner comes again."""
    rings: list[Ring] = []
    path = [start]
    position = {start: 0}
    while path[-1] in following:
        ends = following[path[-1]]
        corner = ends.pop(_right_turn(path, ends) if len(ends) > 1 else 0)
        if not ends:
            del following[path[-1]]
        if corner in position:
            first = position[corner]
            rings.append([*path[first:], corner])
            for passed in path[first + 1 :]:
                del position[passed]
            del path[first + 1 :]
        else:
            position[corner] = len(path)
            path.append(corner)
    return rings


def _right_turn(path: Ring, ends: list[Point]) -> int:
    """Return which of two ways on keeps to the same pixel: the right turn (where two pixels touch at a corner only)."""
    if len(path) < 2:
        return 0
    (x0, y0), (x1, y1) = path[-2:]
    right = (x1 - (y1 - y0), y1 + (x1 - x0))
    return ends.index(right) if right in ends else 0


def _corners(ring: Ring) -> Ring:
    """Leave out the points in the middle of straight lines."""
    points = np.asarray(ring[:-1], dtype=np.int64)
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    kept = points[(before != after).any(axis=1)].tolist()
    return [(x, y) for x, y in [*kept, kept[0]]]
