"""Small holes are filled and specks taken off, at the threshold and near it; the rest stays as it is."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.morphology import remove_small_holes

from napari_amvlm.imaging.settle import settle


def _map():
    """Return an object of 0.9 with a hole of 4 pixels and one of 9, a speck of 2 pixels, on 0.1."""
    p = np.full((24, 24), 0.1, np.float32)
    p[2:16, 2:16] = 0.9
    p[4:6, 4:6] = 0.2
    p[9:12, 9:12] = 0.2
    p[20, 20:22] = 0.7
    return p


def test_small_holes_get_what_is_around_them():
    p = _map()
    settled = settle(p, hole=4)

    assert np.allclose(settled[4:6, 4:6], 0.9)
    assert np.array_equal(settled[9:12, 9:12], p[9:12, 9:12])
    assert settled[20, 20] == np.float32(0.7)
    assert p[4, 4] == np.float32(0.2)


def test_specks_sink_into_what_is_around_them():
    settled = settle(_map(), speck=2)

    assert np.allclose(settled[20, 20:22], 0.1)
    assert settled[4, 4] == np.float32(0.2)


def test_a_hole_at_the_border_counts_and_a_map_of_one_value_stays():
    p = np.full((6, 6), 0.8, np.float32)
    p[0, 0] = 0.1

    assert np.allclose(settle(p, hole=3), 0.8)
    even = np.full((2, 2), 0.8, np.float32)
    assert np.array_equal(settle(even, speck=10), even)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 12))
def test_at_the_threshold_it_fills_as_the_library_does(seed, hole):
    p = np.random.default_rng(seed).random((14, 17), np.float32)
    filled = settle(p, hole=hole) >= 0.5

    assert np.array_equal(filled, remove_small_holes(p >= 0.5, max_size=hole) if hole else p >= 0.5)
