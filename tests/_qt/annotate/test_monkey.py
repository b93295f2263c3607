"""Random keys, clicks, strokes and tabs: no exception, and the ledger changes only by what a person confirmed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_amvlm._qt.main_dock import MainDock
from napari_amvlm._qt.workspace import Workspace
from tests._qt.conftest import Bench, picture

if TYPE_CHECKING:
    from collections.abc import Callable

IMAGES = 6
SIDE = 64
PROMPTS = "nuclei; left lung; gland"
KEYS = ("A", "R", "N", "Shift+N", "J", "T", "I", "D", "S", "G", ",", ".")
DECISIONS = ("A", "yes", "undo", "redo")
"""What may change the ledger: a Reject of what is accepted asks first."""


class Monkey:
    """Does one random thing after the other, and knows of which masks the ledger may have changed since."""

    def __init__(self, bench, dock, seed):
        self.bench, self.dock = bench, dock
        self.rng = np.random.default_rng(seed)
        self.decided: set[tuple[int | None, str | None]] = set()
        panel = bench.annotate.panel
        self.acts: dict[str, Callable[[], None]] = {
            "brush": lambda: self.drag("paint"),
            "eraser": lambda: self.drag("erase"),
            "stroke": self.stroke,
            "tab": lambda: dock.tabs.setCurrentIndex(int(self.rng.integers(3))),
            "threshold": lambda: panel.threshold.setValue(float(self.rng.random())),
            "separate": panel.instances.click,
            "type": self.type_word,
            "row": self.choose_row,
            "lock": self.toggle_lock,
            "select": self.select_layer,
            "no": panel.confirm.no.click,
            "yes": panel.confirm.yes.click,
            "restore": panel.restore_button.click,
            "new object": panel.objects.new.click,
            "remove a mask": self.remove_mask,
            "undo": bench.annotate.undo,
            "redo": bench.annotate.redo,
            **{key: (lambda key=key: self.key(key)) for key in KEYS},
        }

    def step(self):
        name = str(self.rng.choice(list(self.acts)))
        if name in DECISIONS:
            self.note_decision()
        self.acts[name]()
        if name == "undo":  # it goes back to the prompt whose Accept chose the next one
            self.note_decision()
        return name

    def note_decision(self):
        annotation = self.bench.annotate.annotation()
        self.decided.add((annotation and annotation.image_id, self.bench.annotate.panel.prompts.current()))

    def key(self, key):
        """Press a key on the canvas."""
        shift, letter = key.startswith("Shift+"), key[-1]
        modifier = Qt.KeyboardModifier.ShiftModifier if shift else Qt.KeyboardModifier.NoModifier
        QTest.keyClick(self.canvas, Qt.Key(ord(letter)), modifier)

    @property
    def canvas(self):
        return self.bench.viewer.window._qt_viewer.canvas.native

    def drag(self, mode):
        """Draw with the mouse, by the tool of the layer in hand."""
        layer = self.chosen()
        if layer is None or layer.multiscale:
            return
        layer.mode, layer.brush_size = mode, int(self.rng.integers(3, 15))
        corner = self.canvas.width(), self.canvas.height()
        first, *others = [QPoint(*(int(part) for part in self.rng.uniform(0.2, 0.8, 2) * corner)) for _ in range(3)]
        QTest.mouseMove(self.canvas, first)
        QTest.mousePress(self.canvas, Qt.MouseButton.LeftButton, pos=first)
        for point in others:
            QTest.mouseMove(self.canvas, point)
        QTest.mouseRelease(self.canvas, Qt.MouseButton.LeftButton, pos=others[-1])

    def chosen(self):
        annotation, prompt = self.bench.annotate.annotation(), self.bench.annotate.panel.prompts.current()
        layer = annotation.layers.get(prompt) if annotation is not None else None
        return layer if layer in self.bench.viewer.layers else None

    def stroke(self):
        layer = self.chosen()
        if layer is not None:
            layer.brush_size = int(self.rng.integers(3, 15))
            for point in self.rng.integers(0, SIDE, (3, 2)):
                layer.paint(tuple(point), max(1, layer.selected_label))

    def type_word(self):
        line = self.bench.annotate.panel.prompt.lineEdit()
        line.setText(str(self.rng.choice(["nuclei", "a; n; r", "", "gland"])))
        if self.rng.random() < 0.3:
            line.returnPressed.emit()

    def choose_row(self):
        entries = self.bench.annotate.panel.prompts.value()
        if entries:
            self.bench.annotate.panel.prompts.setCurrent(str(self.rng.choice([entry.prompt for entry in entries])))

    def toggle_lock(self):
        prompt = self.bench.annotate.panel.prompts.current()
        if prompt is not None:
            self.bench.annotate.panel.prompts.finishedToggled.emit(prompt, bool(self.rng.random() < 0.5))

    def select_layer(self):
        layers = list(self.bench.viewer.layers)
        if layers:
            self.bench.viewer.layers.selection.active = layers[int(self.rng.integers(len(layers)))]

    def remove_mask(self):
        layer = self.chosen()
        if layer is not None and self.rng.random() < 0.3:
            self.bench.viewer.layers.remove(layer)


class Ledger:
    """What is accepted, read anew after every step; masks are read once, when they appear, and at the end."""

    def __init__(self, project):
        self.corrections = project.corrections
        self.masks: dict[int, bytes] = {}
        self.current = self.read()

    def read(self):
        records = self.corrections.select()
        for each in records:
            if each.id not in self.masks:
                self.masks[each.id] = self.corrections.mask(each).tobytes()
        return {(each.image_id, each.prompt): each.id for each in records}

    def changed(self):
        """Return of which masks something else is accepted than at the last call."""
        before, self.current = self.current, self.read()
        return {key for key in before.keys() | self.current.keys() if before.get(key) != self.current.get(key)}


@pytest.fixture
def open_project(make_napari_viewer, qtbot, tiny_checkpoint, tmp_path):
    """Return what opens the one dock in a window, with a project of some images, and prompts that ran on the first."""
    files = [tmp_path / f"tile-{seed}.png" for seed in range(IMAGES)]
    for seed, file in enumerate(files):
        PIL.Image.fromarray(picture(seed, SIDE)).save(file)

    def make():
        viewer, workspace = make_napari_viewer(show=True), Workspace()
        workspace.load_model(tiny_checkpoint)
        dock = MainDock(viewer, workspace)
        viewer.window.add_dock_widget(dock, name="AMVLM")
        bench = Bench(viewer, workspace, dock.annotate, dock.learn, qtbot)
        bench.idle()
        workspace.open_project(tmp_path / "p.amvlm")
        bench.idle()
        dock.queue.adder.add_files(files)
        bench.idle()
        bench.annotate.next_item()
        bench.idle()
        bench.run(PROMPTS)
        return bench, dock

    return make


@pytest.mark.parametrize("steps", [60, pytest.param(3000, marks=[pytest.mark.slow, pytest.mark.timeout(7200)])])
def test_random_steps_change_the_ledger_only_by_a_decision(open_project, steps):
    bench, dock = open_project()
    monkey, ledger, history = Monkey(bench, dock, steps), Ledger(bench.workspace.project), list[str]()

    for _ in range(steps):
        history.append(monkey.step())
        waits = monkey.rng.random() < 0.7
        if waits:
            bench.idle()
        assert ledger.changed() <= monkey.decided, history[-10:]
        if waits:
            monkey.decided.clear()

    bench.idle()
    assert len(bench.workspace.project.images.all()) == IMAGES
    assert {"A", "brush", "tab"} <= set(history)
    accepted = ledger.corrections.select()
    assert all(ledger.corrections.mask(each).tobytes() == ledger.masks[each.id] for each in accepted)
    monkey.acts.clear()  # they hold the viewer
