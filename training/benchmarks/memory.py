"""How much memory a pass over a slide takes, at three sizes of slide, each in a process of its own."""

from __future__ import annotations

import functools
import itertools
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.imaging import Tile
from napari_amvlm.predictor import Predictor
from napari_amvlm.slides import SlideRequest, SlideRun, SlideStore, memory_needed
from napari_amvlm.slides.slide_run import CACHE_BYTES
from training.benchmarks.pyramid import Mosaic, read_tissue
from training.benchmarks.table import within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_amvlm.imaging import ImageData
    from training.benchmarks.conditions import Options
    from training.benchmarks.table import Row

MOST = 1500.0
"""Megabytes above the idle program."""

_SPOTS, _AT_EACH = 4, 3


class PeakMemory:
    """Watches what this process holds, every 20 ms, while the body of `with` runs.

    Attributes
    ----------
    before, peak
        Resident bytes when it began, and the most since.
    """

    def __enter__(self) -> PeakMemory:
        import psutil

        self._process = psutil.Process()
        self.before: int = self._process.memory_info().rss
        self.peak: int = self.before
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self.peak = max(self.peak, self._process.memory_info().rss)

    @property
    def megabytes(self) -> float:
        """The most that was held above what was held before."""
        return (self.peak - self.before) / 1e6

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            self.peak = max(self.peak, self._process.memory_info().rss)


def spread_run(predictor: Predictor, image: ImageData, folder: Path, prompt: str) -> tuple[PeakMemory, int]:
    """Compute a bounded number of blocks at places all over a slide; return what was held, and how many there were."""
    shape = (int(image.data.shape[0]), int(image.data.shape[1]))
    request = SlideRequest(prompts=(prompt,), model="benchmark", image=image.name, shape=shape)
    store = SlideStore.open(folder / f"{shape[0]}.zarr", request)
    height, width = (side // _SPOTS for side in shape)
    places = [Tile(y * height, x * width, height, width) for y, x in itertools.product(range(_SPOTS), repeat=2)]
    done = 0
    with PeakMemory() as memory:
        run = SlideRun(predictor, image, store, first=places[0])
        for done, _ in enumerate(run.run(), start=1):
            if done == _AT_EACH * len(places):
                break
            run.look_at(places[done // _AT_EACH])
    return memory, done


def _rows(side: int, options: Options) -> Iterator[Row]:
    """Yield the memory that a slide of `side` pixels a side takes."""
    predictor = Predictor.from_file(options.model, device=options.device)
    tile = predictor.model.config.tile
    predictor.predict_tiles(np.zeros((1, tile, tile, 3), np.float32), [options.prompt])
    image = Mosaic(side, read_tissue(options.tissue)).image()
    with tempfile.TemporaryDirectory() as folder:
        memory, done = spread_run(predictor, image, Path(folder), options.prompt)
        batch = SlideRun(predictor, image, SlideStore.read(Path(folder) / f"{side}.zarr")).batch
    needed = memory_needed(predictor.model, batch=batch, prompts=1, cache_bytes=CACHE_BYTES) / 1e6
    how = (
        f"resident memory every 20 ms while {done} blocks at 16 places all over the slide are computed and stored, "
        f"above what the program with the model loaded and one tile computed held; told before the run: {needed:.0f} MB"
    )
    yield within(f"peak memory above idle, slide of {side:,} px squared", memory.megabytes, MOST, "MB", how)


rows_4k, rows_16k, rows_64k = (functools.partial(_rows, side) for side in (4096, 16_384, 65_536))
"""Parts of the benchmark, each in a process of its own."""
