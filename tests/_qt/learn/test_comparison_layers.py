"""The layers of a comparison in napari's own viewer model: the border, the mouse, and nothing left behind."""

from types import SimpleNamespace

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_amvlm._qt.layers.camera import camera_of
from napari_amvlm._qt.learn.comparison_layers import ComparisonLayers
from napari_amvlm.session import Compared
from napari_amvlm.session.model_comparison import ACCEPTED, AFTER, BEFORE

SHAPE = (40, 60)
PROMPT = "nuclei"


def _compared(image_id=1, step=1):
    rng = np.random.default_rng(image_id)
    code = rng.integers(0, 8, SHAPE, dtype=np.uint8)
    pixels = rng.integers(0, 256, (*SHAPE, 3), dtype=np.uint8)
    shape = (SHAPE[0] * step, SHAPE[1] * step)
    return Compared(image_id, f"tile {image_id}", (), shape, step, pixels, {PROMPT: code, "stroma": code ^ 7})


@pytest.fixture
def viewer():
    viewer = ViewerModel()
    viewer.add_image(np.zeros((30, 50)), name="slide", scale=(0.5, 0.5), translate=(3, 4))
    viewer.add_labels(np.ones((30, 50), np.int32), name="slide masks", scale=(0.5, 0.5), translate=(3, 4))
    return viewer


@pytest.mark.parametrize("border", [0.0, 0.25, 0.8, 1.0])
def test_the_border_divides_the_two_masks(viewer, border):
    shown = ComparisonLayers(viewer)
    compared = _compared()
    code, column = compared.masks[PROMPT], round(border * SHAPE[1])
    shown.show(compared, PROMPT, 0.5)

    shown.setBorder(border)

    _, masks, accepted, line = viewer.layers[2:]
    np.testing.assert_array_equal(masks.data[:, :column], code[:, :column] & BEFORE)
    np.testing.assert_array_equal(masks.data[:, column:], code[:, column:] & AFTER)
    np.testing.assert_array_equal(accepted.data > 0, (code & ACCEPTED) > 0)
    np.testing.assert_array_equal(line.data, [[[-0.5, column - 0.5], [SHAPE[0], 0]]])


def test_it_lies_beside_everything_else_at_the_images_own_size(viewer):
    right = viewer.layers.extent.world[1, 1]
    shown = ComparisonLayers(viewer)

    shown.show(_compared(step=3), PROMPT, 0.5)

    for layer in viewer.layers[2:5]:
        assert layer.extent.world[0, 1] > right
        assert np.ptp(layer.extent.world, axis=0) == pytest.approx([(side - 1) * 3 for side in SHAPE])


def test_nothing_of_the_persons_is_touched_and_nothing_stays(viewer):
    layers = list(viewer.layers)
    state = [(layer.visible, layer.opacity, layer.data.copy()) for layer in layers]
    camera = camera_of(viewer)
    camera.center, camera.zoom = (0, 7, 9), 4.2
    active, callbacks = viewer.layers.selection.active, list(viewer.mouse_drag_callbacks)
    shown = ComparisonLayers(viewer)

    shown.show(_compared(1), PROMPT, 0.5)
    shown.show(_compared(2), PROMPT, 0.5)
    names = [layer.name for layer in viewer.layers]
    during = viewer.layers.selection.active
    moved = tuple(camera.center)
    shown.remove()

    assert names[2:] == ["tile 2, compared", "tile 2, before | after", "tile 2, accepted", "tile 2, border"]
    assert during is active
    assert moved != (0, 7, 9)
    assert list(viewer.layers) == layers
    for layer, (visible, opacity, data) in zip(layers, state, strict=True):
        assert (layer.visible, layer.opacity) == (visible, opacity)
        np.testing.assert_array_equal(layer.data, data)
    assert (tuple(camera.center), camera.zoom) == ((0, 7, 9), 4.2)
    assert shown.value() is None
    assert viewer.mouse_drag_callbacks == callbacks


def test_who_looks_elsewhere_by_now_stays_there(viewer):
    shown = ComparisonLayers(viewer)
    shown.show(_compared(), PROMPT, 0.5)
    camera_of(viewer).center = (0, 1000, -1000)

    shown.remove()

    assert tuple(camera_of(viewer).center) == (0, 1000, -1000)


def test_another_prompt_keeps_the_view(viewer):
    shown = ComparisonLayers(viewer)
    compared = _compared()
    shown.show(compared, PROMPT, 1.0)
    camera_of(viewer).zoom = 9.5

    shown.show(compared, "stroma", 1.0)

    assert camera_of(viewer).zoom == 9.5
    np.testing.assert_array_equal(viewer.layers[3].data, compared.masks["stroma"] & BEFORE)


def test_removing_one_of_its_layers_is_told(viewer):
    shown = ComparisonLayers(viewer)
    told = []
    shown.removedByHand.connect(lambda: told.append(True))
    shown.show(_compared(), PROMPT, 0.5)

    viewer.layers.pop(0)
    of_the_person = list(told)
    viewer.layers.pop()

    assert of_the_person == []
    assert told == [True]


def _drag(shown, viewer, columns):
    """Press at the first column, move over the others, and let go; return whether the camera panned at each."""
    image = viewer.layers[2]
    event = SimpleNamespace(type="mouse_press", position=image.data_to_world((5, columns[0])))
    pans = []
    drag = shown._on_drag(viewer, event)
    for column in columns[1:]:
        if next(drag, None) is None and drag.gi_frame is None:
            break
        pans.append(camera_of(viewer).mouse_pan)
        event.type, event.position = "mouse_move", image.data_to_world((5, column))
    next(drag, None)
    event.type = "mouse_release"
    next(drag, None)
    return pans


def test_the_mouse_takes_the_border(viewer):
    shown = ComparisonLayers(viewer)
    borders = []
    shown.borderMoved.connect(borders.append)
    shown.show(_compared(), PROMPT, 0.5)

    pans = _drag(shown, viewer, [30, 15, 6])

    assert borders == pytest.approx([0.25, 0.1])
    assert pans == [False, False]
    assert camera_of(viewer).mouse_pan
    assert viewer.layers[5].data[0, 0, 1] == 5.5


def test_the_mouse_pans_where_there_is_no_border(viewer):
    shown = ComparisonLayers(viewer)
    borders = []
    shown.borderMoved.connect(borders.append)
    shown.show(_compared(), PROMPT, 0.5)
    camera_of(viewer).zoom = 20

    pans = _drag(shown, viewer, [40, 15, 6])

    assert (borders, pans) == ([], [])
