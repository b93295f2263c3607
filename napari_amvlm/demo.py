"""The whole loop on sample images in the real window: prompt, correction, learning, better mask.

Where there is a screen, napari opens on the sample and the rest is up to the person.  Where there is none, or with
`AMVLM_DEMO=script` in the environment, a script drives the same docks, with the true masks in the place of what an
annotator would paint.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm._sample_data import sample_folder
from napari_amvlm.errors import AmvlmError
from napari_amvlm.imaging import read_folder, read_image, read_mask
from napari_amvlm.metrics import dice

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import napari

    from napari_amvlm._qt.annotate_dock import AnnotateDock
    from napari_amvlm._qt.learn_dock import LearnDock
    from napari_amvlm._qt.workspace import Workspace
    from napari_amvlm.imaging import ImagePair
    from napari_amvlm.project import Project

PROMPT = "nuclei"
ROLES = ("labelled", "held_out", "unlabelled", "unseen")
"""What the sample's images are for, in turn: learnt from, judge the model, learnt from without labels, kept apart."""

PATIENCE = 600.0
_SCRIPT = "AMVLM_DEMO"


def run_demo(output: Path, *, minutes: float = 1.0, model: str | Path | None = None) -> dict[str, Any]:
    """Open napari on the sample, or drive it by a script where there is no screen.

    Parameters
    ----------
    output : Path
        Folder for `summary.json`, `screenshot.png` and the project; made if it is not there.
    minutes : float
        Learning time.
    model : str or Path, optional
        Name or file of the model to start from; by default the one that is installed.

    Returns
    -------
    dict
        The summary; with a screen just `{"mode": "window"}`, once the window is closed.
    """
    from napari_amvlm._qt.virtual_screen import has_screen, virtual_screen

    if not has_screen():
        with virtual_screen():
            return _in_a_process_of_its_own(output, minutes, model)
    if os.environ.get(_SCRIPT) == "script":
        return _Script(output, minutes=minutes, model=model).run()
    return _open_window(model)


def _in_a_process_of_its_own(output: Path, minutes: float, model: str | Path | None) -> dict[str, Any]:
    # Qt holds its screen until the process ends, and the virtual one must not go before it
    command = [sys.executable, "-m", "napari_amvlm", "demo", "--output", str(output), "--minutes", str(minutes)]
    if model is not None:
        command += ["--model", str(model)]
    ended = subprocess.run(command, env={**os.environ, _SCRIPT: "script"}, stdout=subprocess.PIPE, check=False)
    if ended.returncode:
        raise AmvlmError(f"The demonstration ended with exit code {ended.returncode}; its last words stand above.")
    summary: dict[str, Any] = json.loads((output / "summary.json").read_text(encoding="utf-8"))
    return summary


def _open_window(model: str | Path | None) -> dict[str, Any]:
    import napari

    viewer = napari.Viewer(title="napari-amvlm demonstration")
    annotate, _ = add_docks(viewer, model)
    for pair in _pairs():
        _add_image(viewer, pair)
    _show_only(viewer, _pairs()[0].name)
    annotate.panel.prompt.setValue(PROMPT)
    napari.run()
    return {"mode": "window"}


class _Script:
    """Drives the docks as a person would."""

    def __init__(self, output: Path, *, minutes: float, model: str | Path | None) -> None:
        self._output = output
        self._minutes = minutes
        self._model = model
        self._seconds: dict[str, float] = {}
        self._truth = {pair.name: read_mask(_mask_path(pair)) > 0 for pair in _pairs()}
        self._roles = {pair.name: ROLES[index % len(ROLES)] for index, pair in enumerate(_pairs())}

    def run(self) -> dict[str, Any]:
        """Run all stages and write what they gave."""
        self._output.mkdir(parents=True, exist_ok=True)
        project = self._output / "nuclei.amvlm"
        if project.exists():
            shutil.rmtree(project)
        with self._stage("open window"):
            viewer = self._window()
        try:
            summary = self._work(viewer, project)
            viewer.window.screenshot(str(self._output / "screenshot.png"), flash=False, canvas_only=False)
        finally:
            self.workspace.shut_down()
            viewer.close()
        (self._output / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        return summary

    def _work(self, viewer: napari.Viewer, project: Path) -> dict[str, Any]:
        from napari_amvlm._qt.event_loop import Heartbeat

        heartbeat = Heartbeat()
        heartbeat.start()
        with self._stage("load model"):
            self._wait(lambda: self.workspace.model_state != "loading", "the model")
        loading = heartbeat.stop()
        if self.workspace.predictor is None:
            raise AmvlmError(self.workspace.model_words)
        start_model = self.workspace.predictor.info
        for pair in _pairs():
            _add_image(viewer, pair)
        first, second = self._of("unseen")[:2]
        with self._stage("first prompt"):
            self._prompt(viewer, first)
        with self._stage("second image"):
            self._prompt(viewer, second)
        before = {name: self._score(viewer, name) for name in self._of("unseen")}
        self.workspace.open_project(project)
        self._idle()
        with self._stage("correct and accept"):
            for name in (*self._of("labelled"), *self._of("held_out")):
                self._correct(viewer, name)
            self._hold_out()
            self.learn.add_files([pair.image for pair in _pairs() if self._roles[pair.name] == "unlabelled"])
            self._idle()
        heartbeat.start()
        with self._stage("learn"):
            busy_prompt = self._learn(viewer)
        learning = heartbeat.stop()
        outcome = self.learn.outcome
        if outcome is None:
            raise AmvlmError(self.learn.panel.status.value()[1])
        with self._stage("prompt again"):
            after = {name: self._score(viewer, name) for name in self._of("unseen")}
        self._idle()
        self._pose(viewer, first)
        return {
            "mode": "script",
            "prompt": PROMPT,
            "images": {role: self._of(role) for role in ROLES},
            "dice": {"unseen_before": _mean(before), "unseen_after": _mean(after), "per_image": _both(before, after)},
            "held_out": {"before": outcome.before, "after": outcome.after, "verdict": outcome.verdict.value},
            "said": self.learn.panel.status.value()[1],
            "steps": len(self.learn.panel.curve.value().loss),
            "seconds": {name: round(spent, 2) for name, spent in self._seconds.items()},
            "prompt_while_learning_seconds": round(busy_prompt, 2),
            "event_loop": {"loading": loading, "learning": learning},
            "device": self._device(str(self.workspace.predictor.device)),
            "model": {"start": start_model.name if start_model else None, "new": outcome.record.name},
            "versions": _versions(),
        }

    # Stages

    def _window(self) -> napari.Viewer:
        import napari

        viewer = napari.Viewer(show=True, show_welcome_screen=False)
        viewer.window.resize(1280, 800)
        self.annotate, self.learn = add_docks(viewer, self._model)
        self.workspace: Workspace = self.annotate.workspace
        return viewer

    def _prompt(self, viewer: napari.Viewer, name: str) -> None:
        """Choose an image, type the prompt, press Enter, and wait for the mask."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        _show_only(viewer, name)
        keyboard: Any = QTest  # its methods are typed as if they were not static
        line = self.annotate.panel.prompt.lineEdit()
        self.annotate.panel.prompt.setValue("")
        keyboard.keyClicks(line, PROMPT)
        keyboard.keyClick(line, Qt.Key.Key_Return)
        self._wait(self.annotate.run_of_prompts.is_running, f"the run on {name}")
        self._wait(lambda: not self._is_predicting(), f"the mask of {name}")
        self.annotate.panel.prompts.setCurrent(PROMPT)

    def _score(self, viewer: napari.Viewer, name: str) -> float:
        self._prompt(viewer, name)
        return float(dice(viewer.layers[f"{name} masks"].data > 0, self._truth[name]))

    def _correct(self, viewer: napari.Viewer, name: str) -> None:
        """Paint what an annotator would: the true mask, through the layer's own undoable edits; then accept."""
        self._prompt(viewer, name)
        labels = viewer.layers[f"{name} masks"]
        true = self._truth[name].astype(labels.data.dtype)
        wrong = np.nonzero((labels.data > 0) != (true > 0))
        labels.data_setitem(wrong, true[wrong])
        self.annotate.panel.accept_button.click()
        self._idle()

    def _hold_out(self) -> None:
        names = set(self._of("held_out"))

        def decide(project: Project) -> None:
            for record in project.images():
                project.set_held_out(record.id, record.path.stem in names)

        self.workspace.with_project(decide)
        self._idle()

    def _learn(self, viewer: napari.Viewer) -> float:
        """Press Start, ask a prompt meanwhile, wait for the end; return the seconds that the prompt took."""
        from napari_amvlm._qt.widgets.budget import Budget

        self.learn.panel.budget.setValue(Budget(self.learn.panel.budget.value().device, self._minutes))
        self.learn.panel.start_button.click()
        self._wait(
            lambda: self.workspace.learning() is None or len(self.learn.panel.curve.value().loss) > 2, "the first steps"
        )
        started = time.perf_counter()
        self._prompt(viewer, self._of("unlabelled")[0])
        spent = time.perf_counter() - started
        self._wait(lambda: self.workspace.learning() is None, "the end of learning", extra=60 * self._minutes)
        self._idle()
        return spent

    def _pose(self, viewer: napari.Viewer, name: str) -> None:
        """Make the window fit to be looked at."""
        from qtpy.QtCore import Qt
        from qtpy.QtWidgets import QDockWidget

        window = viewer.window._qt_window
        docks = window.findChildren(QDockWidget)
        widths = {"Annotate": 300, "Learn": 300, "layer list": 230, "layer controls": 230}
        shown = [dock for dock in docks if dock.isVisible() and dock.windowTitle() in widths]
        window.resizeDocks(shown, [widths[dock.windowTitle()] for dock in shown], Qt.Orientation.Horizontal)
        _show_only(viewer, name)
        viewer.layers.selection.active = viewer.layers[f"{name} masks"]
        settled = time.monotonic() + 1.0
        self._wait(lambda: time.monotonic() > settled, "the last frame")

    # Waiting

    def _device(self, name: str) -> str:
        return self.workspace.devices.get(name, name)

    def _of(self, role: str) -> list[str]:
        return [name for name, its in self._roles.items() if its == role]

    def _is_predicting(self) -> bool:
        return self.annotate.run_of_prompts.is_running() or self.annotate.repainter.is_busy()

    def _idle(self) -> None:
        self._wait(lambda: not self.workspace.threads() and not self._is_predicting(), "the work in hand")

    def _wait(self, condition: Any, what: str, *, extra: float = 0.0) -> None:
        from napari_amvlm._qt.event_loop import wait_until

        wait_until(condition, seconds=PATIENCE + extra, what=what)

    @contextlib.contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self._seconds[name] = time.perf_counter() - started


def add_docks(viewer: napari.Viewer, model: str | Path | None) -> tuple[AnnotateDock, LearnDock]:
    """Add both docks side by side, so that both can be read on 1280 x 800."""
    from qtpy.QtCore import Qt

    from napari_amvlm._qt.annotate_dock import AnnotateDock
    from napari_amvlm._qt.learn_dock import LearnDock
    from napari_amvlm._qt.workspace import workspace_for

    workspace_for(viewer).load_model(model)
    annotate, learn = AnnotateDock(viewer), LearnDock(viewer)
    left = viewer.window.add_dock_widget(annotate, name="Annotate", area="right")
    right = viewer.window.add_dock_widget(learn, name="Learn", area="right")
    window = left.parentWidget()
    window.splitDockWidget(left, right, Qt.Orientation.Horizontal)
    window.resizeDocks([left, right], [320, 320], Qt.Orientation.Horizontal)
    return annotate, learn


def _pairs() -> list[ImagePair]:
    return list(read_folder(sample_folder(PROMPT)).pairs)


def _mask_path(pair: ImagePair) -> Path:
    if pair.mask is None:
        raise AmvlmError(f"Sample image {pair.name} has no mask; install napari-amvlm again.")
    return pair.mask


def _add_image(viewer: napari.Viewer, pair: ImagePair) -> None:
    image = read_image(pair.image)
    viewer.add_image(image.data, name=pair.name, rgb=image.rgb, metadata={"path": str(pair.image)})


def _show_only(viewer: napari.Viewer, name: str) -> None:
    """Show one image and its masks, and make the image the active layer."""
    for layer in viewer.layers:
        layer.visible = layer.name in (name, f"{name} masks")
    viewer.layers.selection.active = viewer.layers[name]
    viewer.reset_view()


def _mean(scores: dict[str, float]) -> float:
    return round(float(np.mean(list(scores.values()))), 4)


def _both(before: dict[str, float], after: dict[str, float]) -> dict[str, dict[str, float]]:
    return {name: {"before": round(before[name], 4), "after": round(after[name], 4)} for name in before}


def _versions() -> dict[str, str]:
    packages = ("napari-amvlm", "napari", "torch", "transformers", "numpy", "PyQt6")
    found = {"python": platform.python_version(), "system": platform.platform()}
    for package in packages:
        with contextlib.suppress(ModuleNotFoundError):
            found[package] = version(package)
    return found
