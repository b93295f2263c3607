"""One pass of prompts over a slide, block by block."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.byte_cache import ByteCache
from napari_amvlm.device import release_memory, retry_with_less
from napari_amvlm.errors import Cancelled, InputError, PromptError
from napari_amvlm.models.device_model import TileLoad
from napari_amvlm.models.words.composition import needs_whole_image
from napari_amvlm.slides.block_writer import BlockTask, BlockWriter
from napari_amvlm.slides.blocks import BlockPlan
from napari_amvlm.slides.composer import SlideComposer
from napari_amvlm.slides.rectangles import around, cut, inside, whole_pixels
from napari_amvlm.slides.slide_tiles import SlideTiles, TileOutput
from napari_amvlm.slides.source import SlideSource
from napari_amvlm.slides.store import TODO
from napari_amvlm.slides.tissue import TissueMap
from napari_amvlm.thread_switching import quick_switching

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterable, Iterator
    from concurrent.futures import Future

    from numpy.typing import NDArray

    from napari_amvlm.imaging import ImageData, Tile
    from napari_amvlm.predictor import Predictor
    from napari_amvlm.slides.block_writer import SlideReport
    from napari_amvlm.slides.blocks import BlockIndex
    from napari_amvlm.slides.store import SlideStore

CACHE_BYTES = 256 << 20
_BATCH = {"cpu": 2, "mps": 4}
_CARD_BATCH = 16
_MOST_AROUND = 64
"""Most context around a block, pixels; holes that are longer may be handled wrongly."""


class SlideRun:
    """Fills a store with what its prompts find on a slide: what is in view first, then the rest.

    The tiles are those that one pass over the whole slide would take, and are blended with the same window, so a block
    does not depend on when it is done or on what is asked beside it.  Tiles at the border of blocks are kept until the
    neighbours are done.

    Parameters
    ----------
    predictor
        Computes the tiles; it may be used for other images at the same time.
    store
        Where results go; blocks that are done there are not done again.
    region
        What is wanted, pixels of the slide, in whole blocks; None means all of it.
    batch
        Tiles at once; None takes two on a processor and more on a card.
    on_message
        Told when memory runs short and the run goes on with less at once.

    Raises
    ------
    ImageError
        The slide cannot be used.
    PromptError
        See `check_slide_prompts`.
    InputError
        The store is that of a slide of another size, or the region lies outside.
    """

    def __init__(
        self,
        predictor: Predictor,
        image: ImageData,
        store: SlideStore,
        *,
        region: Tile | None = None,
        first: Tile | None = None,
        batch: int | None = None,
        cache_bytes: int = CACHE_BYTES,
        on_message: Callable[[str], None] | None = None,
    ) -> None:
        check_slide_prompts(predictor, store.request.prompts)
        self._predictor = predictor
        self._model = predictor.model
        self._store = store
        self._source = SlideSource(image, store.request.magnification)
        if self._source.shape != store.request.shape:
            raise InputError(
                f"{store.path} is the result of a slide of {store.request.shape}, but got one of {self._source.shape}; "
                "give the slide that it was begun with."
            )
        self._tissue = None if store.request.every_tile else TissueMap(self._source)
        wanted = store.grid.meeting(region) & (store.states == TODO)
        self._plan = BlockPlan(store.grid, wanted, first)
        config = predictor.model.config
        self._tiles = SlideTiles(self._source.padded, config.tile, config.overlap)
        self._overlap = config.overlap
        self._cache: ByteCache[TileOutput] = ByteCache(cache_bytes)
        self._composer = SlideComposer(self._model, store.request.prompts)
        self._margins = self._needed_margins()
        self.batch = batch or default_batch(predictor)
        self._storing: Future[list[SlideReport]] | None = None
        self._tell = on_message or (lambda _message: None)

    @property
    def total(self) -> int:
        """How many blocks there are to do."""
        return self._plan.total

    def look_at(self, region: Tile) -> None:
        """Put what is in view now first; may be called from another thread while the run goes on."""
        self._plan.look_at(region)

    def run(self, should_stop: Callable[[], bool] | None = None) -> Generator[SlideReport, None, None]:
        """Compute and store block after block, and report each; one is stored while the next is computed.

        A block in view is reported as soon as it is stored, others together, every second or so.

        Raises
        ------
        Cancelled
            `should_stop`, asked before every batch of tiles, said so; finished blocks are in the store.
        OutOfMemoryError
            Not even a single small tile fits.
        ImageError, StorageError
            The slide is damaged there, or the disk is full; finished blocks are in the store.
        """
        blocks = BlockWriter(self._source, self._store, self._composer, self.total)
        with (
            quick_switching(),
            ThreadPoolExecutor(1, "slide-reader") as reader,
            ThreadPoolExecutor(1, "slide-writer") as writer,
        ):
            try:
                for task, following in self._tasks(reader):
                    _check(should_stop)
                    block = yield from self._computed(task, following, reader, should_stop)
                    yield from self._stored(wait=True)
                    self._storing = writer.submit(blocks.write, block)
                yield from self._stored(wait=True)
                yield from writer.submit(blocks.flush).result()
            except Cancelled:
                yield from self._stored(wait=True)
                yield from writer.submit(blocks.flush).result()
                raise
            finally:
                self._storing = None
                self._cache.clear()
                release_memory(self._predictor.device)
                writer.submit(blocks.flush).result()

    def _stored(self, *, wait: bool = False) -> Iterator[SlideReport]:
        """Yield the reports of the block that is being stored, once it is, or if `wait`, then."""
        storing = self._storing
        if storing is not None and (wait or storing.done()):
            self._storing = None
            yield from storing.result()

    def _tasks(self, reader: ThreadPoolExecutor) -> Iterator[tuple[BlockTask, BlockTask | None]]:
        """Yield each block with the one that follows it, whose pixels are read while the first is computed."""
        waiting: BlockTask | None = None
        for index in self._plan:
            task = self._task(index, reader, self._plan.in_view, soon=waiting.needed if waiting else [])
            if waiting is not None:
                yield waiting, task
            waiting = task
        if waiting is not None:
            yield waiting, None

    def _task(self, index: BlockIndex, reader: ThreadPoolExecutor, in_view: bool, soon: list[BlockIndex]) -> BlockTask:
        """Lay out a block and begin to read it; tiles that are computed `soon` need not be read."""
        area = self._area(index)
        needed = [tile for tile in self._tiles.meeting(area) if self._holds_tissue(tile)]
        task = BlockTask(index, self._tiles, area, needed, in_view)
        missing = [tile for tile in needed if tile not in self._cache and tile not in soon]
        if missing:
            task.frame = around([self._tiles.rectangle(tile) for tile in missing])
            task.pixels = reader.submit(self._source.pixels, task.frame)
        return task

    def _needed_margins(self) -> tuple[int, int]:
        """Return how far around a block one has to look: for what it is resampled from, and for holes and specks."""
        source = self._source
        largest = max(sum(sizes) for sizes in self._composer.largest)
        # What reaches further out of the block has more pixels than are settled.
        around_specks = min(largest + 2, _MOST_AROUND) if largest else 0
        if source.working == source.shape:
            return around_specks, around_specks
        y, x = (math.ceil(w / s) + 1 for w, s in zip(source.working, source.shape, strict=True))
        return y + around_specks, x + around_specks

    def _area(self, index: BlockIndex, *, alone: bool = False) -> Tile:
        """Return the pixels at working scale that a block depends on; if `alone`, those that no other block needs."""
        box = self._source.in_working(self._store.grid.rectangle(index))
        y, x = self._margins
        return whole_pixels(box, (-y, -x) if alone else (y, x), self._source.working)

    def _holds_tissue(self, tile: BlockIndex) -> bool:
        return self._tissue is None or self._tissue.has_tissue(self._tiles.rectangle(tile))

    def _computed(
        self,
        task: BlockTask,
        following: BlockTask | None,
        reader: ThreadPoolExecutor,
        should_stop: Callable[[], bool] | None,
    ) -> Generator[SlideReport, None, BlockTask]:
        """Compute the outputs of a block, and yield the reports of others meanwhile."""
        while task.tiles is not self._tiles or not (yield from self._compute(task, following, should_stop)):
            task = self._task(task.index, reader, task.in_view, soon=[])  # the tiles are smaller now
        alone = self._area(task.index, alone=True)
        for tile in task.needed:
            if inside(self._tiles.rectangle(tile), alone):
                self._cache.drop(tile)
        return task

    def _compute(
        self, task: BlockTask, following: BlockTask | None, should_stop: Callable[[], bool] | None
    ) -> Generator[SlideReport, None, bool]:
        """Compute the tiles of a block; False where memory allows only smaller tiles, which replaced them."""
        task.outputs = {tile: self._cache[tile] for tile in task.needed if tile in self._cache}
        missing = [tile for tile in task.needed if tile not in task.outputs]
        if not missing:
            return True
        rectangles = [self._tiles.rectangle(tile) for tile in missing]
        if task.frame is None or task.pixels is None or not inside(around(rectangles), task.frame):
            frame = around(rectangles)
            pixels = self._source.pixels(frame)
        else:
            frame, pixels = task.frame, task.pixels.result()

        def computed() -> bool:
            """Compute the next tiles, with some of the following block; False where tiles are smaller now."""
            if task.tiles is not self._tiles:
                return False
            chosen = {tile: cut(pixels, self._tiles.rectangle(tile), frame) for tile in missing[: self.batch]}
            own = len(chosen)
            chosen.update(self._beside(following, self.batch - own, chosen))
            request = self._store.request
            pixels_of = np.stack(list(chosen.values()))
            maps = self._predictor.predict_tiles(pixels_of, self._composer.words, separate=request.objects)
            found = maps.probability if maps.depth is None else np.concatenate([maps.probability, maps.depth])
            for row, tile in enumerate(chosen):
                output = TileOutput(np.ascontiguousarray(found[:, row]), maps.presence[:, row])
                self._cache.put(tile, output)
                if row < own:
                    task.outputs[tile] = output
            del missing[:own]
            return True

        while missing:
            _check(should_stop)
            if self._predictor.model is not self._model:
                raise Cancelled(f"Another model is served now; {self._store.path} keeps what was done with the last.")
            device, advice = self._predictor.device, "close other programs"
            if not retry_with_less(computed, self._less, self._tell, device=device, what="a tile", advice=advice):
                return False
            yield from self._stored()
        return True

    def _beside(
        self, following: BlockTask | None, count: int, chosen: Collection[BlockIndex]
    ) -> dict[BlockIndex, NDArray[np.float32]]:
        """Return the pixels of up to `count` more tiles, of the following block; none where these cannot be read."""
        if not count or following is None or following.tiles is not self._tiles or following.frame is None:
            return {}
        if following.pixels is None or following.pixels.exception() is not None:
            return {}
        pixels, frame = following.pixels.result(), following.frame
        missing = [tile for tile in following.needed if tile not in self._cache and tile not in chosen]
        readable = [(tile, r) for tile in missing if inside(r := self._tiles.rectangle(tile), frame)]
        return {tile: cut(pixels, rectangle, frame) for tile, rectangle in readable[:count]}

    def _less(self) -> str | None:
        """Halve the batch, or where it is one, the tiles, and say so; None where they are too small for that."""
        before = TileLoad(self.batch, self._tiles.side)
        less = before.less()
        if less is None:
            return None
        self.batch = less.batch
        if less.side != before.side:
            self._tiles = SlideTiles(self._source.padded, less.side, min(self._overlap, less.side // 4))
            self._cache.clear()
        return less.change_from(before)


def check_slide_prompts(predictor: Predictor, prompts: Iterable[str]) -> None:
    """Raise `PromptError` where tiles do not show what a prompt says: a part of a whole image."""
    for prompt in prompts:
        if refusal := needs_whole_image(predictor.model.config, prompt):
            raise PromptError(refusal)


def default_batch(predictor: Predictor) -> int:
    """Return how many tiles are computed at once: few where a cancel has to wait for them, many on a card."""
    return _BATCH.get(predictor.device.type, _CARD_BATCH)


def _check(should_stop: Callable[[], bool] | None) -> None:
    if should_stop is not None and should_stop():
        raise Cancelled("Stopped before the slide was done; finished blocks are kept.")
