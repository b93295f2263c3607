"""A slide that is worked through behind the real window: how well it answers, and what is held meanwhile."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal

from napari_amvlm._qt.demo.event_loop import Heartbeat, wait_until
from napari_amvlm._qt.workers import GuardedThread
from napari_amvlm.errors import AmvlmError
from napari_amvlm.imaging import Tile
from napari_amvlm.slides import SlideRequest, SlideRun, SlideStore
from training.benchmarks.docks.window import beat_rows, beats, open_window
from training.benchmarks.memory import MOST, PeakMemory
from training.benchmarks.pyramid import Mosaic, read_tissue
from training.benchmarks.table import within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from training.benchmarks.conditions import Options
    from training.benchmarks.docks.window import Window
    from training.benchmarks.table import Row

_SECONDS = 30.0
_IDLE_SECONDS = 5.0
_REFRESH = 1.0
_PATIENCE = 60.0


class SlideThread(GuardedThread):
    """Works through a slide until it is stopped, and tells of each block."""

    stored = Signal(object)

    def __init__(self, run: SlideRun) -> None:
        super().__init__()
        self._run = run

    def work(self) -> None:
        """Compute and store block after block."""
        for report in self._run.run(self.isInterruptionRequested):
            self.stored.emit(report)


def predict_in_window(
    window: Window, mosaic: Mosaic, folder: Path, prompt: str, seconds: float
) -> tuple[dict[str, float], dict[str, float], PeakMemory, int]:
    """Show a slide and its labels, work through it for so long, and return how the window answered.

    Returns
    -------
    tuple
        The event loop when idle and at work, the memory at work, and the number of blocks.

    Raises
    ------
    AmvlmError
        The run failed.
    """
    viewer, predictor = window.viewer, window.annotate.workspace.predictor
    if predictor is None:
        raise AmvlmError("There is no model.")
    image = mosaic.image()
    request = SlideRequest(prompts=(prompt,), model="bench", image=image.name, shape=(mosaic.side, mosaic.side))
    store = SlideStore.open(folder / "window.zarr", request)
    viewer.add_image(list(image.levels), multiscale=True, rgb=True, name="slide")
    labels = viewer.add_labels(store.levels, multiscale=True, name="slide masks")
    middle = mosaic.side // 2
    viewer.camera.center, viewer.camera.zoom = (middle, middle), 1.0
    idle = beats(_IDLE_SECONDS)
    view = Tile(middle - 400, middle - 400, 800, 800)
    thread = SlideThread(SlideRun(predictor, image, store, first=view))
    failures, blocks = list[str](), list[Any]()
    thread.errored.connect(lambda text, _error: failures.append(text))
    shown = [0.0]

    def show(report: object) -> None:
        blocks.append(report)
        if time.monotonic() - shown[0] > _REFRESH:
            shown[0] = time.monotonic()
            labels.refresh()

    thread.stored.connect(show)
    heartbeat, end = Heartbeat(), time.monotonic() + seconds
    with PeakMemory() as memory:
        heartbeat.start()
        thread.start()
        wait_until(lambda: time.monotonic() > end or thread.isFinished(), seconds=seconds + _PATIENCE, what="the slide")
        heartbeats = heartbeat.stop()
        thread.stop()
        wait_until(thread.isFinished, seconds=_PATIENCE, what="the slide's thread")
    if failures:
        raise AmvlmError(failures[0])
    return idle, heartbeats, memory, len(blocks)


def rows(options: Options) -> Iterator[Row]:
    """Yield the event loop while a slide is predicted, and the memory above the idle viewer."""
    mosaic = Mosaic(options.side, read_tissue(options.tissue))
    with tempfile.TemporaryDirectory() as folder, open_window(options.model) as window:
        idle, beats, memory, count = predict_in_window(window, mosaic, Path(folder), options.prompt, _SECONDS)
    how = (
        f"slide of {options.side:,} px squared, made where it is looked at, and its labels shown in napari; {count} "
        f"blocks in {_SECONDS:g} s, the view first, labels drawn anew every {_REFRESH:g} s"
    )
    yield from beat_rows("predicting a slide", beats, idle, how)
    yield within("peak memory above the idle viewer", memory.megabytes, MOST, "MB", f"{how}; resident, every 20 ms")
