"""Objects of a whole slide: numbered part by part, and joined where the parts meet."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.errors import Cancelled
from napari_amvlm.files import disk_errors
from napari_amvlm.imaging import Tile
from napari_amvlm.imaging.depth_objects import REACH, clear_pixels, climb, smoothed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from napari_amvlm.imaging.depth_objects import Climbed
    from napari_amvlm.slides.store import SlideStore

PART = 4
"""Side of a part, in blocks: what is in memory at once."""

_SMALLEST = 20
"""Objects of fewer pixels are left out, as in `imaging.split_instances`."""


def number_objects(
    store: SlideStore,
    *,
    should_stop: Callable[[], bool] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[int, ...]:
    """Write `objects` of a store whose blocks are done, and return how many objects each prompt has.

    A pixel's way to the middle of its object depends on its surroundings alone, so that the objects are those of the
    slide in one piece, wherever its parts meet. Of words without depth each connected piece is an object. In memory
    are one part, the outlines of all, and some bytes for each object.

    Parameters
    ----------
    store
        A store with objects; what is not done there counts as background.
    should_stop
        Asked before every part.
    on_progress
        Called with (parts done, parts in all), twice for each part and prompt.

    Raises
    ------
    Cancelled
        `should_stop` said so; the next call begins anew.
    StorageError
        The disk refused.
    """
    parts = list(_parts(store))
    total, done = 2 * len(parts) * len(store.request.prompts), 0

    def step() -> None:
        nonlocal done
        done += 1
        if should_stop is not None and should_stop():
            raise Cancelled("Stopped before the objects were numbered; the masks are kept.")
        if on_progress is not None:
            on_progress(done, total)

    counts: list[int] = []
    with disk_errors(store.path):
        for row in range(len(store.request.prompts)):
            joints = _Joints(store.request.shape, store.request.block * PART)
            for part in parts:
                step()
                store.objects[(row, *part.slices)] = joints.add(part, _climbed(store, row, part))
            numbers = joints.numbers()
            counts.append(int(numbers.max(initial=0)))
            for part in parts:
                step()
                store.objects[(row, *part.slices)] = numbers[store.objects[(row, *part.slices)]]
        store.note_objects(counts)
    return tuple(counts)


def _parts(store: SlideStore) -> Iterator[Tile]:
    height, width = store.request.shape
    side = store.request.block * PART
    for y in range(0, height, side):
        for x in range(0, width, side):
            yield Tile(y, x, min(side, height - y), min(side, width - x))


def _climbed(store: SlideStore, row: int, part: Tile) -> Climbed:
    """Let the pixels of a part climb; one pixel around it is read too, and what the smoothing of that needs."""
    height, width = store.request.shape
    top, left = max(0, part.y - REACH), max(0, part.x - REACH)
    area = slice(top, min(height, part.y + part.height + REACH)), slice(left, min(width, part.x + part.width + REACH))
    stored = store.probability[(row, *area)]
    threshold, marker = store.request.threshold, store.request.marker
    foreground = stored >= max(1, math.ceil(threshold * 255))
    if store.request.countable[row]:
        depth = smoothed(store.depth[(row, *area)].astype(np.float32) / np.float32(255))
    else:
        depth = np.ones(foreground.shape, np.float32)
    clear = clear_pixels(depth, stored.astype(np.float32) / np.float32(255), threshold, marker)
    # Just the part and one pixel around it; around the slide there is background.
    above, before = part.y - top, part.x - left
    inner = slice(max(0, above - 1), above + part.height + 1), slice(max(0, before - 1), before + part.width + 1)
    maps = foreground[inner], depth[inner], clear[inner]
    around = (
        (int(above == 0), int(part.y + part.height == height)),
        (int(before == 0), int(part.x + part.width == width)),
    )
    foreground, depth, clear = (np.pad(each, around) for each in maps)
    return climb(foreground, depth, marker, clear, margin=1)


class _Joints:
    """Which numbers of parts are one object.

    Parameters
    ----------
    shape
        Of the slide, pixels.
    side
        Of a part.
    """

    def __init__(self, shape: tuple[int, int], side: int) -> None:
        height, width = shape
        self._side = side
        # The numbers along both sides of each border between parts, by the row or column of the slide; those of pixels
        # that are no middle are negative.
        self._rows = {y: np.zeros(width, np.int64) for k in range(side, height, side) for y in (k - 1, k)}
        self._columns = {x: np.zeros(height, np.int64) for k in range(side, width, side) for x in (k - 1, k)}
        self._used = 0
        self._sizes: list[NDArray[np.int64]] = [np.zeros(1, np.int64)]
        self._objects: list[NDArray[np.bool_]] = [np.zeros(1, np.bool_)]
        self._outside: list[NDArray[np.int64]] = []

    def add(self, part: Tile, climbed: Climbed) -> NDArray[np.uint32]:
        """Take what a part found, and return its numbers, which no other part has."""
        labels = np.where(climbed.labels > 0, climbed.labels.astype(np.int64) + self._used, 0)
        signed = np.where(climbed.is_middle, labels, -labels)
        for y in {part.y, part.y + part.height - 1} & self._rows.keys():
            self._rows[y][part.x : part.x + part.width] = signed[y - part.y]
        for x in {part.x, part.x + part.width - 1} & self._columns.keys():
            self._columns[x][part.y : part.y + part.height] = signed[:, x - part.x]
        self._sizes.append(np.bincount(climbed.labels.ravel(), minlength=climbed.highest + 1)[1:])
        self._objects.append(climbed.is_object[1:])
        first = self._used + climbed.highest - len(climbed.outside) + 1
        places = climbed.outside + np.array([part.y, part.x])
        self._outside.append(np.column_stack([first + np.arange(len(places)), places]))
        self._used += climbed.highest
        return labels.astype(np.uint32)

    def numbers(self) -> NDArray[np.uint32]:
        """Return for each number of a part that of its object on the slide, 0 for what is none."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        sizes, objects = np.concatenate(self._sizes), np.concatenate(self._objects)
        one, other = np.concatenate([self._across(), self._left()], axis=1)
        links = coo_array((np.ones(len(one), np.int8), (one, other)), shape=(len(sizes), len(sizes)))
        _, of = connected_components(links, directed=False)
        size, is_object = np.bincount(of, sizes), np.zeros(int(of.max()) + 1, np.bool_)
        np.logical_or.at(is_object, of, objects)
        is_object &= size >= _SMALLEST
        numbers = np.zeros(len(is_object), np.uint32)
        numbers[is_object] = np.arange(1, int(is_object.sum()) + 1)
        return np.asarray(numbers[of], np.uint32)

    def _across(self) -> NDArray[np.int64]:
        """Return pairs of middles that touch across a border, by sides or corners, `(2, n)`."""
        pairs = [np.zeros((2, 0), np.int64)]
        for lines in (self._rows, self._columns):
            for at in sorted(lines):
                if at % self._side == 0:
                    one, other = lines[at - 1], lines[at]
                    pairs += [np.stack([one, other]), np.stack([one[1:], other[:-1]]), np.stack([one[:-1], other[1:]])]
        every = np.concatenate(pairs, axis=1)
        return np.unique(every[:, (every > 0).all(axis=0)], axis=1)

    def _left(self) -> NDArray[np.int64]:
        """Return pairs of a number that stands for a pixel outside its part, and the number of that pixel, `(2, n)`."""
        pairs = [(0, 0)]
        for own, y, x in np.concatenate(self._outside).tolist() if self._outside else []:
            pairs.append((own, abs(int(self._rows[y][x] if y in self._rows else self._columns[x][y]))))
        return np.array(pairs, np.int64).T
