"""The model of a person with a mouse: what is left alone, what is outlined, and what it costs."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import ndimage

from napari_amvlm.errors import LabelsError
from training.simulation.mouse import MouseModel, correct, outline_length, wrong_pieces

MOUSE = MouseModel(piece_seconds=1, look_seconds=5)


def _disc(radius, row=32, column=32):
    rows, columns = np.mgrid[:64, :64]
    return np.asarray((rows - row) ** 2 + (columns - column) ** 2 <= radius**2)


def test_a_right_mask_costs_one_look():
    found = correct(_disc(12), _disc(12), MOUSE)

    assert found.seconds == 5
    assert np.array_equal(found.mask, _disc(12))


@pytest.mark.parametrize("radius", [11, 13])
def test_a_boundary_within_the_tolerance_is_left_alone(radius):
    found = correct(_disc(radius), _disc(12), MOUSE)

    assert found.seconds == 5
    assert np.array_equal(found.mask, _disc(radius))


@pytest.mark.parametrize("radius", [8, 16])
def test_a_boundary_beyond_the_tolerance_is_made_right(radius):
    found = correct(_disc(radius), _disc(12), MOUSE)

    piece_by_piece, anew = (outline_length(wrong) for wrong in (_disc(radius) ^ _disc(12), _disc(12)))
    assert found.seconds == 5 + min(1 + MOUSE.stroke_seconds(piece_by_piece), 2 + MOUSE.stroke_seconds(anew))
    assert np.array_equal(found.mask, _disc(12))


def test_a_missing_object_is_outlined_once_at_the_speed_of_the_mouse():
    found = correct(np.zeros((64, 64), bool), _disc(12), MOUSE)

    outlined = outline_length(_disc(12))
    assert np.array_equal(found.mask, _disc(12))
    assert outlined == pytest.approx(2 * math.pi * 12, rel=0.1)
    assert found.seconds == 5 + 1 + math.ceil(outlined / 50 * 120) / 120


def test_each_wrong_piece_costs_a_click_and_its_contour():
    truth = _disc(8, 12, 12) | _disc(8, 12, 48)
    proposed = _disc(8, 12, 12) | _disc(8, 48, 12)

    found = correct(proposed, truth, MOUSE)

    one = outline_length(_disc(8))
    assert found.seconds == pytest.approx(5 + 2 * (1 + MOUSE.stroke_seconds(one)))
    assert np.array_equal(found.mask, truth)


def test_a_piece_takes_no_rim_of_a_neighbour_along():
    truth = _disc(8, 32, 16) | _disc(8, 32, 44)
    proposed = _disc(7, 32, 16)

    found = correct(proposed, truth, MOUSE)

    assert wrong_pieces(proposed, truth, MOUSE.tolerance).max() == 1
    assert np.array_equal(found.mask[:, :30], proposed[:, :30])
    assert np.array_equal(found.mask[:, 30:], truth[:, 30:])


def test_a_hole_is_part_of_the_contour():
    ring = _disc(14) & ~_disc(6)

    assert outline_length(ring) == pytest.approx(2 * math.pi * (14 + 6), rel=0.1)


def test_a_useless_proposal_costs_one_click_more_than_none():
    truth = _disc(10)
    noise = ndimage.zoom(np.random.default_rng(0).random((16, 16)), 4, order=0) > 0.5

    found = correct(noise, truth, MOUSE)
    anew = correct(np.zeros_like(truth), truth, MOUSE)

    assert found.seconds == anew.seconds + MOUSE.piece_seconds
    assert np.array_equal(found.mask, anew.mask)


def test_an_image_that_is_all_object_or_all_ground_is_corrected():
    everything, nothing = np.ones((20, 20), bool), np.zeros((20, 20), bool)

    assert correct(nothing, everything, MOUSE).mask.all()
    assert not correct(everything, nothing, MOUSE).mask.any()


def test_without_tolerance_every_pixel_is_made_right():
    mouse = MouseModel(tolerance=0)

    assert np.array_equal(correct(_disc(11), _disc(12), mouse).mask, _disc(12))


def test_missing_and_painted_too_much_side_by_side_are_two_pieces():
    truth, proposed = np.zeros((20, 40), bool), np.zeros((20, 40), bool)
    truth[5:15, 5:20] = True
    proposed[5:15, 20:35] = True

    pieces = wrong_pieces(proposed, truth, 2)

    assert set(np.unique(pieces[truth])) == {2}
    assert set(np.unique(pieces[proposed])) - {0} == {1}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 4))
def test_what_stays_wrong_lies_within_the_tolerance(seed, tolerance):
    chance = np.random.default_rng(seed)
    proposed, truth = (ndimage.gaussian_filter(chance.normal(size=(48, 40)), 3) > 0.02 for _ in range(2))

    found = correct(proposed, truth, MouseModel(tolerance=tolerance))

    wrong = found.mask != truth
    outside, inside = (ndimage.distance_transform_edt(side) for side in (~truth, truth))
    assert (np.maximum(outside, inside)[wrong] <= tolerance).all()


def test_masks_of_two_shapes_are_refused():
    with pytest.raises(LabelsError, match=r"\(3, 4\) and \(4, 3\): give masks of one image"):
        correct(np.zeros((3, 4), bool), np.zeros((4, 3), bool), MOUSE)


def test_a_mouse_that_stands_still_is_refused():
    with pytest.raises(ValidationError, match="greater than 0"):
        MouseModel(pixels_per_second=0)
