"""The blocks that a slide's result is made of, and the order in which they are computed."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_amvlm.errors import InputError
from napari_amvlm.imaging import Tile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

BLOCK = 512
"""Side of a block, pixels of the slide: what is written at once, and what a cancelled run can lose."""

BAND = 16
"""Blocks are worked through in bands of this many columns, so that what neighbours share is still in memory."""


class BlockIndex(NamedTuple):
    """Row and column of a block among the blocks of a slide, or of a tile among its tiles."""

    row: int
    column: int


@dataclass(frozen=True)
class BlockGrid:
    """Square blocks that cover a slide; those at its lower and right border are cut off.

    Attributes
    ----------
    shape
        Height and width of the slide, pixels.
    side
        Side of a block, pixels.
    """

    shape: tuple[int, int]
    side: int = BLOCK

    @property
    def counts(self) -> tuple[int, int]:
        """Rows and columns of blocks."""
        return -(-self.shape[0] // self.side), -(-self.shape[1] // self.side)

    def rectangle(self, index: BlockIndex) -> Tile:
        """Return the pixels of a block."""
        y, x = (number * self.side for number in index)
        return Tile(y, x, min(self.side, self.shape[0] - y), min(self.side, self.shape[1] - x))

    def meeting(self, region: Tile | None) -> NDArray[np.bool_]:
        """Return which blocks share a pixel with `region`, `(rows, columns)`; all of them where it is None.

        Raises
        ------
        InputError
            The region lies outside the slide.
        """
        chosen = np.zeros(self.counts, np.bool_)
        if region is None:
            return ~chosen
        top, left = max(0, region.y), max(0, region.x)
        bottom = min(self.shape[0], region.y + region.height)
        right = min(self.shape[1], region.x + region.width)
        if bottom <= top or right <= left:
            raise InputError(
                f"Expected a region inside the slide of {self.shape[1]}x{self.shape[0]} pixels, but got "
                f"{region.width}x{region.height} at x {region.x}, y {region.y}; give another one."
            )
        side = self.side
        chosen[top // side : -(-bottom // side), left // side : -(-right // side)] = True
        return chosen


class BlockPlan:
    """Which block comes next: those in view, from their middle outwards, then band by band; safe between threads.

    Parameters
    ----------
    todo
        Which of them are to be done, bool `(rows, columns)`.
    first
        What is in view, pixels of the slide; None where nothing is.
    """

    def __init__(self, grid: BlockGrid, todo: NDArray[np.bool_], first: Tile | None = None) -> None:
        self._grid = grid
        self._todo = todo.copy()
        self.total = int(todo.sum())
        self._lock = threading.Lock()
        self._in_view: deque[BlockIndex] = deque()
        self.in_view = False
        """Whether the block that was yielded last came first because it is in view."""
        rows, columns = np.nonzero(todo)
        along = np.where(rows % 2, -columns, columns)  # there and back, as one mows a lawn
        order = np.lexsort((along, rows, columns // BAND))
        self._rest = np.stack([rows[order], columns[order]], axis=1)
        self._at = 0
        if first is not None:
            self.look_at(first)

    def look_at(self, region: Tile) -> None:
        """Put the blocks of another region first, for instance because the view has moved.

        Raises
        ------
        InputError
            The region lies outside the slide.
        """
        rows, columns = np.nonzero(self._grid.meeting(region))
        middle = (region.y + region.height / 2, region.x + region.width / 2)
        half = self._grid.side / 2
        distance = np.hypot(rows * self._grid.side + half - middle[0], columns * self._grid.side + half - middle[1])
        nearest = np.argsort(distance, kind="stable")
        with self._lock:
            self._in_view = deque(BlockIndex(int(rows[i]), int(columns[i])) for i in nearest)

    def __iter__(self) -> Iterator[BlockIndex]:
        """Yield the index of each block once."""
        while (index := self._next()) is not None:
            yield index

    def _next(self) -> BlockIndex | None:
        with self._lock:
            while self._in_view:
                index = self._in_view.popleft()
                if self._todo[index]:
                    self._todo[index] = False
                    self.in_view = True
                    return index
            self.in_view = False
            while self._at < len(self._rest):
                row, column = self._rest[self._at]
                self._at += 1
                if self._todo[row, column]:
                    self._todo[row, column] = False
                    return BlockIndex(int(row), int(column))
        return None
