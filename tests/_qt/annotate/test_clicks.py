"""Click mode in a real viewer: objects are added, chosen, removed, cut and merged; each is one step of undo."""

from types import SimpleNamespace

import numpy as np
import pytest
from napari.utils.key_bindings import coerce_keybinding

from napari_amvlm._qt.annotate.objects import Change
from napari_amvlm._qt.layers.labels import OVERLAY
from napari_amvlm._qt.strokes.clicks import area_words
from napari_amvlm.review import relabel

LEFT, RIGHT = (slice(10, 30), slice(10, 30)), (slice(10, 30), slice(40, 60))
FAINT = (slice(60, 72), slice(60, 72))
"""Below the threshold, and yet it stands out."""


@pytest.fixture
def found(bench):
    """Return the bench in click mode, with two squares found and one missed."""
    bench.run("nuclei")
    field = bench.annotate.annotation().results["nuclei"].prediction.probability
    field[:] = 0.05
    field[LEFT] = field[RIGHT] = 0.9
    field[FAINT] = 0.3
    bench.annotate.draw()
    bench.idle()
    bench.annotate.toggle_clicks()
    bench.idle()
    return bench


def _drag(bench, points, *modifiers):
    """Press the mouse at the first point, move to the others and release, on the layer that has the mouse."""
    layer = bench.layer()
    first, *others = points
    event = SimpleNamespace(type="mouse_press", button=1, modifiers=modifiers, position=first, pos=np.array(first))
    [callback] = [each for each in layer.mouse_drag_callbacks if each == bench.annotate.clicks._on_drag]
    run = callback(layer, event)
    next(run, None)
    for point in others:
        event.type, event.position, event.pos = "mouse_move", point, np.array(point)
        next(run, None)
    event.type = "mouse_release"
    next(run, None)
    bench.idle()


def _plane(bench):
    return bench.annotate.annotation().plane("nuclei").copy()


def _outline(bench):
    return [layer for layer in bench.viewer.layers if layer.metadata.get(OVERLAY) == "chosen"]


def test_a_click_beside_objects_adds_the_one_under_the_pointer(found):
    before = _plane(found)

    _drag(found, [(66, 66)])
    after = _plane(found)
    found.annotate.undo()
    found.idle()

    assert (after[FAINT] > 0).mean() > 0.6
    assert ((after > 0) & (before == 0)).sum() < 200
    assert np.array_equal(_plane(found), before)


def test_a_click_where_nothing_stands_out_says_so(found):
    before = _plane(found)

    _drag(found, [(85, 20)])

    assert "Nothing stands out" in found.status()
    assert np.array_equal(_plane(found), before)


def test_a_click_chooses_an_object_with_its_outline_and_area_and_one_beside_lets_it_go(found):
    _drag(found, [(20, 20)])
    value, [outline] = found.annotate.panel.objects.value(), _outline(found)
    inside = outline.data > 0
    text = found.annotate.panel.objects._picked.text()
    _drag(found, [(85, 20)])

    assert value == (_plane(found)[20, 20],)
    assert np.array_equal(inside, _plane(found) == value[0])
    assert f"{inside.sum()} px" in text
    assert found.annotate.panel.objects.value() == ()
    assert not _outline(found)


def test_escape_lets_the_chosen_objects_go_in_click_mode_only(found):
    _drag(found, [(20, 20)])
    layer, key = found.layer(), coerce_keybinding("Escape")

    layer.keymap[key](layer)
    let_go = found.annotate.panel.objects.value()
    found.annotate.toggle_clicks()

    assert let_go == ()
    assert key not in layer.keymap


def test_a_drag_pans_and_chooses_nothing(found):
    before = _plane(found)

    _drag(found, [(20, 20), (24, 30), (30, 44)])

    assert found.annotate.panel.objects.value() == ()
    assert np.array_equal(_plane(found), before)


def test_delete_removes_the_chosen_object_as_one_step(found):
    before = _plane(found)
    _drag(found, [(20, 20)])

    found.annotate.remove_objects()
    found.idle()
    after = _plane(found)
    found.annotate.undo()
    found.idle()

    assert not after[LEFT].any()
    assert after[RIGHT].all()
    assert np.array_equal(_plane(found), before)


def test_objects_that_ctrl_z_takes_back_are_chosen_no_more(found):
    _drag(found, [(20, 20)])
    found.annotate.objects.make(lambda _annotation, _prompt, data: Change(relabel(data, data[20, 20], 9), "New."))
    found.idle()
    chosen = found.annotate.panel.objects.value()

    found.annotate.undo()
    found.idle()

    assert chosen == (9,)
    assert found.annotate.panel.objects.value() == ()


def test_esc_drops_a_polygon_in_click_mode_too(found):
    layer = found.layer()
    layer.mode = "polygon"
    layer._overlays["polygon"].points = [(40, 2), (50, 2), (50, 9), (40, 9)]

    layer.keymap[coerce_keybinding("Escape")](layer)

    assert not layer.is_drawing()


def test_a_line_with_shift_cuts_what_it_crosses(found):
    _drag(found, [(20, 5), (20, 20), (20, 35)], "Shift")

    plane = _plane(found)
    assert plane[12, 20] != plane[28, 20]
    assert plane[12, 20] > 0
    assert plane[28, 20] > 0
    assert len(np.unique(plane[RIGHT])) == 1


def test_two_chosen_objects_merge(found):
    _drag(found, [(20, 20)])
    _drag(found, [(20, 50)])

    found.annotate.merge_objects()
    found.idle()

    plane = _plane(found)
    assert plane[20, 20] == plane[20, 50] > 0


def test_click_mode_tells_objects_apart_and_needs_a_mask(bench):
    bench.annotate.toggle_clicks()
    assert "Run a prompt first" in bench.status()
    bench.run("nuclei")

    bench.annotate.toggle_clicks()
    bench.idle()

    assert bench.annotate.panel.instances.isChecked()
    assert bench.layer().mode == "pan_zoom"


def test_an_area_is_told_in_square_micrometers_where_the_pixel_size_is_known(bench):
    image = bench.viewer.layers["slide"]
    unknown = area_words(100, image)
    image.units, image.scale = ("um", "um"), (0.5, 0.5)

    assert unknown == "100 px"
    assert area_words(100, image) == "100 px, 25 um2"
