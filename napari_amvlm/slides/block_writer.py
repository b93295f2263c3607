"""What happens to a block after its tiles are computed: blended, settled, stored, and only then reported."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.imaging import resize
from napari_amvlm.imaging.settle import settle
from napari_amvlm.slides.store import WrittenBlock
from napari_amvlm.slides.tile_cache import blended

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_amvlm.imaging import Tile
    from napari_amvlm.slides.source import SlideSource
    from napari_amvlm.slides.store import SlideStore
    from napari_amvlm.slides.tile_cache import SlideTiles

    Place = tuple[int, int]

TOGETHER = 32
"""Blocks whose smaller levels are written at once, at most."""

SECONDS, IN_VIEW_SECONDS = 3.0, 0.4
"""For how long about a block waits for that at most, and one that somebody is looking at."""


@dataclass(frozen=True)
class SlideReport:
    """A block that was finished and is stored.

    Attributes
    ----------
    place
        Its row and column.
    rectangle
        Its pixels on the slide.
    presence
        How probably each prompt is in it.
    background
        Whether it was skipped, because there is only glass.
    done, total
        Blocks of this pass.
    """

    place: Place
    rectangle: Tile
    presence: tuple[float, ...]
    background: bool
    done: int
    total: int


@dataclass(frozen=True)
class ComputedBlock:
    """A block all of whose tiles are computed.

    Attributes
    ----------
    place
        Its row and column.
    area
        What was looked at for it, pixels at working scale.
    tiles
        How the slide is tiled.
    found
        Maps and presence logits of the tiles that hold tissue.
    in_view
        Whether somebody is looking at it, so that it must not wait long for others.
    """

    place: Place
    area: Tile
    tiles: SlideTiles
    found: Mapping[Place, tuple[NDArray[np.float32], NDArray[np.float32]]]
    in_view: bool


class BlockFinisher:
    """Blends and stores one block after another, in a thread of its own while the next ones are computed.

    Parameters
    ----------
    source
        The slide.
    store
        Where the blocks go.
    largest
        For each prompt the largest hole and speck that its objects do not have, see `settle`.
    total
        Blocks of this pass.
    """

    def __init__(self, source: SlideSource, store: SlideStore, largest: Sequence[tuple[int, int]], total: int) -> None:
        self._source, self._store, self._largest = source, store, largest
        self._total, self._done = total, 0
        self._waiting: list[tuple[WrittenBlock, SlideReport]] = []
        self._last = 0.0
        self._in_view = False

    def finish(self, block: ComputedBlock) -> list[SlideReport]:
        """Store a block, and return the reports of those that are wholly on disk by that: none, or several.

        Raises
        ------
        StorageError
            The disk refused.
        """
        self._done += 1
        written = self._written(block)
        rectangle = self._store.grid.rectangle(block.place)
        report = SlideReport(block.place, rectangle, written.presence, not block.found, self._done, self._total)
        self._waiting.append((written, report))
        waited, limit = time.monotonic() - self._last, IN_VIEW_SECONDS if block.in_view else SECONDS
        left_view = self._in_view and not block.in_view
        self._in_view = block.in_view
        return self.flush() if left_view or waited > limit or len(self._waiting) >= TOGETHER else []

    def flush(self) -> list[SlideReport]:
        """Store what the blocks still lack that wait, and return their reports.

        Raises
        ------
        StorageError
            The disk refused.
        """
        waiting, self._waiting = self._waiting, []
        self._store.finish([written for written, _ in waiting])
        self._last = time.monotonic()
        return [report for _, report in waiting]

    def _written(self, block: ComputedBlock) -> WrittenBlock:
        if not block.found:
            return WrittenBlock(block.place, None, None, (0.0,) * len(self._largest))
        found, logits = blended(block.tiles, block.found, block.area)
        presence = tuple(float(p) for p in 1 / (1 + np.exp(-np.clip(logits, -60, 60))))
        maps = [settle(p, hole=h, speck=s) for p, (h, s) in zip(found, self._largest, strict=True)]
        return self._store.write_finest(block.place, self._on_slide(np.stack(maps), block), presence)

    def _on_slide(self, probability: NDArray[np.float32], block: ComputedBlock) -> NDArray[np.float32]:
        """Return probabilities at the slide's own resolution, `(P, h, w)`."""
        rectangle = self._store.grid.rectangle(block.place)
        y, x = block.area.y, block.area.x
        if self._source.working == self._source.shape:
            down, across = rectangle.y - y, rectangle.x - x
            return probability[:, down : down + rectangle.height, across : across + rectangle.width]
        top, left, bottom, right = self._source.in_working(rectangle)
        limit_y, limit_x = y + block.area.height, x + block.area.width
        box = (top - y, left - x, min(bottom, limit_y) - y, min(right, limit_x) - x)
        size = (rectangle.height, rectangle.width)
        return np.stack([np.clip(resize(plane, size, box=box), 0, 1) for plane in probability])
