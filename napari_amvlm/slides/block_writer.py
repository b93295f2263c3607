"""Blocks on their way to the disk: once their tiles are computed they are blended, settled, stored and reported."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.imaging import resize
from napari_amvlm.slides.slide_tiles import blended
from napari_amvlm.slides.store import WrittenBlock

if TYPE_CHECKING:
    from concurrent.futures import Future

    from numpy.typing import NDArray

    from napari_amvlm.imaging import Tile
    from napari_amvlm.slides.blocks import BlockIndex
    from napari_amvlm.slides.composer import SlideComposer
    from napari_amvlm.slides.slide_tiles import SlideTiles, TileOutput
    from napari_amvlm.slides.source import SlideSource
    from napari_amvlm.slides.store import SlideStore

TOGETHER = 32
"""Blocks whose smaller levels are written at once, at most."""

SECONDS, IN_VIEW_SECONDS = 3.0, 0.4
"""For how long about a block waits for that at most, and one that somebody is looking at."""


@dataclass(frozen=True)
class SlideReport:
    """A block that is stored.

    Attributes
    ----------
    presence
        Probability that each prompt is in it.
    background
        Whether it was skipped, because it shows only glass.
    """

    store: SlideStore
    index: BlockIndex
    presence: tuple[float, ...]
    background: bool
    done: int
    total: int

    @property
    def rectangle(self) -> Tile:
        """Its pixels on the slide."""
        return self.store.grid.rectangle(self.index)


@dataclass
class BlockTask:
    """A block on its way from the plan to the disk.

    Attributes
    ----------
    area
        The pixels at working scale that it depends on.
    needed
        The tiles that meet the area and hold tissue.
    in_view
        Whether it is in view, so that it must not wait long for others.
    frame, pixels
        A rectangle at working scale around the tiles that had to be computed, and its pixels, which another thread
        reads; None where there were no such tiles.
    outputs
        What the prompts gave in the needed tiles, once they are computed.
    """

    index: BlockIndex
    tiles: SlideTiles
    area: Tile
    needed: list[BlockIndex]
    in_view: bool
    frame: Tile | None = None
    pixels: Future[NDArray[np.float32]] | None = None
    outputs: dict[BlockIndex, TileOutput] = field(default_factory=dict)


class BlockWriter:
    """Blends and stores one block after another, in a thread of its own while the next ones are computed.

    Parameters
    ----------
    composer
        Makes the maps of the prompts of those of their words.
    """

    def __init__(self, source: SlideSource, store: SlideStore, composer: SlideComposer, total: int) -> None:
        self._source, self._store, self._composer = source, store, composer
        self._total, self._done = total, 0
        self._waiting: list[tuple[WrittenBlock, SlideReport]] = []
        self._last = 0.0
        self._in_view = False

    def write(self, block: BlockTask) -> list[SlideReport]:
        """Store a computed block, and return the reports of all blocks that are now complete on disk, perhaps none.

        Raises
        ------
        StorageError
            The disk refused.
        """
        self._done += 1
        written = self._written(block)
        report = SlideReport(self._store, block.index, written.presence, not block.outputs, self._done, self._total)
        self._waiting.append((written, report))
        waited, limit = time.monotonic() - self._last, IN_VIEW_SECONDS if block.in_view else SECONDS
        left_view = self._in_view and not block.in_view
        self._in_view = block.in_view
        return self.flush() if left_view or waited > limit or len(self._waiting) >= TOGETHER else []

    def flush(self) -> list[SlideReport]:
        """Complete the blocks that wait, and return their reports.

        Raises
        ------
        StorageError
            The disk refused.
        """
        waiting, self._waiting = self._waiting, []
        self._store.finish([written for written, _ in waiting])
        self._last = time.monotonic()
        return [report for _, report in waiting]

    def _written(self, block: BlockTask) -> WrittenBlock:
        count, glass = len(self._store.request.prompts), self._composer.glass
        of_maps = np.concatenate([glass, np.zeros_like(glass)]) if self._store.request.objects else glass
        if block.outputs:
            found, logits = blended(block.tiles, block.outputs, block.area, of_maps)
            of_words = [float(p) for p in 1 / (1 + np.exp(-np.clip(logits, -60, 60)))]
        elif self._composer.means_glass:
            found = np.empty((len(of_maps), block.area.height, block.area.width), np.float32)
            found[:] = of_maps[:, None, None]
            of_words = [float(share) for share in glass]
        else:
            return WrittenBlock(block.index, None, None, (0.0,) * count)
        maps, presence = self._composer.compose(found, of_words)
        on_slide = self._on_slide(maps, block)
        return self._store.write_finest(block.index, on_slide[:count], presence, on_slide[count:])

    def _on_slide(self, probability: NDArray[np.float32], block: BlockTask) -> NDArray[np.float32]:
        """Return maps at the slide's own resolution, `(M, h, w)`."""
        rectangle = self._store.grid.rectangle(block.index)
        y, x = block.area.y, block.area.x
        if self._source.working == self._source.shape:
            down, across = rectangle.y - y, rectangle.x - x
            return probability[:, down : down + rectangle.height, across : across + rectangle.width]
        top, left, bottom, right = self._source.in_working(rectangle)
        limit_y, limit_x = y + block.area.height, x + block.area.width
        box = (top - y, left - x, min(bottom, limit_y) - y, min(right, limit_x) - x)
        size = (rectangle.height, rectangle.width)
        return np.stack([np.clip(resize(plane, size, box=box), 0, 1) for plane in probability])
