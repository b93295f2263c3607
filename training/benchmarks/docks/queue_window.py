"""Next in the real window once an image was predicted in the background, and the event loop while that works."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from napari_amvlm._qt.demo.event_loop import Heartbeat, wait_until
from napari_amvlm._qt.queue.ahead import COUNT
from napari_amvlm.project import Project
from training.benchmarks.docks.window import beat_rows, beats, open_window
from training.benchmarks.prompt_latency import SIDE, square_sample
from training.benchmarks.pyramid import read_tissue
from training.benchmarks.table import within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_amvlm._qt.workspace import Workspace
    from training.benchmarks.conditions import Options
    from training.benchmarks.docks.window import Window
    from training.benchmarks.table import Row

NEXT = 0.3
"""Seconds from the key to image and mask."""

_IMAGES = 9
_STEPS = 5
_IDLE_SECONDS = 3.0
_PATIENCE = 120.0
_LOOK = 1.0
"""Seconds that a person looks at an image at least."""


def make_project(root: Path, tissue: Path, count: int = _IMAGES) -> None:
    """Make a project of 512 x 512 images of tissue."""
    with Project.create(root) as project:
        for number, image in enumerate(read_tissue(tissue)[:count]):
            project.images.add_array(square_sample(image), name=f"tissue {number}")


def step_through(
    window: Window, root: Path, prompt: str, steps: int
) -> tuple[list[float], list[float], dict[str, float]]:
    """Press Next, each time once the next image is ready.

    Returns
    -------
    tuple
        The seconds of each step from the key to image and mask, the seconds that the window's thread had the
        processor of them, and the event loop while the background works.
    """
    annotate, queue = window.annotate, window.dock.queue.queue
    workspace: Workspace = window.dock.workspace
    workspace.open_project(root)
    wait_until(lambda: workspace.view is not None and not workspace.threads(), seconds=_PATIENCE, what="the project")
    workspace.prompts[:] = [prompt]
    heartbeat = Heartbeat()
    heartbeat.start()
    queue.ahead.update()
    ahead = [item.image_id for item in queue.items()][:COUNT]
    wait_until(lambda: all(i in queue.ahead for i in ahead), seconds=_PATIENCE, what="the images ahead")
    heartbeats = heartbeat.stop()
    seconds, computing = [], []
    for item in queue.items()[:steps]:
        wait_until(lambda i=item.image_id: i in queue.ahead, seconds=_PATIENCE, what="the next image")  # type: ignore[misc]
        beats(_LOOK)
        started, computed = time.perf_counter(), time.thread_time()
        annotate.next_item()
        wait_until(lambda i=item.image_id: _is_shown(window, i, prompt), seconds=_PATIENCE, what="the mask")  # type: ignore[misc]
        seconds.append(time.perf_counter() - started)
        computing.append(time.thread_time() - computed)
    return seconds, computing, heartbeats


def _is_shown(window: Window, image_id: int, prompt: str) -> bool:
    """Tell whether an image of the project is shown with a mask."""
    annotation = window.annotate.annotation()
    if annotation is None or annotation.image_id != image_id or not annotation.has_run(prompt):
        return False
    return bool(annotation.image.visible and annotation.mask(prompt).any())


def rows(options: Options) -> Iterator[Row]:
    """Yield the seconds of Next, and the event loop while the next images are predicted."""
    with tempfile.TemporaryDirectory() as folder, open_window(options.model) as window:
        root = Path(folder) / "bench.amvlm"
        make_project(root, options.tissue)
        idle = beats(_IDLE_SECONDS)
        seconds, computing, heartbeats = step_through(window, root, options.prompt, _STEPS)
    images = f"{_IMAGES} images of {SIDE}x{SIDE} tissue, prompt {options.prompt!r}"
    how = f"{images}; from the key to image and mask, the image predicted in the background before; median of {_STEPS}"
    yield within("Next, image and mask", statistics.median(seconds), NEXT, "s", how)
    yield within("Next, image and mask, longest", max(seconds), NEXT, "s", how)
    busy = f"{how}; what the thread of the window computed of it, which other programs do not lengthen much"
    yield within("Next, image and mask, processor time", statistics.median(computing), NEXT, "s", busy)
    yield from beat_rows("predicting the next images", heartbeats, idle, f"{images}; {COUNT} predicted one by one")
