"""A whole slide of real tissue: the view first, throughput, cancelling, and seams.

The slide is written as a tiled, pyramidal OME-TIFF with JPEG compression and read from there, as any slide is.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.errors import Cancelled
from napari_amvlm.imaging import ImageData, Tile, open_images
from napari_amvlm.predictor import Predictor
from napari_amvlm.slides import BLOCK, SlideRequest, SlideRun, SlideSource, SlideStore
from training.benchmarks.pyramid import Mosaic, read_tissue, write_pyramid
from training.benchmarks.table import share, within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from training.benchmarks.conditions import Options
    from training.benchmarks.table import Row

VIEW = 1024
"""Side of what is in view, pixels of the slide."""

_FITS = 1900
"""Side of a slide that one pass takes whole, pixels."""

_BARE_TILES = 64
_CANCELS = 5


class SlideBench:
    """One slide, one prompt, and the results of several passes over it."""

    def __init__(self, predictor: Predictor, image: ImageData, folder: Path, prompt: str) -> None:
        self.predictor, self.image, self.folder, self.prompt = predictor, image, folder, prompt
        self.shape = (int(image.data.shape[0]), int(image.data.shape[1]))
        tile = predictor.model.config.tile
        predictor.predict_tiles(np.zeros((1, tile, tile, 3), np.float32), [prompt])  # once, to warm up

    def store(self, name: str, block: int = BLOCK) -> SlideStore:
        """Return a new store."""
        request = SlideRequest(
            prompts=(self.prompt,), model="benchmark", image=self.image.name, shape=self.shape, block=block
        )
        return SlideStore.open(self.folder / f"{name}.zarr", request)

    def middle(self, side: int) -> Tile:
        """Return a square in the middle of the slide."""
        return Tile((self.shape[0] - side) // 2, (self.shape[1] - side) // 2, side, side)

    def view_seconds(self, side: int = VIEW) -> tuple[float, int]:
        """Return the seconds from asking until all of the view is stored, and the number of blocks that it touches."""
        started = time.perf_counter()
        view, store = self.middle(side), self.store("view")
        waiting = {(int(row), int(column)) for row, column in np.argwhere(store.grid.meeting(view))}
        count = len(waiting)
        for report in SlideRun(self.predictor, self.image, store, first=view).run():
            waiting.discard(report.index)
            if not waiting:
                break
        return time.perf_counter() - started, count

    def throughput(self, *, seconds: float = 12.0, rounds: int = 4) -> tuple[float, float]:
        """Return the tiles a second of the run, and of the network alone, taken in turns."""
        run = SlideRun(self.predictor, self.image, self.store("throughput"))
        tiles = self._tiles(_BARE_TILES)
        bare, worked, computed = [self._bare(tiles, run.batch)], 0.0, list[int]()
        encoder = self.predictor.model.image_encoder
        reports = run.run()
        for _ in range(rounds):
            handle = encoder.register_forward_pre_hook(lambda _module, given: computed.append(len(given[0])))
            started = time.perf_counter()
            while time.perf_counter() - started < seconds and next(reports, None) is not None:
                pass
            worked += time.perf_counter() - started
            handle.remove()
            bare.append(self._bare(tiles, run.batch))
        reports.close()
        return sum(computed) / worked, statistics.mean(bare)

    def cancel_seconds(self, times: int = _CANCELS, first: float = 0.5) -> list[float]:
        """Return how long each of several cancellations took, from asking until the run had ended.

        Parameters
        ----------
        first
            Seconds into its run at which the first is asked, the others later; what ends before is not cancelled.
        """
        store, seconds = self.store("cancel"), []
        for turn in range(times):
            cancelled, when = threading.Event(), [0.0]
            timer = threading.Timer(first + 0.13 * turn, _ask(cancelled, when))
            reports = SlideRun(self.predictor, self.image, store).run(cancelled.is_set)
            timer.start()
            try:
                for _ in reports:
                    pass
            except Cancelled:
                seconds.append(time.perf_counter() - when[0])
            timer.cancel()
        return seconds

    def seam_share(self, blocks: int = 3) -> float:
        """Return the share of pixels of a region whose label hangs on whether it is done in blocks or as one block."""
        side = blocks * BLOCK
        start = (min(self.shape) // 2) // side * side
        region = Tile(start, start, min(side, self.shape[0] - start), min(side, self.shape[1] - start))
        labels = []
        for name, block in (("apart", BLOCK), ("together", side)):
            store = self.store(name, block)
            list(SlideRun(self.predictor, self.image, store, region=region, first=self.middle(64)).run())
            labels.append(np.asarray(store.levels[0][region.slices]))
        return float(np.mean(labels[0] != labels[1]))

    def _tiles(self, count: int) -> NDArray[np.float32]:
        """Return tiles of the slide as the network takes them, `(count, S, S, 3)`."""
        side, source, across = self.predictor.model.config.tile, SlideSource(self.image), 8
        down = -(-count // across)
        places = [Tile(y * side, x * side, side, side) for y, x in itertools.product(range(down), range(across))]
        return np.stack([source.pixels(tile) for tile in places[:count]])

    def _bare(self, tiles: NDArray[np.float32], batch: int) -> float:
        """Return how many tiles the network alone does in a second: image side and one prompt, in the run's batches."""
        started = time.perf_counter()
        for start in range(0, len(tiles), batch):
            self.predictor.predict_tiles(tiles[start : start + batch], [self.prompt])
        return len(tiles) / (time.perf_counter() - started)


def one_pass_share(predictor: Predictor, pixels: NDArray[np.uint8], folder: Path, prompt: str) -> float:
    """Return the share of pixels of a slide `(H, W, 3)` whose label one pass over all of it does not give."""
    bench = SlideBench(predictor, ImageData(pixels, "fits", None, True), folder, prompt)
    store = bench.store("fits")
    list(SlideRun(predictor, bench.image, store, first=bench.middle(64)).run())
    predictor.set_image(pixels)
    once = predictor.predict(prompt, scale="tiles").probability >= store.request.threshold
    return float(np.mean((np.asarray(store.levels[0][:]) > 0) != once))


def rows(options: Options) -> Iterator[Row]:
    """Yield the view, throughput, cancelling, and seams."""
    tissue = read_tissue(options.tissue)
    predictor = Predictor.from_file(options.model, device=options.device)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slide.ome.tif"
        write_pyramid(path, Mosaic(options.side, tissue))
        bench = SlideBench(predictor, open_images(path)[0], Path(folder), options.prompt)
        yield from _pyramid_rows(bench, f"slide of {options.side:,} px squared, {path.stat().st_size / 1e6:.0f} MB")
        pixels = np.asarray(Mosaic(_FITS, tissue).image().data[:])
        how = f"all pixels of a slide of {_FITS:,} px squared: blocks, the middle first, beside `Predictor.predict`"
        differing = 100 * one_pass_share(predictor, pixels, Path(folder), options.prompt)
        yield within("labels that one pass over the whole does not give", differing, 0.1, "%", how)


def _pyramid_rows(bench: SlideBench, what: str) -> Iterator[Row]:
    seconds, count = bench.view_seconds()
    how = (
        f"{what}; model loaded and one tile computed before; from making the store until the {count} blocks that "
        f"{VIEW}x{VIEW} px in the middle touch are in it"
    )
    yield within("view first", seconds, 3.0, "s", how)
    rate, bare = bench.throughput()
    how = (
        f"{what}; 4 times 12 s of the run (reading, blending, settling and storing included), before and after each of "
        f"them {_BARE_TILES} tiles of the network alone in the same batches"
    )
    yield share("slide throughput", rate, bare, "tiles/s", "bare forward pass", how, least=0.85)
    how = f"{what}; the longest of {_CANCELS}, from asking in the middle of the run until it had ended"
    yield within("cancelling a slide", max(bench.cancel_seconds()), 1.0, "s", how)
    how = f"{what}; {3 * BLOCK}x{3 * BLOCK} px in the middle, done in blocks of {BLOCK}, beside one block"
    yield within("labels that change with the seams between blocks", 100 * bench.seam_share(), 0.1, "%", how)


def _ask(cancelled: threading.Event, when: list[float]) -> Callable[[], None]:
    """Return what notes the time, and then asks."""

    def ask() -> None:
        when[0] = time.perf_counter()
        cancelled.set()

    return ask
