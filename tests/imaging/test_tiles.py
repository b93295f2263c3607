import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_amvlm.errors import InputError
from napari_amvlm.imaging import blend_window, tile_grid

UNTIMED = settings(deadline=None)


@st.composite
def grids(draw):
    tile = draw(st.integers(1, 300))
    overlap = draw(st.integers(0, tile - 1))
    sides = st.integers(1, tile + 12 * (tile - overlap))
    return (draw(sides), draw(sides)), tile, overlap


def _starts(tiles):
    return sorted({tile.y for tile in tiles}), sorted({tile.x for tile in tiles})


@UNTIMED
@given(grids())
def test_tiles_are_of_one_size_and_inside_the_image(grid):
    shape, tile, overlap = grid

    tiles = tile_grid(shape, tile, overlap)

    assert {(t.height, t.width) for t in tiles} == {(min(shape[0], tile), min(shape[1], tile))}
    assert all(t.y >= 0 and t.x >= 0 and t.y + t.height <= shape[0] and t.x + t.width <= shape[1] for t in tiles)


@UNTIMED
@given(grids())
def test_neighbours_overlap_enough_and_reach_both_borders(grid):
    shape, tile, overlap = grid

    starts = _starts(tile_grid(shape, tile, overlap))

    for side, along in zip(shape, starts, strict=True):
        length = min(side, tile)
        assert along[0] == 0
        assert along[-1] + length == side
        assert all(0 < b - a <= length - overlap for a, b in itertools.pairwise(along))


@UNTIMED
@given(grids())
def test_there_are_no_more_tiles_than_needed(grid):
    shape, tile, overlap = grid

    tiles = tile_grid(shape, tile, overlap)

    # One tile fewer along a side would leave a gap or too small an overlap.
    for side, along in zip(shape, _starts(tiles), strict=True):
        assert len(along) == 1 or (len(along) - 1) * (tile - overlap) + overlap < side
    assert len(tiles) == len(set(tiles))


@UNTIMED
@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 500))
def test_a_window_is_above_zero_and_at_most_one(height, width, overlap):
    window = blend_window(height, width, overlap)

    assert window.shape == (height, width)
    assert window.dtype == np.float32
    assert window.min() > 0
    assert window.max() <= 1


@UNTIMED
@given(grids())
def test_blending_tiles_of_an_image_gives_the_image(grid):
    shape, tile, overlap = grid
    image = np.random.default_rng(0).random(shape, dtype=np.float32)
    total, weight = np.zeros(shape), np.zeros(shape)

    for t in tile_grid(shape, tile, overlap):
        area = (slice(t.y, t.y + t.height), slice(t.x, t.x + t.width))
        window = blend_window(t.height, t.width, overlap)
        total[area] += window * image[area]
        weight[area] += window

    assert weight.min() > 0
    np.testing.assert_allclose(total / weight, image, atol=1e-5)


def test_a_window_is_flat_inside_and_symmetric():
    window = blend_window(64, 96, 16)

    assert (window[16:-16, 16:-16] == 1).all()
    np.testing.assert_array_equal(window, window[::-1, ::-1])
    assert (np.diff(window[32, :17]) > 0).all()


def test_the_ramps_of_two_neighbours_add_up_to_nearly_one():
    ramp = blend_window(64, 64, 15)[32]

    np.testing.assert_allclose(ramp[-15:] + ramp[:15], 1, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "tile", "overlap"), [((0, 9), 4, 1), ((9, 9), 4, 4), ((9, 9), 4, -1), ((9, 9), 0, 0)]
)
def test_a_grid_that_cannot_be_is_refused(shape, tile, overlap):
    with pytest.raises(InputError, match="overlap < tile"):
        tile_grid(shape, tile, overlap)


def test_a_window_without_pixels_is_refused():
    with pytest.raises(InputError, match="at least 1 pixel"):
        blend_window(0, 4, 1)
