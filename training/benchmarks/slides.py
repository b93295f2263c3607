"""A whole slide: time until the view is masked, throughput, memory, and seams, in one table.

    python -m training.benchmarks.slides [--side 4000] [--data FOLDER] [--model M] [--device DEVICE] [--minutes N]

The slide is made of real tissue tiles, mirrored and turned at random, and written as a tiled, pyramidal OME-TIFF.

- *view*: seconds from the start of the run until the 1024x1024 pixels in the middle are in the store, with the model
  loaded and one tile computed before.
- *throughput*: tiles of the network each second of the whole run (reading, blending and writing included), over those
  of the bare forward pass (image side and one prompt) on 64 tiles of the same size in the same batches, measured before
  and after the run.
- *memory*: most that the process held while the slide was worked through, over what it held before.
- *cancel*: longest time between two questions whether to stop.
- *seams*: share of pixels of the middle whose label differs from that of one pass over a part with the same tiles; the
  tiles at the border of the part are left out.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_amvlm.imaging import Tile, open_images, read_folder, read_image
from napari_amvlm.predictor import Predictor
from napari_amvlm.slides import SlideReport, SlideRequest, SlideRun, SlideSource, SlideStore, memory_needed
from napari_amvlm.slides.slide_run import CACHE_BYTES
from napari_amvlm.slides.tile_cache import SlideTiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

SAMPLES = Path(__file__).parents[2] / "sample_data" / "nuclei"
PROMPT = "nuclei"
VIEW = 1024
_PIECE = 512
_BARE_TILES = 64
_PART_TILES = 3


def write_pyramid(path: Path, side: int, tissue: Sequence[NDArray[np.uint8]], *, seed: int = 0) -> None:
    """Write a square slide of `side` pixels out of pieces of tissue, `(h, w, 3)`, without holding it in memory."""
    import tifffile

    steps = [1]
    while side // steps[-1] > VIEW:
        steps.append(steps[-1] * 2)
    with tifffile.TiffWriter(path, bigtiff=True, ome=True) as file:
        for index, step in enumerate(steps):
            length = -(-side // step)
            options: dict[str, Any] = {"subifds": len(steps) - 1} if index == 0 else {"subfiletype": 1}
            file.write(
                _tiles(length, step, tissue, seed),
                shape=(length, length, 3),
                dtype=np.uint8,
                tile=(_PIECE, _PIECE),
                photometric="rgb",
                compression="jpeg",
                compressionargs={"level": 90},
                **options,
            )


def _tiles(length: int, step: int, tissue: Sequence[NDArray[np.uint8]], seed: int) -> Iterator[NDArray[np.uint8]]:
    """Yield the tiles of a level; each piece of the full resolution is drawn by its place alone."""
    count = -(-length // _PIECE)
    for row in range(count):
        for column in range(count):
            tile = np.empty((_PIECE, _PIECE, 3), np.uint8)
            part = _PIECE // step
            for y, x in itertools.product(range(step), repeat=2):
                piece = _piece(row * step + y, column * step + x, tissue, seed)
                tile[y * part : (y + 1) * part, x * part : (x + 1) * part] = piece[::step, ::step]
            yield tile


def _piece(row: int, column: int, tissue: Sequence[NDArray[np.uint8]], seed: int) -> NDArray[np.uint8]:
    """Return one piece of the full resolution, `(512, 512, 3)`."""
    rng = np.random.default_rng((seed, row, column))
    image = tissue[int(rng.integers(len(tissue)))]
    missing = [(0, max(0, _PIECE - side)) for side in image.shape[:2]]
    square = np.pad(image, [*missing, (0, 0)], mode="symmetric")[:_PIECE, :_PIECE]
    return np.ascontiguousarray(np.rot90(square, int(rng.integers(4))))


class PeakMemory:
    """Watches what this process holds, every 20 ms, while the body of `with` runs."""

    def __enter__(self) -> PeakMemory:
        import psutil

        self._process = psutil.Process()
        self.before: int = self._process.memory_info().rss
        self.peak = self.before
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            self.peak = max(self.peak, self._process.memory_info().rss)


def bare_tiles_per_second(predictor: Predictor, tiles: NDArray[np.float32], batch: int) -> float:
    """Return how many tiles the network alone does in a second: image side and one prompt, `(N, S, S, 3)`."""
    started = time.perf_counter()
    for start in range(0, len(tiles), batch):
        predictor.predict_tiles(tiles[start : start + batch], [PROMPT])
    return len(tiles) / (time.perf_counter() - started)


def seam_difference(predictor: Predictor, source: SlideSource, store: SlideStore) -> float:
    """Return the share of pixels in the middle whose label one pass over a part with the same tiles does not give."""
    config = predictor.model.config
    tiles = SlideTiles(source.padded, config.tile, config.overlap)
    first = _even_start(tiles, source.shape)
    corner, last = tiles.rectangle(first), tiles.rectangle((first[0] + _PART_TILES, first[1] + _PART_TILES))
    height, width = last.y + last.height - corner.y, last.x + last.width - corner.x
    predictor.set_image((source.pixels(Tile(corner.y, corner.x, height, width)) * 255).round().astype(np.uint8))
    once = predictor.predict(PROMPT, scale="tiles").probability >= store.request.threshold
    edge = config.overlap
    area = (slice(corner.y, corner.y + height), slice(corner.x, corner.x + width))
    inner = (slice(edge, height - edge), slice(edge, width - edge))
    return float(np.mean((np.asarray(store.levels[0][area]) > 0)[inner] != once[inner]))


def _even_start(tiles: SlideTiles, shape: tuple[int, int]) -> tuple[int, int]:
    """Return the tile nearest to the middle from which a part on its own would be tiled at the very same places."""
    from napari_amvlm.imaging import tile_grid

    middle = tiles.meeting(Tile(shape[0] // 2, shape[1] // 2, 1, 1))[0][0] - _PART_TILES // 2
    for shift in range(middle):
        for start in (middle - shift, middle + shift):
            places = [(start + step, start + step) for step in range(_PART_TILES + 1)]
            if start + _PART_TILES >= round(tiles.count**0.5):
                continue
            found = [tiles.rectangle(place).y for place in places]
            length = found[-1] + tiles.side - found[0]
            if [t.y + found[0] for t in tile_grid((length, 1), tiles.side, tiles.overlap)] == found:
                return places[0]
    raise SystemExit("No part of this slide has tiles of its own at the same places; take another --side.")


def measure(predictor: Predictor, path: Path, folder: Path, minutes: float) -> dict[str, str]:
    """Work through the slide and return the rows of the table."""
    image = open_images(path)[0]
    source = SlideSource(image)
    side = source.shape[0]
    middle = Tile((side - VIEW) // 2, (side - VIEW) // 2, VIEW, VIEW)
    request = SlideRequest(prompts=(PROMPT,), model="benchmark", image=path.name, shape=source.shape)
    store = SlideStore.open(folder / "result.zarr", request)
    config = predictor.model.config
    sample = source.pixels(Tile(0, 0, config.tile, config.tile * _BARE_TILES // 8))
    width = config.tile
    rows = [sample[:, i * width : (i + 1) * width] for i in range(sample.shape[1] // width)]
    tiles = np.stack(rows * 8)[:_BARE_TILES]
    batch = SlideRun(predictor, image, store).batch
    bare_tiles_per_second(predictor, tiles[:batch], batch)
    bare = [bare_tiles_per_second(predictor, tiles, batch)]
    asked: list[float] = []
    computed: list[int] = []
    encoder = predictor.model.image_encoder
    handle = encoder.register_forward_pre_hook(lambda _module, given: computed.append(len(given[0])))
    with PeakMemory() as memory:
        started = time.perf_counter()
        run = SlideRun(predictor, image, store, first=middle)
        view, seconds = _worked_through(run, store, middle, started, minutes, asked)
    handle.remove()
    bare.append(bare_tiles_per_second(predictor, tiles, batch))
    needed = memory_needed(predictor.model, batch=batch, prompts=1, cache_bytes=CACHE_BYTES)
    rate = sum(computed) / seconds
    return {
        "slide": f"{side} x {side} pixels, {run.tile_count} tiles, {path.stat().st_size / 1e6:.0f} MB",
        "computed": f"{sum(computed)} tiles in {seconds:.1f} s, {sum(computed) / run.tile_count:.3f} of the slide's",
        "view": f"{view:.2f} s",
        "throughput": f"{rate:.1f} tiles/s, {rate / statistics.mean(bare):.2f} of the bare forward pass",
        "memory": f"{(memory.peak - memory.before) / 1e6:.0f} MB over idle (told before: {needed / 1e6:.0f} MB)",
        "cancel": f"{max(np.diff(asked), default=0):.2f} s at most",
        "seams": f"{seam_difference(predictor, source, store):.4%} of pixels",
    }


def _worked_through(
    run: SlideRun, store: SlideStore, view: Tile, started: float, minutes: float, asked: list[float]
) -> tuple[float, float]:
    """Return the seconds until the view was masked, and until the end or the end of the time given."""
    waiting = {(int(row), int(column)) for row, column in np.argwhere(store.grid.meeting(view))}
    in_view = 0.0

    def note() -> bool:
        asked.append(time.perf_counter())
        return False

    report: SlideReport
    for report in run.run(note):
        waiting.discard(report.place)
        if not waiting and not in_view:
            in_view = time.perf_counter() - started
        if in_view and time.perf_counter() - started > minutes * 60:
            break
    return in_view, time.perf_counter() - started


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=4000, help="side of the slide, pixels; at least 3000")
    parser.add_argument("--data", type=Path, default=SAMPLES, help="data folder with images of tissue")
    parser.add_argument("--model", default=None)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--minutes", type=float, default=10.0, help="most time for the slide, once the view is done")
    options = parser.parse_args(arguments)
    if options.side < 3000:
        parser.error("--side must be at least 3000")
    tissue = [read_image(pair.image).data for pair in read_folder(options.data, masks="none").pairs]
    tissue = [image for image in tissue if image.dtype == np.uint8 and image.ndim == 3]
    if not tissue:
        parser.error(f"--data {options.data} holds no 8-bit colour image")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slide.ome.tif"
        write_pyramid(path, options.side, tissue)
        predictor = Predictor.from_file(options.model, device=options.device)
        rows = measure(predictor, path, Path(folder), options.minutes)
    rows = {"device": f"{predictor.device}, {torch.get_num_threads()} threads", **rows}
    sys.stdout.write("".join(f"{name:<11} {value}\n" for name, value in rows.items()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
