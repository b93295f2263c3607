"""Strokes that spread, in a real viewer: one step of undo, painted pixels stay, stacks, faults."""

import numpy as np
import pytest
from napari.layers import Labels

from napari_amvlm._qt.widgets.scale_choice import ScaleSettings
from napari_amvlm.errors import LabelsError

SIDE = 96


def _discs(side=SIDE):
    """Return a gray image, float32, with two bright discs."""
    y, x = np.indices((side, side))
    discs = ((y - 28) ** 2 + (x - 28) ** 2 < 144) | ((y - 68) ** 2 + (x - 68) ** 2 < 144)
    return (0.2 + 0.6 * discs + np.random.default_rng(0).normal(0, 0.02, discs.shape)).astype(np.float32)


def _begin(bench, prompt="bright thing"):
    """Run a prompt, let the model have found nothing though it is not sure, and let strokes spread."""
    bench.annotate.panel.scale.setValue(ScaleSettings("tiles"))
    bench.run(prompt)
    bench.annotate.annotation().results[prompt].prediction.probability[:] = 0.15
    bench.annotate.draw()
    bench.idle()
    bench.annotate.panel.brush.spread.setCurrentIndex(1)
    bench.idle()
    return bench.layer(prompt)


def _paint(bench, layer, row, column, value=None, *, wait=True):
    """Paint a short stroke down a column, as a drag of the mouse does."""
    layer.brush_size = 3
    with layer.block_history():
        for each in range(row - 4, row + 5, 2):
            layer.paint(
                (*bench.annotate.annotation().place, each, column), layer.selected_label if value is None else value
            )
    if wait:
        bench.idle()


@pytest.fixture
def begun(make_bench):
    bench = make_bench(_discs())
    _begin(bench)
    return bench


def _mask(bench, prompt="bright thing"):
    return bench.annotate.annotation().mask(prompt).copy()


def test_a_stroke_and_what_follows_it_are_one_step_of_undo(begun):
    layer = begun.layer("bright thing")

    _paint(begun, layer, 28, 28)
    followed = _mask(begun)
    begun.annotate.undo()
    begun.idle()
    undone = _mask(begun)
    begun.annotate.redo()
    begun.idle()

    assert followed[20:37, 20:37].mean() > 0.5
    assert not undone.any()
    assert np.array_equal(_mask(begun), followed)


def test_what_was_painted_stays_when_a_later_stroke_says_otherwise(begun):
    layer = begun.layer("bright thing")
    _paint(begun, layer, 28, 28)

    _paint(begun, layer, 28, 34, 0)

    mask = _mask(begun)
    assert mask[24:33, 28].all()
    assert not mask[24:33, 34].any()


def test_a_stroke_over_what_is_right_already_confirms_it(begun):
    layer = begun.layer("bright thing")
    _paint(begun, layer, 80, 20, 0)
    _paint(begun, layer, 28, 28)
    before = _mask(begun)

    _paint(begun, layer, 28, 28)
    confirmed = len(layer._undo_history)
    _paint(begun, layer, 28, 34, 0)
    after = _mask(begun)
    for _ in range(4):
        begun.annotate.undo()
        begun.idle()

    assert before[24:33, 28].all()
    assert confirmed == 3
    assert after[24:33, 28].all()
    assert not _mask(begun).any()


def test_an_eraser_on_background_tells_where_nothing_is(begun):
    layer = begun.layer("bright thing")
    begun.annotate.panel.brush.spread.setCurrentIndex(2)
    _paint(begun, layer, 68, 62, 0)

    _paint(begun, layer, 28, 28)
    told = _mask(begun)
    begun.annotate.undo()
    begun.annotate.undo()
    begun.idle()
    _paint(begun, layer, 28, 28)

    assert told[64:73, 62].sum() == 0
    assert told[60:77, 60:77].sum() < _mask(begun)[60:77, 60:77].sum()


def test_the_last_of_contradicting_strokes_counts(begun):
    layer = begun.layer("bright thing")
    line = slice(24, 33), 28

    shown = []
    for value in (1, 0, 1, 0):
        _paint(begun, layer, 28, 28, value)
        shown.append(_mask(begun)[line])

    assert [each.all() for each in shown] == [True, False, True, False]
    assert not shown[-1].any()


def test_a_stroke_on_an_image_that_is_still_looked_at_stays_and_spreads(begun):
    layer, annotation = begun.layer("bright thing"), begun.annotate.annotation()
    before = annotation.results["bright thing"]
    begun.annotate.panel.prompt.setValue("bright thing")
    begun.annotate.run()
    _paint(begun, layer, 28, 28)

    assert annotation.results["bright thing"] is not before
    assert annotation.layers["bright thing"] is layer
    assert _mask(begun)[24:33, 28].all()


def test_data_of_another_shape_is_refused_and_strokes_go_on(begun):
    layer = begun.layer("bright thing")
    _paint(begun, layer, 28, 28)
    before = _mask(begun)

    with pytest.raises(LabelsError, match=r"bright thing has the shape \(96, 96\), but was given .* \(48, 96\)"):
        layer.data = np.zeros((SIDE // 2, SIDE), np.int32)
    _paint(begun, layer, 68, 68)

    assert (_mask(begun) & before).sum() > 0.95 * before.sum()
    assert _mask(begun)[60:77, 60:77].mean() > 0.5


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_thousand_strokes_end_with_the_mask_that_is_accepted(begun):
    layer, rng = begun.layer("bright thing"), np.random.default_rng(1)
    plain = Labels(np.full((SIDE, SIDE), 2))
    for number in range(1000):
        row, column, value = int(rng.integers(SIDE)), int(rng.integers(SIDE)), int(rng.integers(2))
        _paint(begun, plain, row, column, value, wait=False)
        _paint(begun, layer, row, column, value, wait=number % 20 == 19)

    begun.annotate.accept()
    begun.idle()

    project = begun.workspace.project
    [correction] = project.corrections.select()
    stored = project.corrections.mask(correction)
    assert np.array_equal(stored, _mask(begun))
    assert np.array_equal(stored[plain.data < 2], plain.data[plain.data < 2])


def test_a_stroke_after_an_undone_one_begins_where_the_mask_is(begun):
    layer = begun.layer("bright thing")
    _paint(begun, layer, 28, 28)
    alone = _mask(begun)
    _paint(begun, layer, 80, 20)
    begun.annotate.undo()
    begun.idle()

    _paint(begun, layer, 68, 68)

    mask = _mask(begun)
    assert mask[60:77, 60:77].mean() > 0.5
    assert (mask & alone).sum() > 0.8 * alone.sum()
    assert not mask[76:85, 16:20].any()


def test_without_spread_only_what_is_painted_changes(begun):
    layer = begun.layer("bright thing")
    begun.annotate.panel.brush.spread.setCurrentIndex(0)

    _paint(begun, layer, 28, 28)

    assert _mask(begun).sum() < 60


def test_strokes_painted_faster_than_they_spread_are_followed_one_by_one(begun):
    layer = begun.layer("bright thing")
    _paint(begun, layer, 28, 28, wait=False)
    _paint(begun, layer, 68, 68)
    both = _mask(begun)

    begun.annotate.undo()
    begun.idle()

    assert both[20:37, 20:37].mean() > 0.5
    assert both[60:77, 60:77].mean() > 0.5
    one = _mask(begun)
    assert one[20:37, 20:37].mean() > 0.5
    assert one[60:77, 60:77].mean() < 0.5


def test_accept_waits_for_the_mask_to_follow_and_stores_what_is_shown(begun):
    layer = begun.layer("bright thing")
    _paint(begun, layer, 28, 28, wait=False)

    begun.annotate.accept()
    begun.idle()

    project = begun.workspace.project
    [correction] = project.corrections.select()
    stored = project.corrections.mask(correction)
    assert np.array_equal(stored, _mask(begun))
    assert stored[20:37, 20:37].mean() > 0.5


def test_a_finished_mask_is_painted_on_but_follows_nothing(begun):
    layer = begun.layer("bright thing")
    _paint(begun, layer, 28, 28)
    begun.annotate.accept()
    begun.idle()
    before = _mask(begun)

    _paint(begun, layer, 68, 68)

    assert "marked finished" in begun.status()
    assert (_mask(begun) & ~before).sum() < 60


def test_separate_objects_get_numbers_of_their_own(begun):
    begun.annotate.panel.instances.setChecked(True)
    begun.idle()
    layer = begun.layer("bright thing")
    layer.selected_label = 1
    _paint(begun, layer, 28, 28)
    layer.selected_label = 2
    _paint(begun, layer, 68, 68)

    plane = begun.annotate.annotation().plane("bright thing")
    assert set(np.unique(plane[20:37, 20:37])) - {0} == {1}
    assert set(np.unique(plane[60:77, 60:77])) - {0} == {2}


def test_strokes_spread_on_the_slice_in_view_and_on_no_other(make_bench):
    bench = make_bench(np.stack([_discs(), _discs()]))
    bench.viewer.dims.set_current_step(0, 1)
    bench.idle()
    layer = _begin(bench)

    _paint(bench, layer, 28, 28)
    followed = layer.data.copy()
    bench.annotate.undo()
    bench.idle()

    assert (followed[1, 20:37, 20:37] > 0).mean() > 0.5
    assert not followed[0].any()
    assert not layer.data.any()


def test_switching_the_image_while_a_stroke_spreads_loses_nothing(begun):
    layer, annotation = begun.layer("bright thing"), begun.annotate.annotation()
    _paint(begun, layer, 28, 28, wait=False)
    begun.viewer.add_image(_discs().T[::-1], name="another")
    begun.idle()

    assert annotation is not begun.annotate.annotation()
    assert annotation.mask("bright thing")[20:37, 20:37].mean() > 0.5


def test_another_model_meanwhile_leaves_what_strokes_did(begun, tiny_checkpoint):
    layer = begun.layer("bright thing")
    _paint(begun, layer, 28, 28)
    before = _mask(begun)

    _paint(begun, layer, 68, 68, wait=False)
    begun.workspace.serve(tiny_checkpoint)
    begun.idle()
    _paint(begun, layer, 20, 75, wait=True)

    after = _mask(begun)
    assert (after & before).sum() > 0.95 * before.sum()
    assert after[60:77, 60:77].mean() > 0.5


def test_the_key_goes_through_off_near_and_whole_image(bench):
    seen = []
    for _ in range(3):
        bench.annotate.toggle_spread()
        seen.append(bench.annotate.panel.brush.value())

    assert seen == ["near", "whole", "off"]


def test_the_brush_size_is_that_of_the_mask_in_hand(begun):
    layer = begun.layer("bright thing")

    layer.brush_size = 17
    shown = begun.annotate.panel.brush.brush_size.value()
    begun.annotate.panel.brush.brush_size.setValue(5)

    assert (shown, layer.brush_size) == (17, 5)
