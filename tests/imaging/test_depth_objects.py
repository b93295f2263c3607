import numpy as np
import pytest
from skimage.draw import disk
from skimage.measure import label

from napari_amvlm.imaging import split_instances
from napari_amvlm.imaging.depth_objects import climb, depth_of, smoothed


def _discs(*centres):
    objects = np.zeros((60, 90), np.int32)
    for number, centre in enumerate(centres, start=1):
        objects[disk(centre, 12, shape=objects.shape)] = number
    return objects


def _climbed_by_loops(foreground, depth, marker):
    """Return the flat index of the pixel that each pixel of the foreground ends at, -1 elsewhere."""
    ends = np.full(foreground.shape, -1)
    for start in np.argwhere(foreground):
        y, x = start
        while depth[y, x] < marker:
            best = (y, x)
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    there = (y + dy, x + dx)
                    within = 0 <= there[0] < depth.shape[0] and 0 <= there[1] < depth.shape[1]
                    if within and foreground[there]:
                        higher = depth[there] > depth[best] or (depth[there] == depth[best] and there < best)
                        best = there if higher else best
            if best == (y, x):
                break
            y, x = best
        ends[tuple(start)] = y * depth.shape[1] + x
    return ends


def test_depth_is_the_distance_to_the_border_relative_to_the_largest():
    objects = np.zeros((9, 12), np.uint16)
    objects[2:7, 1:6] = 300
    objects[2:7, 6:7] = 7  # a sliver that touches the first: it stays shallow

    depth = depth_of(objects)

    np.testing.assert_allclose(depth[4, 1:7], [1 / 3, 2 / 3, 1, 2 / 3, 1 / 3, 1 / 3], rtol=1e-6)
    assert (depth[objects == 0] == 0).all()


def test_the_border_of_the_image_is_no_border_of_an_object():
    objects = np.zeros((5, 8), np.int32)
    objects[:, :4] = 1

    assert depth_of(objects)[:, :4].tolist() == [[1.0, 0.75, 0.5, 0.25]] * 5
    assert (depth_of(np.ones((4, 4), np.int32)) == 1).all()


def test_touching_objects_come_back_as_they_were():
    wanted = _discs((30, 20), (30, 43), (30, 66))

    objects = split_instances((wanted > 0) * 0.9, depth=depth_of(wanted))

    assert objects.max() == 3
    assert (objects[wanted > 0] == wanted[wanted > 0]).mean() > 0.97


def test_foreground_without_a_middle_is_no_object():
    probability = (_discs((30, 20), (30, 66)) > 0) * 0.9
    depth = depth_of(_discs((30, 20)))

    assert split_instances(probability, depth=depth).max() == 1


@pytest.mark.parametrize("levels", [5, 1000])
def test_every_pixel_ends_where_a_plain_loop_does(levels):
    chance = np.random.default_rng(0)
    depth = smoothed(chance.integers(0, levels, (24, 30)) / levels)
    foreground = chance.random((24, 30)) < 0.8
    marker = float(np.quantile(depth, 0.8))

    clear = chance.random((24, 30)) < 0.1

    climbed = climb(foreground, depth, marker, clear)

    ends = _climbed_by_loops(foreground, depth, marker)
    numbers = climbed.labels.ravel()
    assert np.array_equal(climbed.labels > 0, ends >= 0)
    assert np.array_equal(numbers[foreground.ravel()], numbers[ends[foreground]])
    pieces = label(foreground & (depth >= marker), connectivity=2)
    shown = np.isin(pieces, pieces[clear & (pieces > 0)]).ravel()
    assert np.array_equal(shown[ends[foreground]], climbed.is_object[climbed.labels[foreground]])
    assert 0 < climbed.is_object.sum() < pieces.max()


@pytest.mark.parametrize(
    ("threshold", "probability", "deepest", "count"),
    [
        *[(0.5, 0.6, 0.6, 0), (0.5, 0.6, 0.7, 1), (0.5, 0.95, 0.35, 0), (0.5, 0.95, 0.42, 1)],
        *[(0.2, 0.3, 0.65, 0), (0.2, 0.3, 0.72, 1), (0.2, 0.6, 0.6, 1), (0.9, 0.99, 0.42, 1), (1.0, 1.0, 0.42, 1)],
    ],
)
def test_objects_that_are_neither_deep_nor_sure_are_left_out(threshold, probability, deepest, count):
    wanted = _discs((30, 20)) > 0

    objects = split_instances(wanted * probability, threshold, depth=wanted * deepest, marker=0.4)

    assert objects.max() == count


def test_an_object_of_one_pixel_is_kept_if_it_is_large_enough():
    wanted = np.zeros((20, 20), np.int32)
    wanted[10, 10] = 1

    objects = split_instances(wanted > 0, depth=np.where(wanted, 1.0, 0.0), marker=0.1, min_size=1)

    assert objects.sum() == 1


def test_a_hundred_thousand_objects_in_one_image():
    wanted = np.zeros((1300, 1300), np.int32)
    rows, columns = np.mgrid[1:1300:4, 1:1300:4]
    for dy in range(3):
        for dx in range(3):
            wanted[rows + dy, columns + dx] = 1
    depth = np.zeros(wanted.shape, np.float32)
    depth[rows + 1, columns + 1] = 1

    objects = split_instances(wanted > 0, depth=depth, marker=0.1, min_size=4)

    assert objects.max() == rows.size > 100_000
    assert np.array_equal(objects > 0, wanted > 0)
