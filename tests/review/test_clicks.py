import numpy as np
import pytest

from napari_amvlm.errors import LabelsError
from napari_amvlm.review.clicks import add_object, cut_along, object_at, remove_objects

Y, X = np.indices((80, 100))


def disc(row, column, radius):
    return (Y - row) ** 2 + (X - column) ** 2 <= radius**2


def hill(row, column, radius, top, ground):
    """Return a soft object of probability `top` on a ground of probability `ground`."""
    away = np.hypot(Y - row, X - column)
    return ground + (top - ground) / (1 + np.exp((away - radius) / 0.8))


@pytest.mark.parametrize(("top", "ground"), [(0.95, 0.05), (0.3, 0.02), (0.99, 0.7)])
@pytest.mark.parametrize("click", [(30, 40), (33, 44)])
def test_a_click_takes_the_object_whatever_its_probability(top, ground, click):
    found = object_at(hill(30, 40, 9, top, ground), *click)

    truth = disc(30, 40, 9)
    assert (found & truth).sum() / (found | truth).sum() > 0.8


def test_a_click_takes_one_of_two_neighbours():
    both = np.maximum(hill(30, 30, 8, 0.9, 0.05), hill(30, 50, 8, 0.6, 0.05))

    found = object_at(both, 30, 50)

    assert found[30, 50]
    assert not found[30, 30]


def test_a_hole_belongs_to_the_object():
    ring = np.where(disc(40, 50, 3), 0.4, hill(40, 50, 10, 0.95, 0.05))

    assert object_at(ring, 40, 57)[40, 50]


@pytest.mark.parametrize("flat", [0.0, 0.5, 1.0])
def test_a_click_where_nothing_stands_out_says_so(flat):
    with pytest.raises(LabelsError, match="Nothing stands out"):
        object_at(np.full((80, 100), flat), 40, 50)


@pytest.mark.parametrize("click", [(-1, 5), (80, 5), (5, 100)])
def test_a_click_outside_is_refused(click):
    with pytest.raises(LabelsError, match="outside the image"):
        object_at(np.zeros((80, 100)), *click)


def test_a_new_object_leaves_its_neighbours_as_they_are():
    labels = np.where(disc(30, 40, 6), 4, 0).astype(np.uint8)

    added, number = add_object(labels, disc(30, 44, 6))

    assert number == 5
    assert (added[labels == 4] == 4).all()
    assert added[30, 49] == 5
    with pytest.raises(LabelsError, match="covered by others"):
        add_object(labels, disc(30, 40, 2))
    with pytest.raises(LabelsError, match="no free number"):
        add_object(np.where(labels > 0, 255, 0).astype(np.uint8), disc(60, 60, 3))


def test_selected_objects_are_removed():
    labels = np.array([[1, 2, 0, 3]])

    assert remove_objects(labels, [3, 1, 0, 7]).tolist() == [[0, 2, 0, 0]]


def test_a_line_cuts_every_object_that_it_crosses_and_none_that_it_only_enters():
    labels = np.zeros((80, 100), np.int32)
    for number, row in enumerate((15, 40, 65), start=1):
        labels[disc(row, 50, 8)] = number

    cut = cut_along(labels, [(2, 50), (52, 50), (66, 50)])

    assert (cut > 0).tolist() == (labels > 0).tolist()
    assert len(np.unique(cut[labels == 1])) == 2
    assert len(np.unique(cut[labels == 2])) == 2
    assert np.unique(cut[labels == 3]).tolist() == [3]


@pytest.mark.parametrize("line", [[(5, 5)], [(5, 5), (5, 20)], [(40, 50), (40, 52)]])
def test_a_line_that_parts_nothing_says_so(line):
    labels = np.where(disc(40, 50, 8), 1, 0)

    with pytest.raises(LabelsError, match="line"):
        cut_along(labels, line)
