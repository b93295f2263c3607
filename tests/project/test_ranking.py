"""What teaches most, against brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_amvlm.errors import InputError
from napari_amvlm.imaging import Tile, tile_grid
from napari_amvlm.project import TileScores, heat_map, rank, score_tiles
from napari_amvlm.project.ranking import binary_entropy

UNIT = st.floats(0, 1, width=32)


def _brute_force(scores, features, diversity):
    """Choose one item after the other by the definition, with all distances anew each time."""
    left = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    chosen = [left.pop(0)]
    low, high = min(scores), max(scores)

    def distance(a, b):
        assert features is not None
        return float(np.linalg.norm(np.subtract(features[a], features[b])))

    scale = max((distance(i, chosen[0]) for i in left), default=0.0) if features is not None else 0.0
    while left:
        if features is None or scale == 0 or diversity == 0:
            chosen.append(left.pop(0))
            continue
        gains = {}
        for i in left:
            own = (scores[i] - low) / (high - low) if high > low else 0.0
            gains[i] = (1 - diversity) * own + diversity * min(distance(i, c) for c in chosen) / scale
        best = max(gains.values())
        chosen.append(min(i for i in left if gains[i] >= best - 1e-12))
        left.remove(chosen[-1])
    return chosen


@given(st.integers(1, 12), st.integers(0, 10**6), st.sampled_from([0.0, 0.2, 0.5, 1.0]), st.booleans())
@settings(max_examples=200, deadline=None)
def test_the_order_is_that_of_brute_force(count, seed, diversity, with_features):
    random = np.random.default_rng(seed)
    scores = random.random(count)
    features = random.normal(size=(count, 3)) if with_features else None

    order = rank(scores, features, diversity=diversity)

    assert order == _brute_force(scores.tolist(), None if features is None else features.tolist(), diversity)


def test_alike_images_do_not_come_one_after_the_other():
    scores = [1.0, 0.99, 0.98, 0.5]
    features = [[0, 0], [0, 0.01], [0, 0.02], [5, 5]]

    assert rank(scores, features, diversity=0.7)[:2] == [0, 3]
    assert rank(scores, features, diversity=0)[:2] == [0, 1]


def test_after_so_many_the_score_decides_alone():
    random = np.random.default_rng(3)
    scores, features = random.random(30), random.normal(size=(30, 4))

    order = rank(scores, features, count=5)

    assert order[:5] == rank(scores, features)[:5]
    assert sorted(order) == list(range(30))
    assert order[5:] == sorted(order[5:], key=lambda i: -scores[i])


@pytest.mark.parametrize("features", [np.ones((4, 2)), np.full((4, 2), 7.0)])
def test_images_that_all_look_the_same_are_ordered_by_score(features):
    assert rank([0.1, 0.4, 0.4, 0.2], features) == [1, 2, 3, 0]


@pytest.mark.parametrize(
    ("scores", "features", "diversity"),
    [([0.1, np.nan], None, 0.5), ([[0.1]], None, 0.5), ([0.1], [[1.0], [2.0]], 0.5), ([0.1], None, 1.5)],
)
def test_what_cannot_be_ranked_is_told(scores, features, diversity):
    with pytest.raises(InputError):
        rank(scores, features, diversity=diversity)


def test_nothing_is_ranked_to_nothing():
    assert rank([]) == []


@given(arrays(np.float32, (7, 9), elements=UNIT), arrays(np.float32, (7, 9), elements=UNIT))
@settings(max_examples=100, deadline=None)
def test_tiles_have_the_means_of_their_pixels(student, teacher):
    tiles = tile_grid((7, 9), 4, 1)

    scores = score_tiles(student, teacher, tiles)

    for number, tile in enumerate(tiles):
        place = slice(tile.y, tile.y + tile.height), slice(tile.x, tile.x + tile.width)
        p = teacher[place].astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            entropy = np.nan_to_num(-p * np.log2(p)) + np.nan_to_num(-(1 - p) * np.log2(1 - p))
        assert scores.disagreement[number] == pytest.approx(np.abs(student - teacher)[place].mean(), abs=1e-5)
        assert scores.entropy[number] == pytest.approx(entropy.mean(), abs=1e-4)
        assert scores.tiles[number].tolist() == [tile.y, tile.x, tile.height, tile.width]


def test_entropy_is_highest_where_the_model_does_not_know():
    assert binary_entropy([0, 0.5, 1]).tolist() == [0, 1, 0]
    assert binary_entropy(np.array([0.11], np.float32))[0] == pytest.approx(0.4999, abs=1e-3)


def test_an_image_is_as_instructive_as_its_hardest_tiles():
    values = np.linspace(0, 0.95, 20, dtype=np.float32)
    scores = TileScores(np.tile([0, 0, 1, 1], (20, 1)), values, values[::-1])

    assert scores.summary() == pytest.approx((0.925, 0.925))
    assert scores.mixed() == pytest.approx((values + values[::-1]) / 2)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(2, 5), st.integers(0, 1000))
@settings(max_examples=100, deadline=None)
def test_a_heat_map_is_the_mean_of_the_tiles_that_cover_a_pixel(height, width, side, seed):
    tiles = tile_grid((height, width), side, 1)
    values = np.random.default_rng(seed).random(len(tiles))
    boxes = [(t.y, t.x, t.height, t.width) for t in tiles]

    heat = heat_map(boxes, values, (height, width))

    for y in range(height):
        for x in range(width):
            over = [v for (t, s, h, w), v in zip(boxes, values, strict=True) if t <= y < t + h and s <= x < s + w]
            assert heat[y, x] == pytest.approx(np.mean(over), abs=1e-6)


def test_pixels_without_a_tile_are_cold():
    heat = heat_map([(0, 0, 1, 1)], [0.5], (2, 2))

    assert heat.dtype == np.float32
    assert heat.tolist() == [[0.5, 0], [0, 0]]


def test_tiles_outside_the_image_are_told():
    with pytest.raises(InputError, match="not inside"):
        heat_map([(0, 0, 3, 1)], [0.5], (2, 2))
    with pytest.raises(InputError, match="not inside"):
        score_tiles(np.zeros((2, 2)), np.zeros((2, 2)), [Tile(0, 1, 2, 2)])
    with pytest.raises(InputError, match="one shape"):
        score_tiles(np.zeros((2, 2)), np.zeros((2, 3)), [Tile(0, 0, 2, 2)])
    with pytest.raises(InputError, match=r"\[0, 1\]"):
        TileScores(np.array([[0, 0, 1, 1]]), np.array([1.5]), np.array([0.5]))


def test_what_is_like_the_seen_waits():
    features = [[0.0, 0.0], [5.0, 0.0], [0.1, 0.0]]

    assert rank([0.9, 0.8, 0.7], features) == [0, 1, 2]
    assert rank([0.9, 0.8, 0.7], features, seen=[[0.0, 0.0]]) == [1, 0, 2]
    assert rank([0.9, 0.8, 0.7], features, seen=[[5.0, 0.0], [0.0, 0.0], [0.1, 0.0]]) == [0, 1, 2]


def test_only_so_many_are_spread_and_the_rest_follows_by_score():
    features = [[0.0], [0.1], [9.0], [0.2], [4.0]]

    assert rank([1.0, 0.9, 0.5, 0.4, 0.3], features, diversity=0.6, count=2) == [0, 2, 1, 3, 4]


@pytest.mark.parametrize("seen", [[[1.0]], [[np.nan, 0.0]], [1.0, 2.0]])
def test_seen_features_are_checked(seen):
    with pytest.raises(InputError, match="what was seen"):
        rank([1.0, 0.5], [[0.0, 0.0], [1.0, 1.0]], seen=seen)


def test_small_disagreement_counts_in_its_own_units():
    tiles = np.array([[0, 0, 4, 4], [0, 4, 4, 4]])
    scores = TileScores(tiles, np.array([0.02, 0.0]), np.array([0.3, 0.4]))

    assert scores.mixed().argmax() == 1
    assert scores.mixed(units=(0.02, 0.4)) == pytest.approx([0.875, 0.5])
    assert scores.mixed(units=(0.0, 0.2)) == pytest.approx([0.5, 0.5])
