"""AJI, PQ and F1 against plain loops over pixel sets."""

import numpy as np
import pytest

from napari_amvlm.errors import LabelsError
from napari_amvlm.metrics import object_scores


def pixel_sets(numbers):
    flat = numbers.ravel()
    return [set(np.flatnonzero(flat == value).tolist()) for value in np.unique(flat) if value != 0]


def reference(prediction, target):
    """Return AJI, PQ and F1 by the definitions of Kumar et al. 2017 and Kirillov et al. 2019."""
    predicted, wanted = pixel_sets(prediction), pixel_sets(target)
    if not predicted and not wanted:
        return 1.0, 1.0, 1.0
    shared, whole, used = 0, 0, set()
    for one in wanted:
        overlaps = [len(one & other) / len(one | other) for other in predicted]
        if not overlaps or max(overlaps) == 0:
            whole += len(one)
            continue
        best = int(np.argmax(overlaps))
        used.add(best)
        shared, whole = shared + len(one & predicted[best]), whole + len(one | predicted[best])
    whole += sum(len(other) for index, other in enumerate(predicted) if index not in used)
    matches = [len(a & b) / len(a | b) for a in wanted for b in predicted if len(a & b) / len(a | b) > 0.5]
    f1 = 2 * len(matches) / (len(predicted) + len(wanted))
    return shared / whole, f1 * (sum(matches) / len(matches) if matches else 0.0), f1


@pytest.mark.parametrize("seed", range(8))
def test_random_objects_score_as_in_plain_loops(seed):
    rng = np.random.default_rng(seed)
    target = np.repeat(np.repeat(rng.integers(0, 6, (6, 6)), 4, 0), 4, 1)
    shifted = np.roll(target, rng.integers(0, 3, 2), (0, 1))
    prediction = np.where(rng.random(target.shape) < 0.1, 0, shifted) * 3

    scores = object_scores(prediction, target)

    assert (scores.aji, scores.pq, scores.f1) == pytest.approx(reference(prediction, target))


@pytest.mark.parametrize(
    ("prediction", "target", "expected"),
    [
        ([[0, 0]], [[0, 0]], (1.0, 1.0, 1.0, 0.0)),
        ([[1, 1]], [[0, 0]], (0.0, 0.0, 0.0, 1.0)),
        ([[0, 0]], [[4, 9]], (0.0, 0.0, 0.0, 1.0)),
        ([[1, 2]], [[9, 4]], (1.0, 1.0, 1.0, 0.0)),
        ([[70_000, 70_000]], [[1, 2]], (0.5, 0.0, 0.0, 0.5)),
    ],
)
def test_empty_images_and_images_without_background(prediction, target, expected):
    scores = object_scores(np.array(prediction), np.array(target))

    assert (scores.aji, scores.pq, scores.f1, scores.count_error) == pytest.approx(expected)


def test_masks_that_are_not_numbered_are_refused():
    with pytest.raises(LabelsError, match="expected the numbers of objects"):
        object_scores(np.ones((2, 2), bool), np.ones((2, 2), int))


def test_values_below_0_are_refused():
    with pytest.raises(LabelsError, match="target has values below 0"):
        object_scores(np.ones((2, 2), int), np.array([[-1, 0], [1, 1]]))


def test_sizes_must_agree():
    with pytest.raises(LabelsError, match="must have one shape"):
        object_scores(np.ones((2, 2), int), np.ones((2, 3), int))
