"""Random keys, clicks and strokes: no exception, and the ledger changes only by what a person confirmed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import pytest
from napari.components import ViewerModel
from napari.utils.key_bindings import coerce_keybinding

from napari_amvlm._qt.queue.add_images import ImageAdder
from tests._qt.conftest import picture

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

IMAGES = 6
SIDE = 64
PROMPTS = "nuclei; left lung; gland"


class Monkey:
    """Does one random thing after the other, and knows which of them may change the ledger."""

    def __init__(self, bench: Any, seed: int) -> None:
        self.bench = bench
        self.rng = np.random.default_rng(seed)
        self.may_change = False
        panel = bench.annotate.panel
        self.acts: dict[str, tuple[Callable[[], None], bool]] = {
            "stroke": (self.stroke, False),
            "erase": (lambda: self.stroke(erase=True), False),
            "threshold": (lambda: panel.threshold.setValue(float(self.rng.random())), False),
            "separate": (panel.instances.click, False),
            "type": (self.type_word, False),
            "row": (self.choose_row, False),
            "lock": (self.toggle_lock, False),
            "select": (self.select_layer, False),
            "no": (panel.confirm.no.click, False),
            "yes": (panel.confirm.yes.click, True),
            "restore": (panel.restore_button.click, False),
            "new object": (panel.objects.new.click, False),
            "remove a mask": (self.remove_mask, False),
            "undo": (bench.annotate.undo, True),
            "redo": (bench.annotate.redo, True),
            "A": (lambda: self.key("A"), True),
            "R": (lambda: self.key("R"), False),
            **{key: (lambda key=key: self.key(key), False) for key in ("N", "Shift+N", "J", "T", "I", "D", ",", ".")},
            "G": (lambda: self.key("G"), False),
        }

    def step(self) -> str:
        name = str(self.rng.choice(list(self.acts)))
        act, may_change = self.acts[name]
        # a Reject of what is not accepted asks nothing, and an Accept that waits is stored a moment later
        self.may_change = self.may_change or may_change
        act()
        return name

    def key(self, key: str) -> None:
        ViewerModel.class_keymap[coerce_keybinding(key)](self.bench.viewer)

    def chosen(self) -> Any:
        annotation, prompt = self.bench.annotate.annotation(), self.bench.annotate.panel.prompts.current()
        layer = annotation.layers.get(prompt) if annotation is not None else None
        return layer if layer in self.bench.viewer.layers else None

    def stroke(self, *, erase: bool = False) -> None:
        layer = self.chosen()
        if layer is None:
            return
        layer.brush_size = int(self.rng.integers(3, 15))
        for point in self.rng.integers(0, SIDE, (3, 2)):
            layer.paint(tuple(point), 0 if erase else max(1, layer.selected_label))

    def type_word(self) -> None:
        line = self.bench.annotate.panel.prompt.lineEdit()
        line.setText(str(self.rng.choice(["nuclei", "a; n; r", "", "gland"])))
        if self.rng.random() < 0.3:
            line.returnPressed.emit()

    def choose_row(self) -> None:
        entries = self.bench.annotate.panel.prompts.value()
        if entries:
            self.bench.annotate.panel.prompts.setCurrent(str(self.rng.choice([entry.prompt for entry in entries])))

    def toggle_lock(self) -> None:
        prompt = self.bench.annotate.panel.prompts.current()
        if prompt is not None:
            self.bench.annotate.panel.prompts.finishedToggled.emit(prompt, bool(self.rng.random() < 0.5))

    def select_layer(self) -> None:
        layers = list(self.bench.viewer.layers)
        if layers:
            self.bench.viewer.layers.selection.active = layers[int(self.rng.integers(len(layers)))]

    def remove_mask(self) -> None:
        layer = self.chosen()
        if layer is not None and self.rng.random() < 0.3:
            self.bench.viewer.layers.remove(layer)


def _accepted(bench: Any) -> dict[tuple[int, str], bytes]:
    project = bench.workspace.project
    corrections = project.corrections.select()
    return {(each.image_id, each.prompt): project.corrections.mask(each).tobytes() for each in corrections}


@pytest.mark.parametrize("steps", [60, pytest.param(3000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
def test_random_steps_change_the_ledger_only_by_a_decision(bench: Any, tmp_path: Path, steps: int):
    bench.viewer.layers.clear()
    files = [tmp_path / f"tile-{seed}.png" for seed in range(IMAGES)]
    for seed, file in enumerate(files):
        PIL.Image.fromarray(picture(seed, SIDE)).save(file)
    bench.workspace.open_project(tmp_path / "p.amvlm")
    bench.idle()
    ImageAdder(bench.viewer, bench.workspace).add_files(files)
    bench.idle()
    bench.annotate.next_item()
    bench.idle()
    bench.run(PROMPTS)
    monkey, before, history = Monkey(bench, steps), _accepted(bench), list[str]()

    for number in range(steps):
        history.append(monkey.step())
        if number % 10 == 9:
            bench.idle()
            after = _accepted(bench)
            assert after == before or monkey.may_change, history[-10:]
            before, monkey.may_change = after, False

    assert len(bench.workspace.project.images.all()) == IMAGES
    assert any("A" in name for name in history)
