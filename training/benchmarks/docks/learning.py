"""From Start to the first better model, and the event loop meanwhile, in the real window."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_amvlm._qt.demo.event_loop import Heartbeat, wait_until
from napari_amvlm.errors import AmvlmError
from napari_amvlm.imaging import binary_mask, read_folder, read_image
from napari_amvlm.project import Answer, Project
from training.benchmarks.docks.window import beat_rows, beats, open_window
from training.benchmarks.table import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from training.benchmarks.conditions import Options
    from training.benchmarks.docks.window import Window

_ROLES = ("labelled", "held_out", "unlabelled")
_MOST_IMAGES = 12
_IDLE_SECONDS = 5.0
_PATIENCE = 120.0


class FirstBetter:
    """Listens to a run, and notes when a teacher first scored better than the start.

    Attributes
    ----------
    scores
        Seconds since it was made, and mean Dice on the held-out images, of each validation.
    """

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self.scores: list[tuple[float, float]] = []

    def note(self, report: Any) -> None:
        """Take a report of the run."""
        dice = getattr(report, "dice", None)
        if dice is not None:
            self.scores.append((time.perf_counter() - self._started, dice))

    def better(self) -> tuple[float, float] | None:
        """Return seconds and score of the first one that is better than the start; None where none is."""
        return next((entry for entry in self.scores[1:] if entry[1] > self.scores[0][1]), None)


def make_project(root: Path, folder: Path, prompt: str) -> dict[str, int]:
    """Write a project out of a data folder: images in turn labelled, held out and unlabelled; return their numbers."""
    counts = dict.fromkeys(_ROLES, 0)
    with Project.create(root) as project:
        for index, pair in enumerate(read_folder(folder).pairs[:_MOST_IMAGES]):
            role = _ROLES[index % len(_ROLES)]
            image = read_image(pair.image).data
            record = project.images.add_file(pair.image)
            counts[role] += 1
            if role == "unlabelled":
                continue
            mask = binary_mask(pair.labels(image.shape))
            project.corrections.accept(record.id, prompt, Answer(mask, model=None, threshold=0.5))
            project.images.set_held_out(record.id, role == "held_out")
    return counts


def learn(window: Window, root: Path, minutes: float) -> tuple[FirstBetter, dict[str, float]]:
    """Press Start, let the run go to its end, and return its scores and how well the window answered.

    Raises
    ------
    AmvlmError
        The run failed, or gave no score.
    """
    from napari_amvlm._qt.widgets.budget import Budget

    workspace, panel = window.learn.workspace, window.learn.panel
    workspace.open_project(root)
    window.settle()
    panel.budget.setValue(Budget(panel.budget.value().device, minutes))
    heartbeat, heard = Heartbeat(), FirstBetter()
    heartbeat.start()
    panel.start_button.click()
    thread = workspace.learning()
    if thread is None:
        raise AmvlmError(f"Learning did not start: {panel.status.value()[1]}")
    thread.reported.connect(heard.note)
    wait_until(lambda: workspace.learning() is None, seconds=_PATIENCE + 60 * minutes, what="the end of learning")
    beats = heartbeat.stop()
    window.settle()
    if not heard.scores:
        raise AmvlmError(f"Learning gave no score: {panel.status.value()[1]}")
    return heard, beats


def first_better_row(heard: FirstBetter, minutes: float, how: str) -> Row:
    """Return the line of the first better model, or say that none came within the budget."""
    what, start, better = "Start to the first better model", heard.scores[0][1], heard.better()
    budget = f"budget: {60 * minutes:g} s"
    if better is None:
        best = max((dice for _, dice in heard.scores[1:]), default=float("nan"))
        return Row(what, "none came", f"{how}; Dice {start:.4f} at the start, at best {best:.4f} after", budget)
    seconds, dice = better
    words = f"{how}; Dice {start:.4f} at the start, {dice:.4f} then"
    return Row(what, f"{seconds:.3g} s", words, f"{budget}, over it", seconds / (60 * minutes))


def rows(options: Options) -> Iterator[Row]:
    """Yield the first better model, and the event loop while learning."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "bench.amvlm"
        counts = make_project(root, options.learning, options.prompt)
        with open_window(options.model) as window:
            idle = beats(_IDLE_SECONDS)
            heard, heartbeats = learn(window, root, options.minutes)
    images = ", ".join(f"{number} {role.replace('_', ' ')}" for role, number in counts.items())
    how = f"Start pressed in the dock, {options.learning.name}: {images} images, prompt {options.prompt!r}"
    yield first_better_row(heard, options.minutes, f"{how}; mean Dice on the held-out images, scored up to six times")
    yield from beat_rows("learning", heartbeats, idle, f"{how}; from Start to the end of the run")
