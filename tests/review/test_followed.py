from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.imaging import WorkingScale
from napari_amvlm.review.followed import Follower, Shown, Stroke, begin_with, part_around

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Halves:
    """Spreads a stroke to the half of an image that it lies in; counts what it was asked."""

    shape = (4, 8)

    def __init__(self):
        self.probability = np.zeros(self.shape, np.float32)
        self.before: list[NDArray[np.float32]] = []
        self.count = 0

    def stroke(self, rows, columns, positive):
        self.count += 1
        self.before.append(self.probability.copy())
        half = slice(0, 4) if np.max(columns) < 4 else slice(4, 8)
        self.probability = self.probability.copy()
        self.probability[:, half] = float(positive)
        return self.probability

    def undo(self):
        self.probability = self.before.pop()
        return self.probability


def _stroke(row, column, positive=True):
    return Stroke(np.array([row]), np.array([column]), positive)


def _shown(labels, **changes):
    nothing = np.zeros(labels.shape, np.bool_)
    return Shown(**{"labels": labels, "edited": nothing, "kept": nothing, "threshold": 0.5, "value": 3} | changes)


def test_a_half_follows_but_for_pixels_that_are_kept_or_were_changed_by_other_means():
    labels, kept, edited = np.zeros((4, 8), np.int32), np.zeros((4, 8), np.bool_), np.zeros((4, 8), np.bool_)
    kept[0, 0] = True
    labels[1, 1] = 3
    edited[1, 1] = True

    (rows, columns), values = Follower(Halves()).changes([_stroke(2, 2)], _shown(labels, kept=kept, edited=edited))

    changed = np.zeros((4, 8), np.bool_)
    changed[rows, columns] = True
    assert set(values.tolist()) == {3}
    assert not changed[0, 0]
    assert not changed[1, 1]
    assert changed.sum() == 14


def test_strokes_that_stand_are_not_computed_again_and_others_are_taken_back():
    spread, labels = Halves(), np.zeros((4, 8), np.int32)
    follower, first, second, third = Follower(spread), _stroke(0, 0), _stroke(0, 5), _stroke(3, 6)
    follower.changes([first], _shown(labels))
    follower.changes([first, second], _shown(labels))

    (_, columns), _ = follower.changes([first, third], _shown(labels))

    assert spread.count == 3
    assert set(columns.tolist()) == {4, 5, 6, 7}


def test_objects_get_numbers_of_those_they_touch_or_new_ones():
    labels = np.zeros((4, 8), np.int32)
    labels[0, 7] = 5

    (_, columns), values = Follower(Halves()).changes([_stroke(0, 7)], _shown(labels, value=None))

    assert set(columns.tolist()) == {4, 5, 6, 7}
    assert set(values.tolist()) == {5}


def test_what_is_shown_is_what_strokes_begin_with():
    probability = np.array([[0.1, 0.9, 0.1, 0.9]], np.float32)
    mask = np.array([[False, True, True, False]])

    begun = begin_with(probability, mask, 0.5)

    assert np.array_equal(begun >= 0.5, mask)
    assert begun[0, :2].tolist() == probability[0, :2].tolist()
    assert begin_with(None, mask, 0.5, unsure=True)[0, 0] == np.float32(0.2)


def test_a_part_lies_around_its_stroke_inside_the_image_and_neighbours_share_it():
    tiles, shape = WorkingScale("tiles", 1.0), (3000, 2000)

    part = part_around(_stroke(1500, 1990), shape, tiles, 1024)

    assert part == part_around(_stroke(1510, 1950), shape, tiles, 1024)
    assert part is not None
    top, left, height, width = part
    assert top <= 1500 < top + height
    assert left <= 1990 < left + width == 2000
    assert part_around(_stroke(1500, 1990), shape, WorkingScale("whole", 0.1), 1024) is None
    assert part_around(_stroke(10, 10), (1000, 900), tiles, 1024) is None
