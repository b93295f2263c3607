"""The demonstration by a script: the docks are driven as a person would, with true masks instead of painted ones.

The person asks for nuclei, which the model knows, and for pink tissue (all that is no nucleus), which it was never
taught; corrects both on a few images, has the model learn, and asks again on images that nobody corrected.
"""

from __future__ import annotations

import contextlib
import json
import platform
import shutil
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_amvlm._qt.demo.scene import NEW_PROMPT, PROMPT, add_dock, add_image, sample_pairs, show_only, true_mask
from napari_amvlm.errors import AmvlmError
from napari_amvlm.metrics import dice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import napari
    from numpy.typing import NDArray

    from napari_amvlm._qt.workspace import Workspace
    from napari_amvlm.predictor import Predictor
    from napari_amvlm.project import Project

PROMPTS = (PROMPT, NEW_PROMPT)
ROLES = ("labelled", "held_out", "unlabelled", "unseen")
"""What the sample's images are for, in turn: learnt from, judge the model, learnt from without labels, kept apart."""

PATIENCE = 600.0

Scores = dict[str, dict[str, float]]
"""Dice, by prompt and by image."""


class DemoScript:
    """Drives the docks as a person would."""

    def __init__(self, output: Path, *, minutes: float, model: str | Path | None, said: Callable[[str], None]) -> None:
        self._output = output
        self._minutes = minutes
        self._model = model
        self._said = said
        self._seconds: dict[str, float] = {}
        nuclei = {pair.name: true_mask(pair) for pair in sample_pairs()}
        self._truth = {PROMPT: nuclei, NEW_PROMPT: {name: ~mask for name, mask in nuclei.items()}}
        self._roles = {pair.name: ROLES[index % len(ROLES)] for index, pair in enumerate(sample_pairs())}

    def run(self) -> dict[str, Any]:
        """Run all stages and write what they gave."""
        self._output.mkdir(parents=True, exist_ok=True)
        project = self._output / "demonstration.amvlm"  # a name that nobody gives a project of their own
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
        before, after = (summary["dice"][f"unseen_{when}"] for when in ("before", "after"))
        self._said(f"Dice on images that nobody corrected: {before:.2f} before learning, {after:.2f} after.")
        self._said(f"In {self._output}: {project.name}, screenshot.png and summary.json, which follows.")
        return summary

    def _work(self, viewer: napari.Viewer, project: Path) -> dict[str, Any]:
        from napari_amvlm._qt.demo.event_loop import Heartbeat

        heartbeat = Heartbeat()
        heartbeat.start()
        predictor = self._load_model()
        loading, start_model = heartbeat.stop(), predictor.info
        for pair in sample_pairs():
            add_image(viewer, pair)
        first, second = self._of("unseen")[:2]
        with self._stage("first prompt"):
            self._prompt(viewer, first, PROMPT)
        with self._stage("second image"):
            self._prompt(viewer, second, PROMPT)
        before = self._scores(viewer)
        self.workspace.open_project(project)
        self._idle()
        with self._stage("correct and accept"):
            self._fill_project(viewer)
        heartbeat.start()
        with self._stage("learn"):
            busy_prompt = self._learn(viewer)
        learning = heartbeat.stop()
        outcome = self.learn.outcome
        if outcome is None:
            raise AmvlmError(self.learn.panel.status.value()[1])
        with self._stage("prompt again"):
            after = self._scores(viewer)
        self._idle()
        self._pose(viewer, first)
        return {
            "mode": "script",
            "prompts": list(PROMPTS),
            "images": {role: self._of(role) for role in ROLES},
            "dice": _dice(before, after),
            "held_out": {"before": outcome.before, "after": outcome.after, "verdict": outcome.judgement.verdict.value},
            "said": self.learn.panel.status.value()[1],
            "steps": len(self.learn.panel.curve.value().loss),
            "seconds": {name: round(spent, 2) for name, spent in self._seconds.items()},
            "prompt_while_learning_seconds": round(busy_prompt, 2),
            "event_loop": {"loading": loading, "learning": learning},
            "device": self._device(str(predictor.device)),
            "model": {
                "start": start_model.name if start_model else None,
                "new": outcome.record.name if outcome.record else None,
            },
            "versions": _versions(),
        }

    # Stages

    def _load_model(self) -> Predictor:
        with self._stage("load model"):
            self._wait(lambda: self.workspace.model_state != "loading", "the model")
        if self.workspace.predictor is None:
            raise AmvlmError(self.workspace.model_message)
        return self.workspace.predictor

    def _fill_project(self, viewer: napari.Viewer) -> None:
        """Correct and accept the labelled and held-out samples, and add the unlabelled ones."""
        for name in (*self._of("labelled"), *self._of("held_out")):
            self._correct(viewer, name)
        self._hold_out()
        self.learn.add_files([pair.image for pair in sample_pairs() if self._roles[pair.name] == "unlabelled"])
        self._idle()

    def _window(self) -> napari.Viewer:
        import napari

        viewer = napari.Viewer(show=True, show_welcome_screen=False)
        viewer.window.resize(1280, 800)
        self.dock = add_dock(viewer, self._model)
        self.annotate, self.learn = self.dock.annotate, self.dock.learn
        self.workspace: Workspace = self.dock.workspace
        return viewer

    def _prompt(self, viewer: napari.Viewer, name: str, prompt: str) -> None:
        """Choose an image, type the prompt, press Enter, and wait for the mask."""
        show_only(viewer, name)
        self.dock.show_tab("Annotate")
        keyboard: Any = QTest  # its methods are typed as if they were not static
        line = self.annotate.panel.prompt.lineEdit()
        self.annotate.panel.prompt.setValue("")
        keyboard.keyClicks(line, prompt)
        keyboard.keyClick(line, Qt.Key.Key_Return)
        self._wait(self.annotate.prompts.is_running, f"the run on {name}")
        self._wait(lambda: not self._is_predicting(), f"the mask of {name}")
        self.annotate.panel.prompts.setCurrent(prompt)

    def _ask_all(self, viewer: napari.Viewer, name: str) -> dict[str, NDArray[np.bool_]]:
        """Run every prompt, and return its mask."""
        for prompt in PROMPTS:
            self._prompt(viewer, name, prompt)
        annotation = self.workspace.annotation(viewer.layers[name])
        return {prompt: annotation.mask(prompt) for prompt in PROMPTS}

    def _scores(self, viewer: napari.Viewer) -> Scores:
        """Return Dice on the images that nobody corrects."""
        masks = {name: self._ask_all(viewer, name) for name in self._of("unseen")}
        return {p: {n: float(dice(of_image[p], self._truth[p][n])) for n, of_image in masks.items()} for p in PROMPTS}

    def _correct(self, viewer: napari.Viewer, name: str) -> None:
        """Paint what an annotator would: the true masks, through the layer's own undoable edits; then accept each."""
        self._ask_all(viewer, name)
        annotation = self.workspace.annotation(viewer.layers[name])
        for prompt in PROMPTS:
            self.annotate.panel.prompts.setCurrent(prompt)
            true = self._truth[prompt][name]
            wrong = np.nonzero(annotation.mask(prompt) != true)
            value = self.workspace.styles.of(prompt).value
            annotation.layer(prompt).data_setitem(wrong, true[wrong].astype(np.int32) * value)
            self.annotate.panel.accept_button.click()
            self._idle()

    def _hold_out(self) -> None:
        names = set(self._of("held_out"))

        def decide(project: Project) -> None:
            for record in project.images.all():
                project.images.set_held_out(record.id, record.path.stem in names)

        self.workspace.with_project(decide)
        self._idle()

    def _learn(self, viewer: napari.Viewer) -> float:
        """Press Start, ask a prompt meanwhile, wait for the end; return the seconds that the prompt took."""
        from napari_amvlm._qt.widgets.budget import Budget

        self.learn.panel.budget.setValue(Budget(self.learn.panel.budget.value().device, self._minutes))
        self.dock.show_tab("Learn")
        self.learn.panel.start_button.click()
        self._wait(
            lambda: self.workspace.learning() is None or len(self.learn.panel.curve.value().loss) > 2, "the first steps"
        )
        started = time.perf_counter()
        self._prompt(viewer, self._of("unlabelled")[0], PROMPT)
        spent = time.perf_counter() - started
        self._wait(lambda: self.workspace.learning() is None, "the end of learning", extra=60 * self._minutes)
        self._idle()
        return spent

    def _pose(self, viewer: napari.Viewer, name: str) -> None:
        """Make the window fit to be looked at."""
        self.dock.show_tab("Learn")
        show_only(viewer, name)
        settled = time.monotonic() + 1.0
        self._wait(lambda: time.monotonic() > settled, "the last frame")

    # Waiting

    def _device(self, name: str) -> str:
        return self.workspace.devices.get(name, name)

    def _of(self, role: str) -> list[str]:
        return [name for name, its in self._roles.items() if its == role]

    def _is_predicting(self) -> bool:
        return self.annotate.prompts.is_running() or self.annotate.repainter.is_busy()

    def _idle(self) -> None:
        self._wait(lambda: not self.workspace.threads() and not self._is_predicting(), "the work in hand")

    def _wait(self, condition: Any, what: str, *, extra: float = 0.0) -> None:
        from napari_amvlm._qt.demo.event_loop import wait_until

        wait_until(condition, seconds=PATIENCE + extra, what=what)

    @contextlib.contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        self._said(f"{name} ...")
        started = time.perf_counter()
        yield
        self._seconds[name] = time.perf_counter() - started


def _mean(scores: Scores) -> float:
    return round(float(np.mean([list(of_images.values()) for of_images in scores.values()])), 4)


def _both(before: dict[str, float], after: dict[str, float]) -> dict[str, dict[str, float]]:
    return {name: {"before": round(before[name], 4), "after": round(after[name], 4)} for name in before}


def _dice(before: Scores, after: Scores) -> dict[str, Any]:
    return {
        "unseen_before": _mean(before),
        "unseen_after": _mean(after),
        "by_prompt": {p: _both(before[p], after[p]) for p in PROMPTS},
    }


def _versions() -> dict[str, str]:
    packages = ("napari-amvlm", "napari", "torch", "transformers", "numpy", "PyQt6")
    versions = {"python": platform.python_version(), "system": platform.platform()}
    for package in packages:
        with contextlib.suppress(ModuleNotFoundError):
            versions[package] = version(package)
    return versions
