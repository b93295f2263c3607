"""One pass of prompts over a slide, block by block."""

from __future__ import annotations

import math
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.device import release_memory
from napari_amvlm.errors import Cancelled, InputError, OutOfMemoryError
from napari_amvlm.models.inference import settled_sizes
from napari_amvlm.models.tile_load import TileLoad
from napari_amvlm.slides.block_writer import BlockFinisher, ComputedBlock, SlideReport
from napari_amvlm.slides.blocks import BlockPlan
from napari_amvlm.slides.rectangles import around, cut, inside, whole_pixels
from napari_amvlm.slides.source import SlideSource
from napari_amvlm.slides.store import TODO
from napari_amvlm.slides.tile_cache import SlideTiles, TileCache
from napari_amvlm.slides.tissue import TissueMap
from napari_amvlm.thread_switching import quick_switching

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from numpy.typing import NDArray

    from napari_amvlm.imaging import ImageData, Tile
    from napari_amvlm.predictor import Predictor
    from napari_amvlm.slides.store import SlideStore

    Place = tuple[int, int]

CACHE_BYTES = 256 << 20
_BATCH = {"cpu": 2, "mps": 4}
_CARD_BATCH = 16
_MOST_AROUND = 64
"""Pixels; a hole of 200 that reaches further out of a block is hardly a line of three, and may be told wrongly."""


@dataclass
class _Job:
    """A block to be computed, with the pixels of those of its tiles that are not known, which are being read."""

    place: Place
    layout: SlideTiles
    area: Tile
    tiles: list[Place]
    missing: list[Place]
    in_view: bool
    frame: Tile | None
    pixels: Future[NDArray[np.float32]] | None


class SlideRun:
    """Fills a store with what its prompts find on a slide: what is in view first, then the rest.

    The tiles are those that one pass over the whole slide would take, and are blended with the same window, so a block
    does not depend on when it is done or on what is asked beside it.  Tiles at the border of blocks are kept until the
    neighbours are done.

    Parameters
    ----------
    predictor
        Computes the tiles; it may be used for other images at the same time.
    image
        The slide.
    store
        Where results go; blocks that are done there are not done again.
    region
        What is wanted, pixels of the slide, in whole blocks; None means all of it.
    first
        What is in view.
    batch
        Tiles at once; None takes two on a processor and more on a card.
    cache_bytes
        What kept tiles may take.
    on_message
        Told when memory runs short and the run goes on with less at once.

    Raises
    ------
    ImageError
        The slide cannot be used.
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
        self._cache = TileCache(cache_bytes)
        self._largest = [settled_sizes(self._model, prompt) for prompt in store.request.prompts]
        self._margins = self._needed_margins()
        self.batch = batch or default_batch(predictor)
        self._storing: Future[list[SlideReport]] | None = None
        self._tell = on_message or (lambda _message: None)

    @property
    def total(self) -> int:
        """How many blocks there are to do."""
        return self._plan.total

    @property
    def tile_count(self) -> int:
        """How many tiles the whole slide has."""
        return self._tiles.count

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
        finisher = BlockFinisher(self._source, self._store, self._largest, self.total)
        threads = (ThreadPoolExecutor(1, "slide-reader"), ThreadPoolExecutor(1, "slide-writer"))
        with quick_switching(), threads[0] as reader, threads[1] as writer:
            try:
                for job, following in self._jobs(reader):
                    _check(should_stop)
                    block = yield from self._computed(job, following, reader, should_stop)
                    yield from self._stored(wait=True)
                    self._storing = writer.submit(finisher.finish, block)
                yield from self._stored(wait=True)
                yield from writer.submit(finisher.flush).result()
            except Cancelled:
                yield from self._stored(wait=True)
                yield from writer.submit(finisher.flush).result()
                raise
            finally:
                self._storing = None
                self._cache = TileCache(0)
                release_memory(self._predictor.device)
                writer.submit(finisher.flush).result()

    def _stored(self, *, wait: bool = False) -> Iterator[SlideReport]:
        """Yield what there is to report of the block that is being stored, once it is, or if `wait`, then."""
        storing = self._storing
        if storing is not None and (wait or storing.done()):
            self._storing = None
            yield from storing.result()

    def _jobs(self, reader: ThreadPoolExecutor) -> Iterator[tuple[_Job, _Job | None]]:
        """Yield each job with the one that follows it, whose pixels are read while the first is computed."""
        waiting: _Job | None = None
        for place in self._plan:
            job = self._job(place, reader, self._plan.in_view, soon=waiting.tiles if waiting else [])
            if waiting is not None:
                yield waiting, job
            waiting = job
        if waiting is not None:
            yield waiting, None

    def _job(self, place: Place, reader: ThreadPoolExecutor, in_view: bool, soon: list[Place]) -> _Job:
        """Lay out a block and begin to read it; tiles that are computed `soon` need not be read."""
        area = self._area(place)
        tiles = [tile for tile in self._tiles.meeting(area) if self._holds_tissue(tile)]
        missing = [tile for tile in tiles if tile not in self._cache and tile not in soon]
        if not missing:
            return _Job(place, self._tiles, area, tiles, missing, in_view, None, None)
        frame = around([self._tiles.rectangle(tile) for tile in missing])
        pixels = reader.submit(self._source.pixels, frame)
        return _Job(place, self._tiles, area, tiles, missing, in_view, frame, pixels)

    def _needed_margins(self) -> tuple[int, int]:
        """Return how far around a block one has to look: for what it is resampled from, and for holes and specks."""
        source = self._source
        largest = max(sum(sizes) for sizes in self._largest)
        # What touches the block and goes further than this has more pixels than are settled, so it is told for sure.
        around_specks = min(largest + 2, _MOST_AROUND) if largest else 0
        if source.working == source.shape:
            return around_specks, around_specks
        y, x = (math.ceil(w / s) + 1 for w, s in zip(source.working, source.shape, strict=True))
        return y + around_specks, x + around_specks

    def _area(self, place: Place, *, alone: bool = False) -> Tile:
        """Return what a block needs at working scale; if `alone`, the part of it that no other block needs."""
        box = self._source.in_working(self._store.grid.rectangle(place))
        y, x = self._margins
        return whole_pixels(box, (-y, -x) if alone else (y, x), self._source.working)

    def _holds_tissue(self, place: Place) -> bool:
        return self._tissue is None or self._tissue.has_tissue(self._tiles.rectangle(place))

    def _computed(
        self,
        job: _Job,
        following: _Job | None,
        reader: ThreadPoolExecutor,
        should_stop: Callable[[], bool] | None,
    ) -> Generator[SlideReport, None, ComputedBlock]:
        """Compute a block, and yield what is told of others meanwhile."""
        while job.layout is not self._tiles or not (yield from self._compute(job, following, should_stop)):
            job = self._job(job.place, reader, job.in_view, soon=[])  # the tiles are smaller now
        found = {tile: self._cache.get(tile) for tile in job.tiles}
        alone = self._area(job.place, alone=True)
        for tile in job.tiles:
            if inside(self._tiles.rectangle(tile), alone):
                self._cache.forget(tile)
        self._cache.trim()
        return ComputedBlock(job.place, job.area, self._tiles, found, job.in_view)

    def _compute(
        self, job: _Job, following: _Job | None, should_stop: Callable[[], bool] | None
    ) -> Generator[SlideReport, None, bool]:
        """Bring all tiles of a block into the cache; False where that needed smaller tiles, and there are such now."""
        missing = [tile for tile in job.tiles if tile not in self._cache]
        if not missing:
            return True
        if job.frame is None or job.pixels is None or not set(missing) <= set(job.missing):
            frame = around([self._tiles.rectangle(tile) for tile in missing])
            pixels = self._source.pixels(frame)
        else:
            frame, pixels = job.frame, job.pixels.result()
        while missing:
            _check(should_stop)
            if self._predictor.model is not self._model:
                raise Cancelled(f"Another model is served now; {self._store.path} keeps what was done with the last.")
            chosen = missing[: self.batch]
            pieces = [cut(pixels, self._tiles.rectangle(tile), frame) for tile in chosen]
            for tile, piece in self._beside(following, self.batch - len(chosen)):
                chosen.append(tile)
                pieces.append(piece)
            try:
                found = self._predictor.predict_tiles(np.stack(pieces), self._store.request.prompts)
            except OutOfMemoryError as error:
                if not self._take_less(error):
                    return False
                continue
            for row, tile in enumerate(chosen):
                self._cache.put(tile, found.probability[:, row], found.presence[:, row])
            del missing[: len(chosen)]
            yield from self._stored()
        return True

    def _beside(self, following: _Job | None, count: int) -> Iterator[tuple[Place, NDArray[np.float32]]]:
        """Yield up to `count` tiles of the job that follows, with their pixels, unless these cannot be read."""
        if not count or following is None or following.layout is not self._tiles or following.frame is None:
            return
        if following.pixels is None or following.pixels.exception() is not None:
            return
        tiles = [tile for tile in following.missing if tile not in self._cache]
        for tile in tiles[:count]:
            yield tile, cut(following.pixels.result(), self._tiles.rectangle(tile), following.frame)

    def _take_less(self, error: OutOfMemoryError) -> bool:
        """Halve the batch, or where it is one, the tile; return whether the tiles are still the same."""
        now = TileLoad(self.batch, self._tiles.side)
        less = now.less()
        if less is None:
            raise error
        self._tell(less.words(now))
        self.batch = less.batch
        if less.side == now.side:
            return True
        self._tiles = SlideTiles(self._source.padded, less.side, min(self._overlap, less.side // 4))
        self._cache = TileCache(self._cache.most_bytes)
        return False


def default_batch(predictor: Predictor) -> int:
    """Return how many tiles are computed at once: few where a cancel has to wait for them, many on a card."""
    return _BATCH.get(predictor.device.type, _CARD_BATCH)


def _check(should_stop: Callable[[], bool] | None) -> None:
    if should_stop is not None and should_stop():
        raise Cancelled("Stopped before the slide was done; finished blocks are kept.")
