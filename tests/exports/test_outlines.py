"""Outlines give the very mask back, as simple rings with holes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.measure import label, points_in_poly

from napari_amvlm.exports.outlines import outline, signed_area


def filled(rings, shape):
    """Return the pixels whose centre lies inside an odd number of rings."""
    rows, columns = np.indices(shape)
    centres = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], axis=1)
    inside = [points_in_poly(centres, np.asarray(ring, float)) for ring in rings]
    return np.logical_xor.reduce(inside).reshape(shape)


@given(arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9))))
@settings(max_examples=200, deadline=None)
def test_every_piece_comes_back_from_its_outline(mask):
    pieces = label(mask, connectivity=1)

    for number in range(1, pieces.max() + 1):
        piece = pieces == number
        rings = outline(piece)

        assert np.array_equal(filled(rings, mask.shape), piece)
        assert sum(signed_area(ring) for ring in rings) == piece.sum()
        assert signed_area(rings[0]) > 0
        assert all(signed_area(ring) < 0 for ring in rings[1:])


@given(arrays(np.bool_, (8, 8), fill=st.nothing()))
@settings(max_examples=200, deadline=None)
def test_rings_are_closed_and_never_touch_themselves(mask):
    pieces = label(mask, connectivity=1)

    for number in range(1, pieces.max() + 1):
        for ring in outline(pieces == number):
            assert ring[0] == ring[-1]
            assert len(set(ring)) == len(ring) - 1


def test_straight_sides_have_no_points_between():
    assert outline(np.ones((3, 5), bool)) == [[(0, 0), (5, 0), (5, 3), (0, 3), (0, 0)]]


def test_a_hole_that_touches_the_outside_at_a_corner_is_a_hole():
    mask = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]], bool)

    outer, hole = outline(mask)

    assert signed_area(outer) == 8
    assert signed_area(hole) == -1


@pytest.mark.parametrize("turns", range(4))
def test_a_disc_with_a_hole(turns):
    y, x = np.ogrid[-20:21, -25:26]
    disc = np.rot90((x**2 + y**2 < 300) & ((x - 4) ** 2 + y**2 > 20), turns)

    assert np.array_equal(filled(outline(disc), disc.shape), disc)
