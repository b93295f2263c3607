"""Rectangles out of a lazy plane, whose chunks are not read again for every rectangle that touches them."""

from __future__ import annotations

import bisect
import itertools
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.byte_cache import ByteCache

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_amvlm.imaging import Tile

KEPT_BYTES = 64 << 20


class ChunkReader:
    """Reads rectangles of a plane, and keeps the chunks it read last; safe between threads.

    Parameters
    ----------
    plane
        `(H, W)` or `(H, W, C)`: a numpy array, which is cut, or a dask array, whose chunks are read.
    """

    def __init__(self, plane: Any, kept_bytes: int = KEPT_BYTES) -> None:
        self._plane = plane
        self._cache: ByteCache[NDArray[Any]] = ByteCache(kept_bytes)
        self._lock = threading.Lock()
        if not isinstance(plane, np.ndarray):
            self._ends = [list(itertools.accumulate(plane.chunks[axis])) for axis in (0, 1)]

    def read(self, area: Tile) -> NDArray[Any]:
        """Return the pixels of a rectangle that lies in the plane.

        Raises
        ------
        ImageError
            The file is damaged there.
        """
        if isinstance(self._plane, np.ndarray):
            return self._plane[area.slices]
        bottom, right = area.y + area.height, area.x + area.width
        pixels = np.empty((area.height, area.width, *self._plane.shape[2:]), self._plane.dtype)
        for row in self._touched(0, area.y, bottom):
            for column in self._touched(1, area.x, right):
                chunk, (y, x) = self._chunk(row, column), (self._start(0, row), self._start(1, column))
                top, left = max(y, area.y), max(x, area.x)
                low, far = min(y + chunk.shape[0], bottom), min(x + chunk.shape[1], right)
                pixels[top - area.y : low - area.y, left - area.x : far - area.x] = chunk[
                    top - y : low - y, left - x : far - x
                ]
        return pixels

    def _touched(self, axis: int, start: int, end: int) -> range:
        ends = self._ends[axis]
        return range(bisect.bisect_right(ends, start), bisect.bisect_left(ends, end) + 1)

    def _start(self, axis: int, number: int) -> int:
        return self._ends[axis][number - 1] if number else 0

    def _chunk(self, row: int, column: int) -> NDArray[Any]:
        def read() -> NDArray[Any]:
            y, x = self._start(0, row), self._start(1, column)
            part = self._plane[y : self._ends[0][row], x : self._ends[1][column]]
            # In this thread: the others compute, and a cluster would send it about.
            return np.asarray(part.compute(scheduler="synchronous"))

        with self._lock:
            return self._cache.get_or_make((row, column), read)
