"""Dice and IoU against scipy's distances and against hand-made cases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import distance

from napari_amvlm.errors import LabelsError
from napari_amvlm.metrics import Overlap, dice, iou, mean_overlap, overlap

SHAPES = [(1, 1), (7, 5), (64, 64), (3, 8, 9)]
DENSITIES = [(0.02, 0.5), (0.5, 0.5), (0.9, 0.1), (1.0, 1.0), (1.0, 0.0)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("densities", DENSITIES)
@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int32, np.float32])
def test_agrees_with_scipy(shape, densities, dtype):
    rng = np.random.default_rng(3)
    prediction, target = (rng.random(shape) < density for density in densities)
    if not (prediction.any() or target.any()):
        prediction[(0,) * prediction.ndim] = True

    found = overlap(prediction.astype(dtype), target.astype(dtype))

    assert found.dice == pytest.approx(1 - distance.dice(prediction.ravel(), target.ravel()))
    assert found.iou == pytest.approx(1 - distance.jaccard(prediction.ravel(), target.ravel()))


@given(st.integers(0, 2**16 - 1), st.integers(0, 2**16 - 1))
@settings(max_examples=100, deadline=None)
def test_agrees_with_pixel_sets(first, second):
    one, two = ({bit for bit in range(16) if value >> bit & 1} for value in (first, second))
    arrays = [np.isin(np.arange(16), sorted(pixels)).reshape(4, 4) for pixels in (one, two)]

    found = overlap(*arrays)

    expected_iou = len(one & two) / len(one | two) if one | two else 1.0
    assert found.iou == pytest.approx(expected_iou)
    assert found.dice == pytest.approx(2 * expected_iou / (1 + expected_iou))
    assert overlap(*reversed(arrays)) == found


def test_both_empty_counts_one():
    empty = np.zeros((4, 4), bool)

    assert dice(empty, empty) == 1.0
    assert iou(empty, empty) == 1.0


def test_one_empty_counts_zero():
    empty, full = np.zeros((4, 4), bool), np.ones((4, 4), bool)

    assert dice(empty, full) == 0.0
    assert iou(full, empty) == 0.0


def test_probabilities_are_cut_at_the_threshold():
    probability = np.array([0.2, 0.5, 0.8], np.float32)
    target = np.array([False, True, True])

    assert dice(probability, target) == 1.0
    assert dice(probability, target, threshold=0.6) == pytest.approx(2 / 3)


def test_mask_values_of_any_kind_are_foreground():
    instances = np.array([[0, 3], [700, 0]], np.uint16)
    mask = np.array([[0, 255], [255, 0]], np.uint8)

    assert overlap(instances, mask) == Overlap(1.0, 1.0)


def test_not_a_number_is_background():
    probability = np.array([np.nan, 1.0])

    assert iou(probability, np.array([False, True])) == 1.0


def test_shapes_must_agree():
    with pytest.raises(LabelsError, match=r"\(4, 4\).*\(4, 5\)"):
        dice(np.zeros((4, 4), bool), np.zeros((4, 5), bool))


def test_mean_weighs_every_image_the_same():
    assert mean_overlap([Overlap(1.0, 1.0), Overlap(0.5, 0.25)]) == Overlap(0.75, 0.625)


def test_mean_of_nothing_is_an_error():
    with pytest.raises(LabelsError, match="no scored image"):
        mean_overlap([])
