"""Two models side by side on the held-out images: real models, a real project, real layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from qtpy.QtWidgets import QTreeWidget

from napari_amvlm._qt.resume import camera_of
from napari_amvlm.models.checkpoint import load_model, save_model
from napari_amvlm.project import Project
from napari_amvlm.session.comparing import ACCEPTED, AFTER, BEFORE
from tests._qt.conftest import picture

if TYPE_CHECKING:
    from pathlib import Path

    from napari_amvlm._qt.comparison import Comparison

HELD_OUT = 4


@pytest.fixture
def compared(bench: Any, tmp_path: Path, tiny_checkpoint: Path) -> Any:
    """Open a project with one model of its own, learnt from the tiny one; the masks are what the tiny one says."""
    root = tmp_path / "judged.amvlm"
    predictor = bench.workspace.predictor
    with Project.create(root) as project:
        for index in range(HELD_OUT + 1):
            pixels = picture(index, 64 + 8 * index)
            record = project.add_image(array=pixels, name=f"image {index}")
            predictor.set_image(pixels)
            mask = predictor.predict("nuclei").mask(0.5)
            project.accept(record.id, "nuclei", mask, model=None, threshold=None)
            project.set_held_out(record.id, index > 0)
        later, info = load_model(tiny_checkpoint)
        with torch.no_grad():
            list(later.unet.parameters())[-1].add_(0.3)
        path = project.new_model_path()
        save_model(later, path, name="later", licence="CC0-1.0", training_data="none", parent=info.sha256)
        model = project.add_model(path, info.sha256, {}, "CC0-1.0")
        run = project.record_run({}, parent=info.sha256, train=(), validate=(), unlabelled=())
        project.finish_run(run.id, "stopped", result={}, model_id=model.id)
    bench.workspace.open_project(root)
    bench.idle()
    return bench


def _comparison(bench: Any) -> Comparison:
    found: Comparison = bench.learn.comparison
    return found


def _names(bench: Any) -> list[str]:
    return [layer.name for layer in bench.viewer.layers]


def _open(bench: Any) -> None:
    bench.learn.panel.compare_button.click()
    bench.idle()


def _row(bench: Any, index: int) -> Any:
    table = bench.learn.panel.scores.findChild(QTreeWidget)
    return table, table.topLevelItem(index)


def test_every_held_out_image_is_scored_the_worst_first_and_shown(compared: Any) -> None:
    _open(compared)

    entries = compared.learn.panel.scores.value()
    assert len(entries) == HELD_OUT
    assert [entry.after for entry in entries] == sorted(entry.after for entry in entries)
    assert all(entry.before > 0.98 for entry in entries)
    assert entries[0].after < entries[0].before
    shown, prompt = _comparison(compared).layers.value()
    assert prompt == "nuclei"
    name = shown.name
    kinds = ("compared", "before | after", "accepted", "border")
    assert _names(compared) == ["slide", *(f"{name}, {kind}" for kind in kinds)]
    assert compared.learn.panel.swipe.words().startswith(f"{name}: Dice {shown.before:.3f} before")


def test_the_border_divides_the_two_masks(compared: Any) -> None:
    _open(compared)
    shown, prompt = _comparison(compared).layers.value()
    code, masks = shown.masks[prompt], _comparison(compared).layers._layers[1]
    width = code.shape[1]

    for border in (0.0, 0.25, 0.8, 1.0):
        compared.learn.panel.swipe._slider.setValue(round(200 * border))
        compared.wait(lambda border=border: _comparison(compared).layers._column == round(border * width))

        column = round(border * width)
        np.testing.assert_array_equal(masks.data[:, :column], code[:, :column] & BEFORE)
        np.testing.assert_array_equal(masks.data[:, column:], code[:, column:] & AFTER)
    accepted = compared.workspace.project.corrections(shown.image_id)[0]
    np.testing.assert_array_equal((code & ACCEPTED) > 0, compared.workspace.project.load_mask(accepted))


def test_a_click_shows_another_image(compared: Any) -> None:
    _open(compared)
    first = _comparison(compared).layers.value()[0].image_id
    worst = compared.learn.panel.scores.value()[0].key

    table, item = _row(compared, 2)
    table.setCurrentItem(item)
    compared.idle()

    entry = compared.learn.panel.scores.value()[2]
    assert first == worst
    assert entry.key != first
    assert _comparison(compared).layers.value()[0].image_id == entry.key
    assert len(_names(compared)) == 1 + 4


def test_a_click_opens_the_comparison_with_that_image(compared: Any) -> None:
    _open(compared)
    compared.learn.panel.compare_button.click()
    last = compared.learn.panel.scores.value()[-1].key

    compared.learn.panel.scores.looked.emit(last)
    compared.idle()

    assert _comparison(compared).layers.value()[0].image_id == last


def test_closing_leaves_the_persons_layers_and_view_as_they_were(compared: Any) -> None:
    compared.run("nuclei")
    viewer = compared.viewer
    before = [(layer, layer.visible, layer.data.copy()) for layer in viewer.layers]
    active, camera = viewer.layers.selection.active, camera_of(viewer)
    view = (tuple(camera.center), camera.zoom)

    _open(compared)
    moved = tuple(camera.center) != view[0]
    during = viewer.layers.selection.active
    compared.learn.panel.compare_button.click()
    compared.idle()

    assert moved
    assert during is active
    assert [layer for layer, _, _ in before] == list(viewer.layers)
    for layer, visible, data in before:
        assert layer.visible == visible
        np.testing.assert_array_equal(layer.data, data)
    assert (tuple(camera.center), camera.zoom) == view
    assert compared.learn.panel.swipe.isHidden()
    assert not _comparison(compared)._found


@pytest.mark.parametrize("how", ["layer", "project", "dock", "place"])
def test_it_also_ends_when_what_it_shows_goes_away(compared: Any, tmp_path: Path, how: str) -> None:
    _open(compared)

    if how == "layer":
        compared.viewer.layers.remove(_comparison(compared).layers._layers[0])
    elif how == "project":
        compared.workspace.open_project(tmp_path / "other.amvlm")
    elif how == "dock":
        compared.learn.deleteLater()
    else:
        compared.workspace.store_place()
    compared.wait(lambda: _names(compared) == ["slide"])
    compared.idle()

    assert _names(compared) == ["slide"]


def test_cancel_keeps_what_was_compared(compared: Any) -> None:
    comparison = _comparison(compared)
    compared.learn.panel.compare_button.click()
    compared.wait(lambda: len(comparison._found) > 0)

    compared.learn.panel.compare_progress.cancelled.emit()
    compared.idle()

    assert not comparison.is_busy()
    assert comparison.layers.value() is not None
    kept = set(comparison._found)
    other = next(entry.key for entry in compared.learn.panel.scores.value() if entry.key not in kept or len(kept) > 3)
    comparison.look_at(other)
    compared.idle()
    assert comparison.layers.value()[0].image_id == other


def test_closed_while_it_computes(compared: Any) -> None:
    compared.learn.panel.compare_button.click()
    compared.wait(lambda: _comparison(compared)._thread is not None)

    compared.learn.panel.compare_button.click()
    compared.idle()

    assert _names(compared) == ["slide"]
    assert not _comparison(compared).is_open()
    _open(compared)
    assert len(_names(compared)) == 5


def test_an_image_that_cannot_be_read_is_told_and_the_others_are_compared(compared: Any) -> None:
    project = compared.workspace.project
    broken = project.held_out_images()[0]
    correction = project.corrections(broken.id)[0]
    (project.root / correction.mask_file).unlink()

    _open(compared)

    assert len(_comparison(compared)._found) == HELD_OUT - 1
    level, text = compared.learn.panel.status.value()
    assert (level, text.startswith("Not compared: 1.")) == ("warning", True)


def test_a_parent_that_is_gone_is_told(compared: Any) -> None:
    record = compared.workspace.project.models()[0]
    record.path.unlink()

    _open(compared)

    assert compared.learn.panel.status.value()[0] == "error"
    assert record.path.name in compared.learn.panel.status.value()[1]
    assert not _comparison(compared).is_open()
    assert not compared.learn.panel.compare_button.isChecked()


def test_a_model_of_the_list_is_compared(compared: Any) -> None:
    models = compared.learn.panel.models
    models.select(models.value()[0].key)

    models._compare.click()
    compared.idle()

    assert _comparison(compared).layers.value() is not None


def test_the_mouse_moves_the_border(compared: Any) -> None:
    _open(compared)
    layers = _comparison(compared).layers
    shown = layers.value()[0]

    class Event:
        type = "mouse_press"
        position = layers._layers[0].data_to_world((5, layers._column))

    event = Event()
    drag = layers._on_drag(compared.viewer, event)
    next(drag)
    event.type, event.position = "mouse_move", layers._layers[0].data_to_world((5, 8))
    next(drag)
    event.type = "mouse_release"
    still_there = next(drag, "ended")

    assert still_there == "ended"
    assert layers._column == 8
    assert compared.learn.panel.swipe.border() == pytest.approx(8 / shown.shape[1], abs=0.01)
    assert camera_of(compared.viewer).mouse_pan


def test_choosing_to_correct_an_image_ends_the_comparison_and_opens_it(compared: Any) -> None:
    _open(compared)
    entry = compared.learn.panel.scores.value()[0]

    compared.learn.panel.scores.chosen.emit(entry.key)
    compared.idle()

    assert compared.annotate.annotation().image_id == entry.key
    assert not any("compared" in name for name in _names(compared))
