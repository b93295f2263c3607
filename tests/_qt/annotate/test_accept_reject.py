"""Review in a real viewer: locks, regions, states on screen, and single objects."""

import numpy as np
import pytest
from skimage.io import imsave

from napari_amvlm._qt.layers.camera import camera_of
from napari_amvlm.review import PixelState
from tests._qt.conftest import picture

SIDE = 96


def _labels(bench):
    return bench.layer()


def _say(bench, prompt, *boxes):
    """Let the model have found `boxes`, whatever its random weights say, and draw that."""
    field = bench.annotate.annotation().results[prompt].prediction.probability
    field[:] = 0.1
    for box in boxes:
        field[box] = 0.9
    bench.annotate.draw()
    bench.idle()


LEFT = (slice(10, 30), slice(10, 30))
RIGHT = (slice(10, 30), slice(60, 80))
LOW = (slice(60, 80), slice(20, 40))


@pytest.fixture
def found(bench):
    """Return the bench with two squares found, each an object of its own."""
    bench.run("nuclei")
    bench.annotate.panel.instances.setChecked(True)
    bench.idle()
    _say(bench, "nuclei", LEFT, RIGHT)
    return bench


def _value(bench, box):
    [value] = np.unique(_labels(bench).data[box]).tolist()
    return int(value)


def _draw_region(bench, rows, columns):
    (top, bottom), (left, right) = rows, columns
    corners = np.array([[top, left], [top, right], [bottom, right], [bottom, left]], float)
    bench.viewer.layers.selection.active = bench.viewer.add_shapes([corners], shape_type="polygon")


def test_a_region_is_accepted_and_the_rest_counts_as_never_looked_at(found):
    _draw_region(found, (0, 95), (0, 45))

    found.annotate.accept_region()
    found.idle()

    project = found.workspace.project
    [correction] = project.corrections.select()
    mask, states = project.corrections.mask(correction), project.corrections.states(correction)
    assert mask[LEFT].all()
    assert not mask[RIGHT].any()
    assert (states[:90, :44] != PixelState.NEVER).all()
    assert (states[:, 50:] == PixelState.NEVER).all()
    assert "nuclei" not in found.annotate.annotation().finished
    assert f"reviewed {(states != PixelState.NEVER).mean():.0%}" in found.annotate.panel.shown.summary()


def test_a_new_prediction_leaves_the_accepted_region_alone(found):
    _draw_region(found, (0, 95), (0, 45))
    found.annotate.accept_region()
    found.idle()
    before = _labels(found).data.copy()

    _say(found, "nuclei", (slice(8, 32), slice(8, 32)), LOW, (slice(40, 50), slice(60, 80)))

    after = _labels(found).data
    np.testing.assert_array_equal(after[:90, :44], before[:90, :44])
    assert not after[RIGHT].any()
    assert after[40:50, 60:80].all()


def test_the_part_in_view_is_the_region_where_nothing_was_drawn(make_bench):
    bench = make_bench(show=True)
    bench.run("nuclei")
    camera = camera_of(bench.viewer)
    camera.center = (24, 24)
    camera.zoom = 30.0

    bench.annotate.accept_region()
    bench.idle()

    [correction] = bench.workspace.project.corrections.select()
    reviewed = bench.workspace.project.corrections.reviewed(correction)
    assert reviewed[24, 24]
    assert not reviewed[90, 90]
    assert 0 < reviewed.mean() < 0.9


def test_a_region_that_was_taken_back_is_accepted_again_as_that_region(found):
    _draw_region(found, (0, 95), (0, 45))
    found.annotate.accept_region()
    found.idle()
    corrections = found.workspace.project.corrections
    first = corrections.reviewed(corrections.select()[0])

    found.annotate.undo()
    found.idle()
    found.annotate.redo()
    found.idle()

    [again] = corrections.select()
    np.testing.assert_array_equal(corrections.reviewed(again), first)
    assert "nuclei" not in found.annotate.annotation().finished


def test_the_part_in_view_is_right_where_axes_are_swapped_and_none_in_3d(make_bench):
    bench = make_bench(picture()[:, :64], show=True)
    bench.run("nuclei")
    camera = camera_of(bench.viewer)
    bench.viewer.dims.ndisplay = 3
    bench.annotate.accept_region()
    in_3d = bench.status()
    bench.viewer.dims.ndisplay = 2
    bench.viewer.dims.order = (1, 0)
    camera.center, camera.zoom = (20, 80), 30.0  # column 20 and row 80: the axes as they are shown

    bench.annotate.accept_region()
    bench.idle()

    corrections = bench.workspace.project.corrections
    [correction] = corrections.select()
    reviewed = corrections.reviewed(correction)
    assert "in 3D" in in_3d
    assert reviewed[80, 20]
    assert 0 < reviewed.mean() < 0.5


def test_a_region_beside_the_image_is_refused(found):
    _draw_region(found, (200, 300), (200, 300))

    found.annotate.accept_region()

    assert found.annotate.panel.status.value() == (
        "error",
        "The region (the drawn shapes) lies outside of image 'slide'; move it onto the image.",
    )


def test_an_unlocked_object_is_painted_over_and_a_locked_one_is_not(found):
    found.annotate.accept()
    found.idle()
    work, row = found.annotate.objects, found.annotate.panel.objects
    row.setValue((_value(found, LEFT),))

    work.lock(False)
    found.idle()
    _say(found, "nuclei", (slice(10, 20), slice(10, 30)), (slice(10, 20), slice(60, 80)))

    data, project = _labels(found).data, found.workspace.project
    assert data[10:20, 10:30].all()
    assert not data[20:30, 10:30].any()
    assert data[RIGHT].all()
    [correction] = project.corrections.select()
    assert len(project.locks.unlocked(correction)) == 1
    row.setValue((_value(found, RIGHT),))
    work.lock(True)
    found.idle()
    assert len(project.locks.unlocked(correction)) == 1


def test_locks_speak_of_accepted_objects_only(found):
    found.annotate.panel.objects.setValue((_value(found, LEFT),))

    found.annotate.objects.lock(False)

    assert found.annotate.panel.status.value()[0] == "warning"


def test_objects_told_apart_are_accepted_with_their_numbers(found):
    found.annotate.accept()
    found.idle()

    project = found.workspace.project
    objects = project.corrections.objects(project.corrections.select()[0])
    assert {_value(found, LEFT), _value(found, RIGHT)} == set(np.unique(objects).tolist()) - {0}


def test_merge_is_one_object_and_one_step_of_undo(found):
    values = (_value(found, LEFT), _value(found, RIGHT))
    before = _labels(found).data.copy()
    found.annotate.panel.objects.setValue(values)

    found.annotate.panel.objects.merge.click()
    found.idle()
    found.annotate.draw()
    found.idle()
    merged = (_value(found, LEFT), _value(found, RIGHT))
    found.annotate.undo()

    assert merged == (min(values), min(values))
    np.testing.assert_array_equal(_labels(found).data, before)


def test_split_parts_an_object_where_the_model_was_least_sure(found):
    field = found.annotate.annotation().results["nuclei"].prediction.probability
    rows, columns = np.mgrid[:SIDE, :SIDE]
    hills = [np.exp(-((rows - 20) ** 2 + (columns - column) ** 2) / 60) for column in (14, 34)]
    joined = np.maximum(*hills)
    labels = _labels(found)
    labels.data_setitem(np.nonzero(joined > 0.3), 1)
    field[:] = joined
    found.annotate.panel.objects.setValue((1,))

    found.annotate.panel.objects.split.click()
    found.idle()

    assert labels.data[20, 14] != labels.data[20, 34]
    found.annotate.undo()
    assert labels.data[20, 14] == labels.data[20, 34]


def test_an_object_that_cannot_be_split_stays_and_the_sentence_says_why(found):
    before = _labels(found).data.copy()
    found.annotate.panel.objects.setValue((_value(found, LEFT),))
    field = found.annotate.annotation().results["nuclei"].prediction.probability
    rows, columns = np.mgrid[:SIDE, :SIDE]
    field[:] = np.exp(-((rows - 20) ** 2 + (columns - 20) ** 2) / 200)

    found.annotate.panel.objects.split.click()
    found.idle()

    assert "has one top" in found.status() or "one top in object" in found.status()
    np.testing.assert_array_equal(_labels(found).data, before)


def test_an_object_is_moved_to_another_prompt(found):
    found.run("left lung")
    found.annotate.annotation().thresholds["left lung"] = 1.0
    found.annotate.draw()
    found.annotate.panel.prompts.setCurrent("nuclei")
    found.idle()
    found.annotate.panel.objects.setValue((_value(found, LEFT),))

    found.annotate.panel.objects.moveRequested.emit("left lung")
    found.idle()

    annotation = found.annotate.annotation()
    assert not annotation.mask("nuclei")[LEFT].any()
    assert annotation.mask("left lung")[LEFT].all()
    assert annotation.mask("nuclei")[RIGHT].all()


def test_a_stroke_paints_the_object_that_it_begins_on_or_a_new_one(found):
    left, right = _value(found, LEFT), _value(found, RIGHT)
    objects, new = found.annotate.panel.objects, max(left, right) + 1
    _labels(found).mode = "paint"
    painted = []

    for picked, press in (((), (20, 20)), ((), (50, 50)), ((right,), (50, 50))):
        objects.setValue(picked)
        _press(found, *press)
        painted.append(_labels(found).selected_label)
    objects.setValue(())
    objects.new.click()
    _press(found, 20, 20)

    assert painted == [left, new, right]
    assert _labels(found).selected_label == new


def test_a_cut_off_piece_is_an_object_of_its_own_once_it_is_accepted(found):
    labels = _labels(found)
    left, right = _value(found, LEFT), _value(found, RIGHT)
    rows, columns = np.mgrid[10:30, 19:21]
    labels.data_setitem((rows.ravel(), columns.ravel()), 0)
    found.idle()
    assert found.annotate.panel.chosen.text().startswith("nuclei \N{MIDDLE DOT} 2 objects")

    found.annotate.accept()
    found.idle()

    project = found.workspace.project
    stored = project.corrections.objects(project.corrections.select()[0])
    np.testing.assert_array_equal(stored, labels.data)
    assert np.unique(stored).tolist() == sorted([0, left, right, max(left, right) + 1])
    assert found.annotate.panel.chosen.text().startswith("nuclei \N{MIDDLE DOT} 3 objects")


def test_objects_that_were_merged_over_a_gap_stay_one(found):
    both = _value(found, LEFT), _value(found, RIGHT)
    found.annotate.panel.objects.setValue(both)
    found.annotate.panel.objects.merge.click()
    found.idle()

    for _ in range(2):
        found.annotate.accept()
        found.idle()
        found.annotate.annotation().joined.clear()  # as on another day

    project = found.workspace.project
    stored = project.corrections.objects(project.corrections.select()[0])
    assert np.unique(stored).tolist() == [0, min(both)]


def _press(bench, row, column):
    """Press the mouse on the chosen mask, without what napari then paints."""

    class Press:
        position = (row, column)

    _labels(bench).mouse_drag_callbacks[0](_labels(bench), Press())


def test_the_three_kinds_of_pixel_are_told_apart_on_screen(found):
    labels = _labels(found)
    labels.data_setitem((np.array([0, 0]), np.array([0, 1])), _value(found, LEFT))
    _draw_region(found, (0, 95), (0, 45))
    found.annotate.accept_region()
    found.idle()

    found.annotate.toggle_reviewed()
    found.idle()

    layer = found.viewer.layers["slide reviewed"]
    assert layer.data[0, 0] == PixelState.CORRECTED + 1
    assert layer.data[20, 20] == PixelState.RIGHT + 1
    assert layer.data[20, 80] == PixelState.NEVER + 1
    colours = {tuple(layer.get_color(state + 1)) for state in PixelState}
    assert len(colours) == 3
    assert "corrected 2" in found.annotate.panel.shown.summary()
    assert found.annotate.panel.image.findText("slide reviewed") < 0


def test_the_heat_map_is_the_entropy_of_the_model(found):
    field = found.annotate.annotation().results["nuclei"].prediction.probability
    field[:] = 0.0
    field[0, :3] = (0.5, 1.0, 0.25)

    found.annotate.toggle_uncertainty()
    found.idle()

    shown = found.viewer.layers["slide unsure"].data[0, :3]
    np.testing.assert_allclose(shown, [1.0, 0.0, 0.8113], atol=1e-3)


def test_a_mask_whose_layer_is_deleted_comes_back_whole_when_its_prompt_is_run(found):
    found.annotate.accept()
    found.idle()
    layer = _labels(found)
    found.viewer.layers.remove(layer)
    usable, row = found.annotate.panel.accept_button.isEnabled(), found.annotate.panel.prompts.value()[0]

    found.annotate.run()
    found.idle()

    assert (usable, row.state) == (False, "hidden")
    assert layer in found.viewer.layers
    assert layer.data[LEFT].all()
    assert layer.data[RIGHT].all()
    assert found.annotate.panel.accept_button.isEnabled()


def test_what_is_painted_after_accept_is_not_stored_until_it_is_accepted(found):
    found.annotate.accept()
    found.idle()
    annotation = found.annotate.annotation()
    stored = annotation.is_stored()

    _labels(found).data_setitem((np.array([50]), np.array([50])), 1)
    painted = annotation.is_stored()
    found.annotate.accept()
    found.idle()

    assert (stored, painted, annotation.is_stored()) == (True, False, True)


def test_reject_withdraws_what_was_accepted_though_the_file_was_moved(make_bench, tmp_path):
    path = tmp_path / "tile.png"
    pixels = np.random.default_rng(3).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
    imsave(path, pixels, check_contrast=False)
    bench = make_bench(pixels, metadata={"path": str(path)})
    bench.run("nuclei")
    bench.annotate.accept()
    bench.idle()
    path.rename(tmp_path / "elsewhere.png")

    bench.annotate.reject()
    bench.confirm()

    project = bench.workspace.project
    assert project.corrections.select() == []
    assert [image.path.name for image in project.images.all()] == ["tile.png"]


def _accept_nuclei_before_gland(bench):
    bench.run("nuclei; gland")
    bench.layer("gland").data_setitem((np.array([0]), np.array([0])), 1)
    bench.annotate.panel.prompts.setCurrent("nuclei")
    bench.idle()
    bench.annotate.accept()
    bench.idle()


def test_ctrl_z_takes_an_accept_back_after_which_the_next_prompt_was_chosen(bench):
    _accept_nuclei_before_gland(bench)
    chosen = bench.annotate.panel.prompts.current()
    stored = [each.prompt for each in bench.workspace.project.corrections.select()]

    bench.annotate.undo()
    bench.idle()

    assert (chosen, stored) == ("gland", ["nuclei"])
    assert bench.annotate.panel.prompts.current() == "nuclei"
    assert bench.workspace.project.corrections.select() == []


def test_the_next_image_begins_with_the_prompt_that_a_person_had_chosen(bench):
    _accept_nuclei_before_gland(bench)
    by_accept = bench.annotate.panel.prompts.current()
    bench.viewer.add_image(picture(1), name="second")
    bench.idle()
    on_second = bench.annotate.panel.prompts.current()

    bench.annotate.panel.prompts.setCurrent("gland")
    bench.viewer.layers.selection.active = bench.viewer.layers["slide"]
    bench.idle()

    assert (by_accept, on_second) == ("gland", "nuclei")
    assert bench.annotate.panel.prompts.current() == "gland"  # chosen by hand


def test_accept_chooses_no_prompt_of_which_nothing_is_drawn(bench):
    bench.run("heart; nuclei")
    bench.annotate.panel.prompts.setCurrent("nuclei")
    bench.idle()

    bench.annotate.accept()
    bench.idle()

    assert bench.annotate.annotation().has_run("heart")
    assert bench.annotate.panel.prompts.current() == "nuclei"


def test_ctrl_z_takes_back_what_was_painted_since_on_the_prompt_that_came_next(bench):
    _accept_nuclei_before_gland(bench)
    before = bench.annotate.annotation().mask("gland")
    rows, columns = (part.ravel() for part in np.mgrid[2:8, 2:8])
    bench.layer("gland").data_setitem((rows, columns), 1 - before[rows, columns].astype(np.int32))

    bench.annotate.undo()
    bench.idle()

    assert bench.annotate.panel.prompts.current() == "gland"
    np.testing.assert_array_equal(bench.annotate.annotation().mask("gland"), before)
    assert len(bench.workspace.project.corrections.select()) == 1
