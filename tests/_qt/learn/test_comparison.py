"""Two models side by side on the held-out images: a real Learn dock, real models, a real project."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from napari.components import ViewerModel

from napari_amvlm._qt.layers.camera import camera_of
from napari_amvlm._qt.learn.dock import LearnDock
from napari_amvlm._qt.workspace import Workspace
from napari_amvlm.models.checkpoint import load_model, save_model
from napari_amvlm.predictor import Predictor
from napari_amvlm.project import Answer, Project
from tests._qt.conftest import TIMEOUT, picture

if TYPE_CHECKING:
    from collections.abc import Callable


HELD_OUT = 4


@dataclass
class Judged:
    """A Learn dock whose project has one model of its own, learnt from the one that serves."""

    viewer: ViewerModel
    workspace: Workspace
    learn: LearnDock
    wait_until: Callable[..., None]

    def idle(self):
        """Wait until no thread is at work, several times in a row."""
        quiet = 0

        def settled():
            nonlocal quiet
            quiet = 0 if self.workspace.threads() or self.learn.comparison.is_busy() else quiet + 1
            return quiet > 3

        self.wait_until(settled, timeout=TIMEOUT)

    def open(self):
        self.learn.panel.compare_button.click()
        self.idle()

    def shown(self):
        value = self.learn.comparison.layers.value()
        assert value is not None
        return value[0]

    def names(self):
        return [layer.name for layer in self.viewer.layers]

    def status(self):
        return self.learn.panel.status.value()


def _fill(root, first):
    """Make a project whose masks are what the first model says, with a later model that says otherwise."""
    predictor = Predictor.from_file(first, device="cpu")
    with Project.create(root) as project:
        for index in range(HELD_OUT + 1):
            pixels = picture(index, 64 + 8 * index)
            record = project.images.add_array(pixels, name=f"image {index}")
            predictor.set_image(pixels)
            mask = predictor.predict("nuclei").mask(0.5)
            project.corrections.accept(record.id, "nuclei", Answer(mask))
            project.images.set_held_out(record.id, index > 0)
        later, info = load_model(first)
        with torch.no_grad():
            for value in later.unet.parameters():
                value.mul_(-1.0)
        path = project.models.new_path()
        told = {"name": "later", "licence": "CC0-1.0", "training_data": "none"}
        save_model(later, path, **told, parent=info.sha256, parent_title=info.title)
        model = project.models.add(path, info.sha256, {}, "CC0-1.0")
        run = project.runs.start({}, parent=info.sha256, train=(), validate=(), unlabelled=())
        project.runs.finish(run.id, "stopped", result={}, model_id=model.id)


@pytest.fixture
def judged(qtbot, tmp_path, tiny_checkpoint):
    _fill(tmp_path / "judged.amvlm", tiny_checkpoint)
    viewer, workspace = ViewerModel(), Workspace()
    workspace.load_model(tiny_checkpoint)
    viewer.add_image(picture(), name="slide")
    learn = LearnDock(viewer, workspace)
    bench = Judged(viewer, workspace, learn, qtbot.waitUntil)
    bench.idle()
    workspace.open_project(tmp_path / "judged.amvlm")
    bench.idle()
    yield bench
    workspace.shut_down()


def test_every_held_out_image_is_scored_and_the_worst_is_shown_first(judged):
    judged.open()

    entries = judged.learn.panel.scores.value()
    assert len(entries) == HELD_OUT
    assert [entry.after for entry in entries] == sorted(entry.after for entry in entries)
    # half precision may let a pixel at the very threshold fall to either side
    assert all(entry.before > 0.98 for entry in entries)
    shown = judged.shown()
    assert shown.image_id == entries[0].key
    assert judged.learn.panel.scores.selected() == (shown.image_id, "nuclei")
    kinds = ("compared", "before | after", "accepted", "border")
    assert judged.names() == ["slide", *(f"{shown.name}, {kind}" for kind in kinds)]
    score = shown.score("nuclei")
    caption = f"{shown.name}: Dice {score.before:.3f} before, {score.after:.3f} after"
    assert judged.learn.panel.swipe.caption() == caption
    assert judged.learn.panel.compare_progress.isHidden()
    assert not judged.learn.panel.scores.isHidden()

    other = entries[2].key
    judged.learn.panel.scores.select(other)
    judged.learn.panel.scores.looked.emit(other, "nuclei")
    assert judged.shown().image_id == other
    assert len(judged.names()) == 5


def test_scores_beside_other_weights_than_its_parent_are_shown_and_not_kept(judged):
    predictor = judged.workspace.predictor
    judged.workspace.base = predictor.info = replace(predictor.info, sha256="0" * 64)

    judged.open()

    level, text = judged.status()
    assert (level, "was learnt from former weights of tiny 1" in text) == ("info", True)
    assert "Dice" in judged.learn.panel.swipe.caption()
    assert judged.workspace.project.runs.scores(judged.workspace.view.runs[0].id) == []


def test_the_slider_moves_the_border(judged):
    judged.open()
    code = judged.shown().masks["nuclei"]
    width, column = code.shape[1], judged.learn.comparison.layers._column
    on_the_left = (code[:, :column] > 0).sum() / (code > 0).sum()

    judged.learn.panel.swipe._slider.setValue(50)

    judged.wait_until(lambda: judged.learn.comparison.layers._column == width // 4, timeout=TIMEOUT)
    # at first it lies in the middle of what is there
    assert 0.4 < on_the_left < 0.6


def test_a_click_opens_the_comparison_with_that_image_and_the_button_closes_it(judged):
    last = judged.workspace.project.images.held_out()[-1].id

    judged.learn.panel.scores.looked.emit(last, "nuclei")
    judged.idle()
    shown, pressed = judged.shown().image_id, judged.learn.panel.compare_button.isChecked()
    judged.learn.panel.compare_button.click()

    assert (shown, pressed) == (last, True)
    assert judged.names() == ["slide"]
    assert judged.learn.panel.swipe.isHidden()
    assert not judged.learn.comparison.is_open()


@pytest.mark.parametrize("how", ["layer", "project", "dock", "place", "model"])
def test_it_ends_when_what_it_shows_goes_away(judged, tmp_path, how):
    judged.open()

    if how == "layer":
        judged.viewer.layers.pop()
    elif how == "project":
        judged.workspace.open_project(tmp_path / "other.amvlm")
    elif how == "dock":
        judged.learn.deleteLater()
    elif how == "place":
        judged.workspace.remember_position()
    else:
        judged.learn.panel.discard_button.click()

    judged.wait_until(lambda: len(judged.names()) == 1 and not judged.workspace.threads(), timeout=TIMEOUT)

    assert judged.names() == ["slide"]


def test_cancel_keeps_what_was_compared_and_others_can_still_be_asked_for(judged):
    comparison = judged.learn.comparison
    judged.learn.panel.compare_button.click()
    judged.wait_until(lambda: len(comparison.compared()) > 0, timeout=TIMEOUT)

    comparison.cancel()
    judged.idle()
    kept = set(comparison.compared())
    for record in judged.workspace.project.images.held_out():
        comparison.look_at(record.id)
        judged.idle()
        assert judged.shown().image_id == record.id

    assert kept
    assert len(comparison.compared()) == HELD_OUT


def test_closed_while_it_computes(judged):
    judged.learn.panel.compare_button.click()
    judged.wait_until(lambda: judged.learn.comparison.is_busy(), timeout=TIMEOUT)

    judged.learn.panel.compare_button.click()
    judged.idle()

    assert judged.names() == ["slide"]
    assert not judged.learn.comparison.is_open()


def test_an_image_that_cannot_be_read_is_told_and_the_others_are_compared(judged):
    project = judged.workspace.project
    broken = project.images.held_out()[0]
    (project.root / project.corrections.select(broken.id)[0].mask_file).unlink()

    judged.open()

    assert len(judged.learn.comparison.compared()) == HELD_OUT - 1
    level, text = judged.status()
    assert (level, text.startswith("Not compared: 1. ")) == ("warning", True)


def test_a_model_file_that_is_gone_is_told(judged):
    record = judged.workspace.project.models.all()[0]
    record.path.unlink()

    judged.open()

    level, text = judged.status()
    assert (level, record.path.name in text) == ("error", True)
    assert not judged.learn.comparison.is_open()
    assert not judged.learn.panel.compare_button.isChecked()


def test_comparing_again_leaves_the_scores_of_masks_that_are_the_same(judged):
    judged.open()
    project, entry = judged.workspace.project, judged.learn.panel.scores.value()[0]
    run = judged.workspace.view.runs[0].id
    measured = [replace(score, after=0.25) for score in project.runs.scores(run) if score.image_id == entry.key]
    project.runs.store_scores(run, measured)

    judged.learn.panel.compare_button.click()
    judged.idle()
    judged.open()

    assert [score for score in project.runs.scores(run) if score.image_id == entry.key] == measured


def test_a_model_of_the_list_is_compared(judged):
    models = judged.learn.panel.models
    models.select(models.value()[0].key)

    models.compareRequested.emit(models.selected())
    judged.idle()

    assert judged.learn.panel.verdict.text().startswith(models.value()[0].name)
    assert len(judged.names()) == 5


def test_an_image_that_is_opened_to_be_corrected_ends_the_comparison(judged):
    judged.open()
    entry = judged.learn.panel.scores.value()[0]

    judged.learn.panel.scores.chosen.emit(entry.key)
    judged.idle()

    assert judged.names() == ["slide", entry.name, f"{entry.name} \N{MIDDLE DOT} nuclei"]


def test_the_comparison_is_in_view_beside_a_stack(judged):
    judged.viewer.add_image(np.zeros((5, 300, 400), np.uint8), name="stack")

    judged.open()

    image = judged.viewer.layers[f"{judged.shown().name}, compared"]
    np.testing.assert_allclose(camera_of(judged.viewer).center[-2:], image.extent.world[:, -2:].mean(axis=0))
