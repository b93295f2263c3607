"""The real window with the docks, and how well it answers while something goes on behind it."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, NamedTuple

from napari_amvlm._qt.demo.event_loop import TICK, Heartbeat, wait_until
from napari_amvlm.errors import AmvlmError
from training.benchmarks.table import beside, within

if TYPE_CHECKING:
    from collections.abc import Iterator

    import napari

    from napari_amvlm._qt.annotate.dock import AnnotateDock
    from napari_amvlm._qt.learn.dock import LearnDock
    from napari_amvlm._qt.main_dock import MainDock
    from training.benchmarks.table import Row

P99 = 33.0
"""Milliseconds between two ticks: two frames at 60 a second."""

_PATIENCE = 120.0
_SIZE = (1280, 800)


class Window(NamedTuple):
    """A viewer with both docks and the model loaded."""

    viewer: napari.Viewer
    dock: MainDock

    @property
    def annotate(self) -> AnnotateDock:
        """The Annotate tab."""
        return self.dock.annotate

    @property
    def learn(self) -> LearnDock:
        """The Learn tab."""
        return self.dock.learn

    def settle(self) -> None:
        """Let the event loop run until no thread is at work."""
        workspace = self.dock.workspace
        wait_until(lambda: not workspace.threads(), seconds=_PATIENCE, what="the threads to end")


@contextlib.contextmanager
def open_window(model: str | None) -> Iterator[Window]:
    """Open napari with both docks, load the model, and close everything after the body.

    Raises
    ------
    AmvlmError
        The model cannot be loaded.
    """
    import napari

    from napari_amvlm._qt.demo.scene import add_dock

    viewer = napari.Viewer(show=True, show_welcome_screen=False)
    viewer.window.resize(*_SIZE)
    dock = add_dock(viewer, model)
    workspace = dock.workspace
    try:
        wait_until(lambda: workspace.model_state != "loading", seconds=_PATIENCE, what="the model")
        if workspace.predictor is None:
            raise AmvlmError(workspace.model_message)
        window = Window(viewer, dock)
        window.settle()
        yield window
    finally:
        workspace.shut_down()
        viewer.close()


def beats(seconds: float) -> dict[str, float]:
    """Measure the event loop for so long while nothing is asked of it."""
    heartbeat = Heartbeat()
    end = time.monotonic() + seconds
    heartbeat.start()
    wait_until(lambda: time.monotonic() > end, seconds=seconds + _PATIENCE, what="the end of the measurement")
    return heartbeat.stop()


def beat_rows(when: str, beats: dict[str, float], idle: dict[str, float], how: str) -> Iterator[Row]:
    """Yield median, 99th percentile and longest time between two ticks, beside those of the idle window."""
    how = f"{how}; a timer of {TICK} ms in the real window ({_SIZE[0]}x{_SIZE[1]}), {beats['ticks']:.0f} ticks"
    yield within(f"event loop while {when}, p99", beats["p99_ms"], P99, "ms", how)
    yield beside(f"event loop while {when}, p50", beats["p50_ms"], idle["p50_ms"], "ms", "idle", how)
    yield beside(f"event loop while {when}, longest", beats["longest_ms"], idle["longest_ms"], "ms", "idle", how)
