"""Stacks in the Annotate dock: a prompt on a slice, a range or all, and corrections slice by slice."""

import dask.array as da
import numpy as np
import pytest

from napari_amvlm._qt.widgets.extent_choice import Extent
from napari_amvlm.session import learning_data

SLICES = 4


def _volume(slices=SLICES):
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 4000, (slices, 6, 6)).repeat(16, axis=1).repeat(16, axis=2)
    return (coarse + rng.integers(0, 600, coarse.shape)).astype(np.uint16)


@pytest.fixture
def stack(make_bench):
    bench = make_bench(_volume())
    _go(bench, 1)
    return bench


def _go(bench, number):
    bench.viewer.dims.set_current_step(0, number)
    bench.idle()


def _masks(bench):
    return bench.layer().data


def _run(bench, extent, text="nuclei"):
    bench.annotate.panel.extent.setValue(extent)
    bench.run(text)


def _set_threshold(bench):
    """Choose a threshold that cuts the slice at hand in two halves."""
    bench.annotate.panel.prompts.setCurrent("nuclei")
    middle = float(np.median(bench.annotate.annotation().results["nuclei"].prediction.probability))
    bench.annotate.panel.threshold.setValue(middle)
    bench.idle()
    return bench.annotate.panel.threshold.value()


def test_a_prompt_runs_on_the_slice_in_view(stack):
    stack.run("nuclei")
    threshold = _set_threshold(stack)

    found = stack.annotate.annotation().results["nuclei"].prediction
    assert _masks(stack).shape == (SLICES, 96, 96)
    np.testing.assert_array_equal(_masks(stack)[1] == 1, found.mask(threshold))
    assert _masks(stack)[1].any()
    assert not _masks(stack)[[0, 2, 3]].any()


def test_a_range_and_then_the_whole_stack(stack):
    words = stack.hear_progress()
    stack.run("nuclei")
    _set_threshold(stack)
    _run(stack, Extent("range", (2, 3)))
    painted = [bool(plane.any()) for plane in _masks(stack)]

    _run(stack, Extent("all"))

    assert painted == [False, True, True, True]
    assert all(plane.any() for plane in _masks(stack))
    assert words[-1] == "slice 4 of 4"
    assert stack.status() == "4 slices done: nuclei."
    assert [layer.name for layer in stack.viewer.layers] == ["slide", "slide \N{MIDDLE DOT} nuclei"]


def test_a_slice_alone_and_in_a_range_is_masked_alike(stack):
    stack.run("nuclei")
    alone = stack.annotate.annotation().results["nuclei"].prediction.probability

    _run(stack, Extent("range", (1, 2)))

    again = stack.annotate.annotation().results["nuclei"].prediction.probability
    np.testing.assert_allclose(again, alone, atol=1e-3)


def test_values_and_thresholds_are_the_same_on_every_slice(stack):
    stack.run("left lung; nuclei")
    threshold = _set_threshold(stack)
    _go(stack, 3)
    stack.run("nuclei")

    annotation = stack.annotate.annotation()
    assert annotation.place == (3,)
    assert set(np.unique(annotation.plane("nuclei"))) == {0, 2}
    assert annotation.threshold("nuclei") == pytest.approx(threshold)


def test_cancel_keeps_the_slices_that_are_done(make_bench):
    bench = make_bench(_volume(200))
    bench.run("nuclei")
    _set_threshold(bench)
    runs = bench.annotate.prompts
    runs.found.connect(lambda _asked, report: runs.cancel() if report.done == 2 else None)

    _run(bench, Extent("all"))

    painted = [bool(plane.any()) for plane in _masks(bench)]
    assert painted[:2] == [True, True]
    assert not painted[-1]
    assert bench.status().endswith("of 200 slices are done and stay.")


def test_what_a_person_painted_on_a_slice_survives_a_run_over_all(stack):
    stack.run("nuclei")
    _set_threshold(stack)
    labels = stack.viewer.layers["slide \N{MIDDLE DOT} nuclei"]
    rows, columns = (part.ravel() for part in np.mgrid[10:20, 10:20])
    labels.data_setitem((np.full(rows.size, 1), rows, columns), 0)
    labels.data_setitem((np.full(rows.size, 2), rows, columns), 7)

    _run(stack, Extent("all"))

    assert not _masks(stack)[1, 10:20, 10:20].any()
    assert (_masks(stack)[2, 10:20, 10:20] == 7).all()


def test_undo_takes_back_the_slice_in_view_and_no_other(stack):
    stack.run("nuclei")
    _set_threshold(stack)
    _run(stack, Extent("all"))
    _go(stack, 0)
    stack.annotate.panel.threshold.setValue(0.0)
    stack.idle()
    others = _masks(stack)[1:].copy()

    stack.annotate.undo()

    assert not (_masks(stack)[0] == 1).all()
    np.testing.assert_array_equal(_masks(stack)[1:], others)


def test_undo_leaves_another_slice_that_was_painted_later_alone(stack):
    stack.run("nuclei")
    _go(stack, 3)
    labels = stack.layer()
    labels.data_setitem((np.array([3]), np.array([5]), np.array([5])), 1)
    _go(stack, 1)
    labels.data_setitem((np.array([1]), np.array([6]), np.array([6])), 1 - labels.data[1, 6, 6])
    painted = _masks(stack)[1].copy()
    _go(stack, 3)

    for _ in range(2):
        labels.undo()

    assert not _masks(stack)[3].any()
    np.testing.assert_array_equal(_masks(stack)[1], painted)
    assert stack.status() == "There is nothing to take back of nuclei here."


def test_slices_are_accepted_one_by_one_and_learnt_from_as_images(stack):
    stack.run("nuclei")
    _set_threshold(stack)
    _run(stack, Extent("all"))
    stack.annotate.accept()
    stack.idle()
    _go(stack, 3)
    stack.viewer.layers["slide \N{MIDDLE DOT} nuclei"].data_setitem((np.array([3]), np.array([0]), np.array([0])), 1)
    stack.annotate.accept()
    stack.idle()

    project = stack.workspace.project
    records = project.images.all()
    assert [record.name for record in records] == ["slide z1", "slide z3"]
    for record, number, correction in zip(records, (1, 3), project.corrections.select(), strict=True):
        np.testing.assert_array_equal(project.images.load(record), _volume()[number])
        np.testing.assert_array_equal(project.corrections.mask(correction), _masks(stack)[number] == 1)
    data = learning_data(project, predictor_scales=lambda *_: "tiles")
    assert sorted(image.name for image in (*data.labelled, *data.validation)) == ["slide z1", "slide z3"]
    assert "nuclei" in stack.annotate.annotation().finished


def test_another_day_an_accepted_slice_is_shown_when_it_is_looked_at(stack):
    _go(stack, 3)
    stack.run("nuclei")
    _set_threshold(stack)
    stack.annotate.accept()
    stack.idle()
    accepted = _masks(stack)[3].copy()
    stack.viewer.layers.clear()
    stack.viewer.add_image(_volume(), name="again")
    _go(stack, 0)
    before = [layer.name for layer in stack.viewer.layers]

    _go(stack, 3)

    assert before == ["again"]
    np.testing.assert_array_equal(stack.viewer.layers["again \N{MIDDLE DOT} nuclei"].data[3] > 0, accepted > 0)
    assert stack.annotate.annotation().image_id is not None


def test_what_was_reviewed_is_shown_on_its_slice(stack):
    stack.run("nuclei")
    _set_threshold(stack)
    stack.annotate.accept()
    stack.idle()

    stack.annotate.toggle_reviewed()
    stack.idle()

    shown = stack.viewer.layers["slide reviewed"].data
    assert shown.shape == (SLICES, 96, 96)
    assert (shown[1] > 1).all()
    assert not shown[[0, 2, 3]].any()


def test_a_region_of_a_slice_is_accepted(stack):
    stack.run("nuclei")
    stack.viewer.add_shapes([np.array([[10, 10], [10, 40], [40, 40], [40, 10]])])

    stack.annotate.accept_region()
    stack.idle()

    [correction] = stack.workspace.project.corrections.select()
    reviewed = stack.workspace.project.corrections.reviewed(correction)
    assert reviewed[12:38, 12:38].all()
    assert not reviewed[50:].any()


def test_times_and_slices_of_a_lazy_stack(make_bench):
    planes = np.stack([_volume(), _volume()[::-1]])
    bench = make_bench(da.from_array(planes, chunks=(1, 1, 96, 96)))
    bench.viewer.dims.set_current_step((0, 1), (1, 2))
    bench.idle()
    bench.run("nuclei")
    _set_threshold(bench)

    _run(bench, Extent("range", (0, 1)))

    painted = [[bool(plane.any()) for plane in time] for time in _masks(bench)]
    assert bench.annotate.annotation().name == "slide t1 z2"
    assert painted == [[False] * 4, [True, True, True, False]]


def test_colour_slices(make_bench):
    rng = np.random.default_rng(0)
    bench = make_bench(rng.integers(0, 255, (3, 64, 64, 3)).astype(np.uint8), rgb=True)

    bench.run("nuclei")

    assert _masks(bench).shape == (3, 64, 64)


def test_a_stack_that_is_seen_from_the_side(stack):
    stack.viewer.dims.order = (1, 0, 2)

    stack.run("nuclei")

    assert "is seen from the side" in stack.status()
    assert [layer.name for layer in stack.viewer.layers] == ["slide"]


def test_a_slice_is_not_accepted_while_its_stack_is_seen_from_the_side(stack):
    stack.run("nuclei")
    stack.viewer.dims.order = (1, 0, 2)

    stack.annotate.accept()
    stack.idle()

    assert "is seen from the side" in stack.status()
    assert stack.workspace.project is None


def test_the_choice_of_slices_is_there_for_stacks_alone(stack):
    extent = stack.annotate.panel.extent
    for_stack = extent.isVisibleTo(stack.annotate.panel), extent._last.maximum()

    stack.viewer.add_image(np.zeros((64, 64), np.uint8), name="plane")

    assert for_stack == (True, SLICES - 1)
    assert not extent.isVisibleTo(stack.annotate.panel)
    assert extent.value() == Extent("here")


def test_a_region_that_was_drawn_on_another_slice_is_not_this_one(stack):
    stack.run("nuclei")
    square = np.array([[10, 10], [10, 40], [40, 40], [40, 10]])
    drawn = [np.insert(square + offset, 0, number, axis=1) for number, offset in ((0, 50), (1, 0))]
    stack.viewer.layers.selection.active = stack.viewer.add_shapes(drawn, shape_type="polygon", ndim=3)

    stack.annotate.accept_region()
    stack.idle()

    [correction] = stack.workspace.project.corrections.select()
    reviewed = stack.workspace.project.corrections.reviewed(correction)
    assert reviewed[12:38, 12:38].all()
    assert not reviewed[45:].any()


def test_a_polygon_that_is_not_finished_waits_on_its_slice(stack):
    stack.run("blood")
    layer = stack.layer("blood")
    layer.mode = "polygon"
    layer._overlays["polygon"].points = [[1.0, *point] for point in ((10, 10), (10, 40), (40, 40), (40, 10))]

    _go(stack, 2)
    elsewhere = layer.is_drawing()
    _go(stack, 1)
    back = layer.is_drawing()
    _go(stack, 3)
    layer.finish_polygon()

    assert (elsewhere, back) == (False, True)
    assert [bool(plane.any()) for plane in layer.data] == [False, True, False, False]
