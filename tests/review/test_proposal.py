"""From a probability to proposed objects, and telling a person's edits apart."""

import numpy as np
import pytest
from scipy import ndimage

from napari_amvlm.review.edits import EditTracker, changes
from napari_amvlm.review.proposal import propose


def _split(probability, threshold):
    objects, _ = ndimage.label(probability >= threshold)
    return np.asarray(objects)


def test_what_is_settled_is_not_proposed_anew():
    field = np.float32([[0.9, 0.9, 0.9, 0.9, 0.9, 0, 0, 0]])
    blocked = np.zeros((1, 8), bool)
    blocked[:, :3] = True

    assert propose(field, 0.5, blocked=blocked).tolist() == [[0, 0, 0, 1, 1, 0, 0, 0]]


def test_an_object_that_lies_mostly_below_a_settled_one_leaves_no_rim():
    field = np.float32([[0.9, 0.9, 0.9, 0.9, 0, 0.9, 0.9, 0.9]])
    blocked = np.array([[True, True, True, False, False, True, False, False]])

    assert (propose(field, 0.5, blocked=blocked, split=_split) > 0).tolist()[0] == [False] * 6 + [True] * 2


@pytest.mark.parametrize(("threshold", "pixels"), [(0.0, 60), (0.5, 24), (0.7, 24), (0.71, 0), (1.0, 0)])
@pytest.mark.parametrize("split", [None, _split])
def test_threshold_is_inclusive(threshold, pixels, split):
    field = np.zeros((6, 10), np.float32)
    field[:, :4] = 0.7

    assert np.count_nonzero(propose(field, threshold, split=split)) == pixels


def test_objects_keep_the_numbers_that_they_had():
    field = np.float32([[0.9, 0.9, 0, 0.9, 0, 0.9]])
    before = np.array([[0, 7, 0, 2, 0, 0]])

    assert propose(field, 0.5, split=_split, before=before).tolist() == [[7, 7, 0, 2, 0, 1]]


def test_a_new_threshold_keeps_paint_and_erasure():
    data = np.zeros((4, 4), np.int32)
    tracker = EditTracker(data)
    data[:2] = 1
    tracker.note_written(data, np.zeros(data.shape, bool))
    data[0, 0] = 0
    data[3, 3] = 1

    edited = tracker.edited(data)
    indices, values = changes(data, np.ones((4, 4), np.int32), edited)

    assert np.argwhere(edited).tolist() == [[0, 0], [3, 3]]
    data[indices] = values
    assert data[0, 0] == 0
    assert np.count_nonzero(data) == 15


def test_an_undone_result_is_no_correction():
    data = np.zeros((4, 4), np.int32)
    tracker = EditTracker(data)
    before = data.copy()
    tracker.note_before(data, tracker.edited(data))
    data[:2] = 1
    tracker.note_written(data, np.zeros(data.shape, bool))

    assert not tracker.edited(before).any()


def test_undoing_a_new_threshold_keeps_the_edits_made_before_it():
    data = np.zeros((4, 4), np.int32)
    tracker = EditTracker(data)
    data[:2] = 1
    tracker.note_written(data, np.zeros(data.shape, bool))
    data[3, 3] = 1
    before = data.copy()
    edited = tracker.edited(data)
    tracker.note_before(data, edited)
    data[2] = 1
    tracker.note_written(data, edited)

    assert np.argwhere(tracker.edited(before)).tolist() == [[3, 3]]


def test_labels_that_were_there_first_belong_to_the_person():
    data = np.zeros((4, 4), np.int32)
    data[1, 1] = 5

    tracker = EditTracker(data)

    assert np.argwhere(tracker.edited(data)).tolist() == [[1, 1]]


def test_changes_leave_kept_pixels_alone():
    keep = np.zeros((2, 2), bool)
    keep[0] = True

    indices, values = changes(np.zeros((2, 2), np.int32), np.full((2, 2), 4, np.int32), keep, None)

    assert np.stack(indices).T.tolist() == [[1, 0], [1, 1]]
    assert values.tolist() == [4, 4]


def test_what_a_person_drew_can_be_given_back_to_the_model():
    data = np.zeros((4, 4), np.int32)
    tracker = EditTracker(data)
    data[:2] = 1
    where = np.zeros((4, 4), bool)
    where[0] = True

    tracker.release(data, where)

    assert np.argwhere(tracker.edited(data))[:, 0].tolist() == [1, 1, 1, 1]
