"""Joining probabilities into label values, and telling a person's edits apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from napari_amvlm.review import OverlapRule
from napari_amvlm.review.composition import EditTracker, Overlaps, Proposal, compose, merge


def _split(probability: np.ndarray, threshold: float) -> np.ndarray:
    objects, _ = ndimage.label(probability >= threshold)
    return np.asarray(objects)


def _proposal(prompt: str, value: int, columns: slice, probability: float, threshold: float = 0.5) -> Proposal:
    field = np.zeros((6, 10), np.float32)
    field[:, columns] = probability
    return Proposal(prompt, value, field, threshold)


@pytest.mark.parametrize(
    ("overlaps", "row"),
    [
        (Overlaps(), [1, 1, 1, 1, 2, 2, 2, 1, 1, 1]),
        (Overlaps(OverlapRule.PRIORITY, ("lungs", "heart")), [1] * 10),
        (Overlaps(OverlapRule.PRIORITY, ("heart", "lungs")), [1, 1, 1, 1, 2, 2, 2, 1, 1, 1]),
    ],
)
def test_each_prompt_gets_its_value_and_the_rule_decides_the_overlap(overlaps: Overlaps, row: list[int]):
    lungs = _proposal("lungs", 1, slice(0, 10), 0.9)
    heart = _proposal("heart", 2, slice(4, 7), 0.7)

    result = compose([lungs, heart], (6, 10), overlaps=overlaps)

    assert result.labels[0].tolist() == row
    assert result.owners == {1: "lungs", 2: "heart"}


def test_what_is_settled_is_not_proposed_anew():
    blocked = np.zeros((6, 10), bool)
    blocked[:, :3] = True
    proposal = replace(_proposal("nuclei", 1, slice(0, 5), 0.9), blocked=blocked)

    result = compose([proposal], (6, 10))

    assert result.labels[0].tolist() == [0, 0, 0, 1, 1, 0, 0, 0, 0, 0]


def test_an_object_that_lies_mostly_below_a_settled_one_leaves_no_rim():
    field = np.float32([[0.9, 0.9, 0.9, 0.9, 0, 0.9, 0.9, 0.9]])
    blocked = np.array([[True, True, True, False, False, True, False, False]])

    result = compose([Proposal("nuclei", 1, field, 0.5, blocked)], (1, 8), split=_split)

    assert result.labels.tolist() == [[0, 0, 0, 0, 0, 0, 1, 1]]


@pytest.mark.parametrize(("threshold", "pixels"), [(0.0, 60), (0.5, 24), (0.7, 24), (0.71, 0), (1.0, 0)])
def test_threshold_is_inclusive(threshold: float, pixels: int):
    proposal = _proposal("nuclei", 3, slice(0, 4), 0.7, threshold)

    result = compose([proposal], (6, 10))

    assert np.count_nonzero(result.labels == 3) == pixels


def test_instances_get_values_of_their_own_and_remember_their_prompt():
    two = Proposal("nuclei", 1, np.float32([[0.9, 0, 0.9, 0, 0.9]]), 0.5)
    other = Proposal("lymphocytes", 2, np.float32([[0, 0.9, 0, 0, 0]]), 0.5)

    result = compose([two, other], (1, 5), split=_split, first_free=7)

    assert result.labels.tolist() == [[1, 2, 7, 0, 8]]
    assert result.owners == {1: "nuclei", 2: "lymphocytes", 7: "nuclei", 8: "nuclei"}


def test_a_new_threshold_keeps_paint_and_erasure():
    data = np.zeros((4, 4), np.int32)
    tracker = EditTracker(data)
    data[:2] = 1
    tracker.note_written(data, np.zeros(data.shape, bool))
    data[0, 0] = 0
    data[3, 3] = 1

    edited = tracker.edited(data)
    indices, values = merge(data, np.ones((4, 4), np.int32), edited)

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


def test_merge_leaves_kept_pixels_alone():
    keep = np.zeros((2, 2), bool)
    keep[0] = True

    indices, values = merge(np.zeros((2, 2), np.int32), np.full((2, 2), 4, np.int32), keep, None)

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
