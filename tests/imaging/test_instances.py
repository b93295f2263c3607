import numpy as np
import pytest
from skimage.draw import disk

from napari_amvlm.errors import InputError
from napari_amvlm.imaging import split_instances


def _disks(*centres, radius=12):
    probability = np.zeros((80, 120), np.float32)
    for centre in centres:
        probability[disk(centre, radius, shape=probability.shape)] = 0.9
    return probability


def test_objects_apart_get_numbers_without_gaps():
    labels = split_instances(_disks((20, 20), (20, 60), (60, 90)), 0.5)

    assert labels.dtype == np.int32
    assert np.unique(labels).tolist() == [0, 1, 2, 3]


def test_touching_disks_are_parted_at_the_neck():
    labels = split_instances(_disks((40, 40), (40, 61)), 0.5)

    assert labels.max() == 2
    left, right = labels[40, 40], labels[40, 61]
    assert (labels[:, :48][labels[:, :48] > 0] == left).all()
    assert (labels[:, 54:][labels[:, 54:] > 0] == right).all()


def test_one_disk_with_a_ragged_border_stays_one_object():
    probability = _disks((40, 60), radius=25)
    edge = (probability > 0) & (np.random.default_rng(0).random(probability.shape) < 0.3)
    inner = _disks((40, 60), radius=23) > 0
    probability[edge & ~inner] = 0

    assert split_instances(probability, 0.5).max() == 1


def test_every_pixel_that_reaches_the_threshold_is_in_an_object():
    probability = _disks((20, 20), (40, 70), (40, 88), (70, 110))
    probability[5, 40:100] = 0.7

    labels = split_instances(probability, 0.7, min_size=1)

    np.testing.assert_array_equal(labels > 0, probability >= np.float32(0.7))


def test_the_threshold_decides_what_is_an_object():
    probability = _disks((20, 20))
    probability[disk((60, 90), 10)] = 0.4

    assert split_instances(probability, 0.5).max() == 1
    assert split_instances(probability, 0.3).max() == 2


def test_small_objects_are_left_out():
    probability = _disks((20, 20))
    probability[60:63, 60:63] = 1

    assert split_instances(probability, 0.5, min_size=10).max() == 1
    assert split_instances(probability, 0.5, min_size=9).max() == 2


def test_thin_objects_far_from_thick_ones_are_found():
    probability = _disks((20, 20))
    probability[70, 20:60] = 1

    labels = split_instances(probability, 0.5)

    assert len(np.unique(labels[70, 20:60])) == 1
    assert labels[70, 20] not in (0, labels[20, 20])


@pytest.mark.parametrize(("value", "count"), [(0.0, 0), (1.0, 1)])
def test_an_empty_and_a_full_map(value, count):
    labels = split_instances(np.full((30, 40), value, np.float32), 0.5)

    assert labels.max() == count
    assert labels.shape == (30, 40)


def test_a_stack_is_refused():
    with pytest.raises(InputError, match="give one plane"):
        split_instances(np.zeros((2, 20, 20)), 0.5)
