"""The Annotate dock in a real viewer, with a tiny real model and a real project."""

import gc
import threading
import weakref

import numpy as np
import PIL.Image
import pytest
from napari.components import ViewerModel
from napari.utils.key_bindings import coerce_keybinding
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication

from napari_amvlm._qt.annotate.dock import AnnotateDock
from napari_amvlm._qt.annotation import annotation as annotation_module
from napari_amvlm._qt.corrections import default_project
from napari_amvlm._qt.widgets.scale_choice import ScaleSettings
from napari_amvlm._qt.workspace import Workspace, workspace_for
from napari_amvlm.models.checkpoint import save_model
from napari_amvlm.predictor import Predictor
from napari_amvlm.project import Project
from napari_amvlm.project.prompts import PALETTE


def _labels(bench):
    return bench.layer()


def _median(bench, prompt):
    """Return a threshold that cuts the image in two halves, whatever the random weights say."""
    return float(np.median(bench.annotate.annotation().results[prompt].prediction.probability))


def _accept_half(bench):
    """Run a prompt, let it be half of the image, and accept that."""
    bench.run("nuclei")
    bench.annotate.panel.threshold.setValue(_median(bench, "nuclei"))
    bench.idle()
    bench.annotate.accept()
    bench.idle()


def _move_to_middle(bench):
    """Move the threshold of a prompt that ran, without waiting for the labels."""
    middle = _median(bench, "nuclei")
    bench.annotate.panel.threshold.setValue(middle)
    bench.annotate.panel.threshold.valueChanged.emit(middle)


def test_a_prompt_that_was_not_taught_is_called_so(bench):
    bench.run("heart; nuclei")

    heart, nuclei = bench.annotate.panel.prompts.value()
    nearest = bench.annotate.annotation().results["heart"].prediction.nearest
    assert heart.presence_text() == "not taught"
    assert nuclei.presence_text().startswith(("present", "absent"))
    assert f"heart is not taught yet; nearest known: {nearest}. Paint two strokes" in bench.status()
    assert nearest.concept in ("nuclei", "left lung")
    assert 0 < nearest.similarity < 1


def test_a_prompt_that_was_not_taught_is_drawn_when_its_threshold_is_moved_and_not_before(bench):
    bench.run("heart")
    drawn_by_itself = bench.layer("heart").data.any()
    bench.annotate.panel.threshold.setValue(_median(bench, "heart"))
    bench.annotate.panel.threshold.valueChanged.emit(_median(bench, "heart"))
    bench.idle()

    assert not drawn_by_itself
    assert bench.layer("heart").data.any()
    assert "heart was not taught: its mask is the model's guess now" in bench.status()


def test_a_new_mask_is_called_by_its_whole_prompt_and_shows_in_its_thumbnail(bench):
    bench.viewer.layers["slide"].name = "442c4eb01856"
    bench.workspace.prompts[:] = ["left lung"]
    annotation = bench.annotate.annotation()
    annotation.layer("left lung").data[:9, :9] = 1
    bench.annotate.prompts.show_list(annotation)
    painted = bench.annotate.panel.prompts.value()[0].presence_text()
    bench.run("nuclei")
    bench.annotate.panel.threshold.setValue(_median(bench, "nuclei"))
    bench.idle()

    pictured = bench.layer().thumbnail[..., :3].any()
    annotation.clear("nuclei")

    names = [layer.name for layer in bench.viewer.layers]
    dot, cut = "\N{MIDDLE DOT}", "\N{HORIZONTAL ELLIPSIS}"
    assert names == ["442c4eb01856", f"442c4e{cut} {dot} left lung", f"442c4eb01{cut} {dot} nuclei"]
    assert painted == "painted"
    assert (pictured, bench.layer().thumbnail[..., :3].any()) == (True, False)


@pytest.mark.parametrize(("tool", "overlay"), [("polygon", "polygon"), ("paint", "brush_stroke")])
def test_a_tool_shows_what_napari_draws_for_it(bench, tool, overlay):
    bench.run("nuclei")
    at_first = bench.layer()._overlays[overlay].visible

    bench.layer().mode = tool

    assert not at_first
    assert bench.layer()._overlays[overlay].visible


def test_a_prompt_runs_and_is_rejected_while_masks_are_hidden(bench):
    bench.annotate.panel.shown.masks.toggle()

    bench.run("nuclei")
    annotation = bench.annotate.annotation()
    drawn, of_the_person = annotation.mask("nuclei").any(), annotation.edited("nuclei").any()
    bench.annotate.reject()
    bench.idle()

    assert not bench.layer().visible
    assert drawn
    assert not of_the_person
    assert not annotation.mask("nuclei").any()


def test_enter_gives_a_mask_on_the_image(bench):
    line = bench.annotate.panel.prompt.lineEdit()
    bench.qtbot.keyClicks(line, "nuclei")

    bench.qtbot.keyClick(line, Qt.Key.Key_Return)
    bench.ran("nuclei")

    stored = bench.annotate.annotation().results["nuclei"].prediction
    np.testing.assert_array_equal(_labels(bench).data == 1, stored.mask(0.5))
    assert bench.annotate.panel.prompts.value()[0].presence == pytest.approx(stored.presence)
    assert bench.annotate.panel.prompt.history() == ["nuclei"]


def test_presets_are_what_the_model_was_taught(bench):
    assert bench.annotate.panel.prompt.presets() == ["nuclei", "left lung"]


def test_the_labels_lie_where_the_image_lies(make_bench):
    bench = make_bench(scale=(0.25, 0.5), translate=(10, 20), rotate=30, shear=[0.2], affine=np.diag([2.0, 3.0, 1.0]))

    bench.run("nuclei")

    image, labels = bench.viewer.layers["slide"], _labels(bench)
    for point in [(0, 0), (5, 7), (95, 3)]:
        np.testing.assert_allclose(labels.data_to_world(point), image.data_to_world(point))


def test_every_prompt_has_a_mask_of_its_own_which_undo_takes_back_alone(bench):
    bench.run("nuclei; left lung")
    bench.annotate.annotation().thresholds.update({p: _median(bench, p) for p in ("nuclei", "left lung")})
    bench.annotate.draw()
    bench.idle()
    painted = {p: bench.layer(p).data.copy() for p in ("nuclei", "left lung")}

    bench.layer("nuclei").undo()

    assert set(np.unique(painted["nuclei"])) == {0, 1}
    assert set(np.unique(painted["left lung"])) == {0, 2}
    assert not np.array_equal(bench.layer("nuclei").data, painted["nuclei"])
    np.testing.assert_array_equal(bench.layer("left lung").data, painted["left lung"])


def test_a_mask_is_of_the_model_that_made_it_though_another_serves_by_then(bench, tiny_model, tmp_path, monkeypatch):
    other, first = tmp_path / "other.safetensors", bench.workspace.served_key()
    save_model(tiny_model, other, name="other", licence="CC0-1.0", training_data="none")
    predict, predicted, served = Predictor.predict, threading.Event(), threading.Event()

    def slow(self, prompt, **options):
        found = predict(self, prompt, **options)
        predicted.set()
        served.wait(60)
        return found

    monkeypatch.setattr(Predictor, "predict", slow)
    bench.annotate.panel.prompt.setValue("nuclei")
    bench.annotate.run()
    bench.wait(predicted.is_set)
    bench.workspace.serve(other)
    bench.wait(lambda: bench.workspace.served_key() != first)
    served.set()
    bench.idle()

    assert bench.annotate.annotation().results["nuclei"].model == first


def test_undo_takes_the_mask_back(bench):
    bench.run("nuclei")
    bench.annotate.panel.threshold.setValue(_median(bench, "nuclei"))
    bench.idle()
    painted = _labels(bench).data.copy()

    _labels(bench).undo()
    undone = _labels(bench).data.copy()
    _labels(bench).redo()

    assert painted.any()
    assert not np.array_equal(painted, undone)
    np.testing.assert_array_equal(_labels(bench).data, painted)


def test_ctrl_z_in_the_canvas_and_in_the_prompt_takes_the_mask_back(make_napari_viewer, make_bench):
    bench = make_bench(show=True)
    line = bench.annotate.panel.prompt.lineEdit()
    canvas = bench.viewer.window._qt_viewer.canvas.native
    window = bench.viewer.window._qt_window
    window.activateWindow()
    bench.wait(window.isActiveWindow)
    left = []
    for target in (canvas, line):
        bench.qtbot.keyClicks(line, "nuclei")
        bench.qtbot.keyClick(line, Qt.Key.Key_Return)
        bench.ran("nuclei")
        assert _labels(bench).data.any()

        target.setFocus()
        bench.qtbot.keyClick(target, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
        left.append(bool(_labels(bench).data.any()))
        line.clear()

    assert left == [False, False]


def test_the_threshold_works_without_the_model(bench):
    bench.run("nuclei")
    probability = bench.annotate.annotation().results["nuclei"].prediction.probability
    bench.workspace.predictor = None

    for threshold in (0.0, _median(bench, "nuclei"), 1.0):
        bench.annotate.panel.threshold.setValue(threshold)
        bench.idle()
        shown = bench.annotate.panel.threshold.value()
        np.testing.assert_array_equal(_labels(bench).data == 1, probability >= shown)


def test_a_drag_is_one_step_of_undo(bench):
    bench.run("nuclei")
    before = _labels(bench).data.copy()
    slider = bench.annotate.panel.threshold

    slider.sliderPressed.emit()
    for step in (0.1, 0.9, 0.0, 1.0, 0.05):
        slider.setValue(step)
        bench.wait(lambda: not bench.annotate.repainter.is_busy())
    slider.sliderReleased.emit()
    after = _labels(bench).data.copy()
    _labels(bench).undo()

    assert not np.array_equal(before, after)
    np.testing.assert_array_equal(_labels(bench).data, before)


def test_paint_and_erasure_survive_a_new_threshold_and_a_new_run(bench):
    bench.run("nuclei")
    bench.annotate.panel.threshold.setValue(0.0)
    bench.idle()
    rows, columns = np.mgrid[10:20, 10:20]
    _labels(bench).data_setitem((rows.ravel(), columns.ravel()), 0)

    bench.annotate.panel.threshold.setValue(0.01)
    bench.idle()
    bench.run("nuclei")

    assert not _labels(bench).data[10:20, 10:20].any()
    assert _labels(bench).data[30:, 30:].any()


def test_accepted_objects_are_never_painted_over(bench):
    _accept_half(bench)
    accepted = _labels(bench).data == 1

    bench.run("left lung")
    bench.annotate.panel.threshold.setValue(0.0)
    bench.idle()
    bench.annotate.panel.prompt.setValue("nuclei")
    bench.annotate.run()
    bench.idle()

    np.testing.assert_array_equal(_labels(bench).data == 1, accepted)
    assert bench.layer("left lung").data.all()


def test_an_accepted_prompt_that_is_taken_up_again_may_be_painted_over(bench):
    _accept_half(bench)
    accepted = _labels(bench).data == 1

    bench.annotate.panel.threshold.setValue(0.0)
    bench.idle()
    kept = _labels(bench).data == 1
    bench.annotate.panel.prompts.finishedToggled.emit("nuclei", False)
    bench.annotate.panel.threshold.setValue(0.01)
    bench.idle()
    grown = _labels(bench).data == 1
    bench.annotate.accept()
    bench.idle()

    np.testing.assert_array_equal(kept, accepted)
    assert grown.all()
    assert not accepted.all()
    [correction] = bench.workspace.project.corrections.select()
    assert bench.workspace.project.corrections.mask(correction).all()
    assert "nuclei" in bench.annotate.annotation().finished


def test_an_object_that_is_locked_anew_stays_while_its_prompt_is_taken_up_again(bench):
    _accept_half(bench)
    annotation = bench.annotate.annotation()
    known = annotation.accepted["nuclei"]

    annotation.finish("nuclei", False)
    annotation.set_locked("nuclei", [1], True)
    locked = annotation.accepted["nuclei"].locked()
    bench.annotate.panel.threshold.setValue(1.0)
    bench.idle()
    left = _labels(bench).data == 1
    annotation.finish("nuclei", True)

    np.testing.assert_array_equal(locked, known.objects == 1)
    assert left[locked].all()
    assert left.sum() < (known.objects > 0).sum()
    assert annotation.accepted["nuclei"].unlocked == known.unlocked
    assert annotation.accepted["nuclei"].locks_before is None


def test_accept_is_on_the_disk_before_the_dock_says_so(bench):
    bench.run("nuclei")
    bench.annotate.panel.threshold.setValue(_median(bench, "nuclei"))
    bench.idle()
    _labels(bench).data_setitem((np.array([0, 0, 0]), np.array([0, 1, 2])), 1)
    heard = []

    def listen(_level, text):
        if text.startswith("Accepted"):
            heard.append(len(bench.workspace.project.corrections.select()))

    bench.workspace.said.connect(listen)
    bench.annotate.accept()
    bench.idle()

    project = bench.workspace.project
    [correction] = project.corrections.select()
    assert heard == [1]
    assert (correction.prompt, correction.model) == ("nuclei", bench.workspace.served_key())
    np.testing.assert_array_equal(project.corrections.mask(correction), _labels(bench).data == 1)
    assert bench.annotate.panel.prompts.value()[0].finished
    assert bench.learn.panel.counts.text() == "Accepted 1 image, 0 held out \N{MIDDLE DOT} 0 unlabelled"


def test_an_image_from_a_file_is_referred_to_and_its_project_lies_beside_it(make_bench, tmp_path):
    path = tmp_path / "tile.png"
    bench = make_bench()
    PIL.Image.fromarray(bench.viewer.layers["slide"].data).save(path)
    bench.viewer.layers.clear()
    [layer] = bench.viewer.open(path, plugin="napari")
    layer.name = "slide"
    bench.run("nuclei")

    bench.annotate.accept()
    bench.idle()

    [record] = bench.workspace.project.images.all()
    assert bench.workspace.project.root == tmp_path / "corrections.amvlm"
    assert (record.path, record.stored) == (path, False)


def test_a_changed_image_is_kept_as_it_is_shown(make_bench, tmp_path):
    path = tmp_path / "tile.png"
    bench = make_bench()
    PIL.Image.fromarray(255 - bench.viewer.layers["slide"].data).save(path)
    bench.viewer.layers.clear()
    [layer] = bench.viewer.open(path, plugin="napari")
    layer.name = "slide"
    layer.data = 255 - layer.data
    bench.run("nuclei")

    bench.annotate.accept()
    bench.idle()

    [record] = bench.workspace.project.images.all()
    assert record.stored
    np.testing.assert_array_equal(bench.workspace.project.images.load(record), layer.data)


def test_a_polygon_that_is_not_finished_is_not_accepted_and_undone_point_by_point(bench):
    bench.run("nuclei")
    layer, before = bench.layer(), bench.annotate.annotation().mask("nuclei").copy()
    polygon = layer._overlays["polygon"]
    layer.mode = "polygon"
    corners = [[5.5, 5.5], [5.5, 90.5], [90.5, 90.5]]
    polygon.points = [*corners, [60.0, 60.0]]

    for accept in (bench.annotate.accept, bench.annotate.accept_region):
        accept()
        bench.idle()
        assert "a polygon is not finished" in bench.status()
    accepted = set(bench.annotate.annotation().accepted)
    layer.undo()
    left = list(polygon.points)
    bench.annotate.undo()
    bench.annotate.undo()
    none_left = list(polygon.points)
    kept = np.array_equal(bench.annotate.annotation().mask("nuclei"), before)
    bench.annotate.undo()
    bench.idle()

    assert accepted == set()
    assert (left, none_left) == ([*corners[:2], [60.0, 60.0]], [])
    assert kept
    assert not bench.annotate.annotation().mask("nuclei").any()


def test_reject_withdraws_what_was_accepted_and_clears_the_image(bench):
    bench.run("nuclei")
    bench.annotate.panel.threshold.setValue(0.0)
    bench.idle()
    bench.annotate.accept()
    bench.idle()

    bench.annotate.reject()
    bench.confirm()

    assert not _labels(bench).data.any()
    assert bench.workspace.project.corrections.select() == []
    assert len(bench.workspace.project.corrections.select(history=True)) == 1
    assert not bench.annotate.panel.prompts.value()[0].finished


def test_a_second_accept_replaces_the_first(bench):
    bench.run("nuclei")
    bench.annotate.accept()
    bench.idle()
    _labels(bench).data[:] = 0

    bench.annotate.accept()
    bench.confirm()

    [correction] = bench.workspace.project.corrections.select()
    assert not bench.workspace.project.corrections.mask(correction).any()


def test_values_painted_by_hand_go_to_the_chosen_prompt(bench):
    bench.run("nuclei")
    bench.annotate.panel.threshold.setValue(1.0)
    bench.idle()
    _labels(bench).data_setitem((np.array([4, 4]), np.array([5, 6])), 9)

    bench.annotate.accept()
    bench.idle()

    [correction] = bench.workspace.project.corrections.select()
    assert np.argwhere(bench.workspace.project.corrections.mask(correction)).tolist() == [[4, 5], [4, 6]]


def test_separate_objects_get_values_of_their_own_and_are_accepted_as_one_mask(bench):
    bench.run("nuclei")
    bench.annotate.panel.threshold.setValue(_median(bench, "nuclei"))
    bench.idle()
    blobs = np.zeros((96, 96), np.float32)
    blobs[10:30, 10:30] = blobs[50:70, 50:70] = 1.0
    stored = bench.annotate.annotation().results["nuclei"].prediction
    stored.probability[:] = blobs

    bench.annotate.panel.instances.setChecked(True)
    bench.idle()
    values = set(np.unique(_labels(bench).data)) - {0}
    bench.annotate.accept()
    bench.idle()

    [correction] = bench.workspace.project.corrections.select()
    assert len(values) == 2
    np.testing.assert_array_equal(bench.workspace.project.corrections.mask(correction), blobs == 1)


def test_working_scale_and_magnification_are_used(bench):
    bench.annotate.panel.scale.setValue(ScaleSettings("whole", 1.0))
    bench.run("nuclei")
    whole = bench.annotate.annotation().results["nuclei"].prediction.scale
    bench.annotate.panel.scale.setValue(ScaleSettings("tiles", 2.0))
    bench.run("nuclei")
    tiles = bench.annotate.annotation().results["nuclei"].prediction.scale

    assert whole.name == "whole"
    assert (tiles.name, tiles.factor) == ("tiles", 2.0)


def test_accept_waits_for_what_is_still_to_be_painted(bench):
    bench.run("nuclei")
    stored = bench.annotate.annotation().results["nuclei"].prediction

    _move_to_middle(bench)
    assert bench.annotate.repainter.is_busy()
    bench.annotate.accept()
    bench.idle()

    shown = bench.annotate.annotation().threshold("nuclei")
    [correction] = bench.workspace.project.corrections.select()
    assert correction.threshold == pytest.approx(shown)
    np.testing.assert_array_equal(bench.workspace.project.corrections.mask(correction), stored.mask(shown))


def test_reject_comes_after_an_accept_that_waits(bench):
    bench.run("nuclei")

    _move_to_middle(bench)
    bench.annotate.accept()
    bench.annotate.reject()
    bench.wait(lambda: bool(bench.annotate.panel.confirm.text()))
    bench.confirm()

    project = bench.workspace.project
    assert project.corrections.select() == []
    assert [c.state for c in project.corrections.select(history=True)] == ["withdrawn"]
    assert not _labels(bench).data.any()


def test_an_accept_that_waits_is_stored_when_the_window_closes(bench):
    bench.run("nuclei")
    stored = bench.annotate.annotation().results["nuclei"].prediction
    _move_to_middle(bench)
    shown = bench.annotate.annotation().threshold("nuclei")

    bench.annotate.accept()
    assert bench.annotate.repainter.is_busy()
    root = default_project(bench.annotate.annotation().image)
    bench.workspace.shut_down()

    with Project.open(root) as project:
        [correction] = project.corrections.select()
        assert correction.threshold == pytest.approx(shown)
        np.testing.assert_array_equal(project.corrections.mask(correction), stored.mask(shown))


def test_nothing_is_accepted_where_the_mask_could_not_be_painted(bench, monkeypatch):
    def full(*_arguments, **_options):
        raise MemoryError

    bench.run("nuclei")
    monkeypatch.setattr(annotation_module, "propose", full)

    _move_to_middle(bench)
    bench.annotate.accept()
    bench.idle()

    assert bench.workspace.project is None
    assert "Nothing was accepted" in bench.status()


def test_the_wheel_over_the_dock_chooses_no_other_layer(bench):
    bench.run("nuclei")
    box = bench.annotate.panel.image
    bench.viewer.add_image(np.zeros((96, 96), np.uint8), name="other")
    before = box.currentText()

    turn = QWheelEvent(
        *(QPointF(5, 5),) * 2,
        *(QPoint(0, -120),) * 2,
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(box, turn)

    assert box.count() == 2
    assert box.currentText() == before


def _take(bench, name):
    box = bench.annotate.panel.objects.source
    box.activated.emit(box.findText(name))


def test_labels_that_a_person_brings_are_added_to_the_chosen_mask(bench):
    bench.run("nuclei")
    expected = _labels(bench).data == 1
    own = bench.viewer.add_labels(np.zeros(expected.shape, np.uint8), name="own")
    own.data[2, 3:5] = 7
    expected[2, 3:5] = True

    _take(bench, "own")
    bench.annotate.accept()
    bench.idle()

    [correction] = bench.workspace.project.corrections.select()
    np.testing.assert_array_equal(bench.workspace.project.corrections.mask(correction), expected)
    assert set(np.unique(_labels(bench).data)) <= {0, 1}


def test_labels_that_do_not_fit_are_refused(bench):
    bench.run("nuclei")
    before = _labels(bench).data.copy()
    bench.viewer.add_labels(np.ones((3, 4), np.uint8), name="small")

    _take(bench, "small")

    assert "Labels layer 'small' has shape 3 x 4" in bench.status()
    np.testing.assert_array_equal(_labels(bench).data, before)


def test_each_image_keeps_its_own_masks_and_shows_no_others(bench):
    bench.run("nuclei")
    first = _labels(bench)
    second = bench.viewer.add_image(255 - bench.viewer.layers["slide"].data, name="other")
    seen = [entry.presence for entry in bench.annotate.panel.prompts.value()]
    without = [layer.name for layer in bench.viewer.layers]

    bench.run("")
    on_second = [layer.name for layer in bench.viewer.layers]
    bench.viewer.layers.selection.active = bench.viewer.layers["slide"]

    assert seen == [None]
    assert without == ["slide", "other"]
    assert on_second == ["slide", "other", "other \N{MIDDLE DOT} nuclei"]
    assert _labels(bench) is first
    assert [layer.name for layer in bench.viewer.layers] == ["slide", "slide \N{MIDDLE DOT} nuclei", "other"]
    assert bench.workspace.annotations[second].mask("nuclei").shape == (96, 96)


def test_a_dock_that_is_opened_again_knows_what_was_done(bench):
    bench.run("nuclei; pink tissue")
    bench.viewer.window.remove_dock_widget(bench.annotate)

    again = AnnotateDock(bench.viewer, bench.workspace)
    bench.viewer.window.add_dock_widget(again, name="Annotate")

    assert [entry.prompt for entry in again.panel.prompts.value()] == ["nuclei", "pink tissue"]
    assert again.panel.prompts.current() == "nuclei"
    assert bench.viewer.layers.selection.active is again.annotation().layers["nuclei"]
    assert again.panel.prompts.value()[0].presence is not None
    assert again.annotation().layers["nuclei"] in bench.viewer.layers


def test_a_mask_that_was_taken_out_of_the_viewer_returns_when_its_prompt_is_clicked(bench):
    bench.run("nuclei; stroma")
    bench.annotate.panel.prompts.setCurrent("nuclei")
    bench.idle()
    layer, layers = bench.layer(), bench.viewer.layers

    layers.remove_selected()
    bench.wait(lambda: set(layers.selection) == {layers["slide"]})  # a second Delete would take what is selected
    bench.qtbot.mouseClick(bench.annotate.panel.prompts._rows[0], Qt.MouseButton.LeftButton)

    assert layers.selection.active is layer


def test_an_image_that_was_removed_is_let_go(bench):
    bench.run("nuclei")
    image = weakref.ref(bench.viewer.layers["slide"])

    bench.viewer.layers.clear()
    gc.collect()

    assert image() is None
    assert not bench.annotate.panel.accept_button.isEnabled()


def test_cancel_draws_nothing(bench):
    bench.annotate.panel.scale.setValue(ScaleSettings("tiles", 8.0))
    bench.annotate.panel.prompt.setValue("nuclei")

    bench.annotate.run()
    bench.annotate.panel.progress.cancelled.emit()
    bench.idle()

    assert [layer.name for layer in bench.viewer.layers] == ["slide"]
    assert bench.status() == "Cancelled; nothing was drawn."
    assert bench.annotate.panel.run_button.isEnabled()


def test_a_prompt_typed_while_the_model_loads_runs_when_it_is_there(make_napari_viewer, qtbot, tiny_checkpoint):
    viewer = make_napari_viewer()
    viewer.add_image(np.tile(np.arange(64, dtype=np.uint8), (64, 1)), name="slide")
    workspace = Workspace()
    workspace.load_model(tiny_checkpoint)
    dock = AnnotateDock(viewer, workspace)
    qtbot.addWidget(dock)

    dock.panel.prompt.setValue("nuclei")
    dock.run()

    assert dock.panel.progress.text() == "Waiting for the model ..."
    qtbot.waitUntil(lambda: "slide \N{MIDDLE DOT} nuclei" in viewer.layers, timeout=60_000)
    qtbot.waitUntil(lambda: not workspace.threads(), timeout=60_000)


def test_the_keys_in_the_canvas_accept_and_reject(bench):
    bench.run("nuclei")

    ViewerModel.class_keymap[coerce_keybinding("A")](bench.viewer)
    bench.idle()
    accepted = len(bench.workspace.project.corrections.select())
    ViewerModel.class_keymap[coerce_keybinding("R")](bench.viewer)
    asked = len(bench.workspace.project.corrections.select())
    bench.confirm()

    assert (accepted, asked, len(bench.workspace.project.corrections.select())) == (1, 1, 0)


def test_both_docks_of_a_viewer_share_one_workspace(make_napari_viewer_proxy):
    viewer = make_napari_viewer_proxy()

    assert workspace_for(viewer) is workspace_for(viewer.__wrapped__)


def test_the_theme_is_followed(bench):
    completions = bench.annotate.panel.prompt.completer().popup()
    dark = completions.palette().base().color().lightness()

    bench.viewer.theme = "light"

    assert completions.palette().base().color().lightness() > dark


def test_the_first_prompt_has_the_first_colour_of_the_palette(bench):
    bench.run("nuclei")

    colour = "#" + "".join(f"{round(255 * float(part)):02x}" for part in _labels(bench).get_color(1)[:3])

    assert colour == PALETTE[0]
