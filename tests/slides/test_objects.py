import numpy as np
import pytest
from scipy import ndimage

from napari_amvlm.errors import Cancelled
from napari_amvlm.imaging import split_instances
from napari_amvlm.imaging.depth_objects import depth_of
from napari_amvlm.slides import SlideRequest, SlideStore, number_objects


def _store(path, probability, depth, countable):
    shape = (probability.shape[1], probability.shape[2])
    prompts = tuple(f"prompt {index}" for index in range(len(probability)))
    request = SlideRequest(
        **{"prompts": prompts, "model": "m", "image": "i", "shape": shape, "block": 64},
        **{"objects": True, "countable": countable, "marker": 0.5},
    )
    store = SlideStore.open(path, request)
    store.probability[:] = np.rint(probability * 255)
    store.depth[:] = np.rint(depth * 255)
    return store


def _field(seed, sigma):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((530, 800)), sigma)
    return np.asarray((noise - noise.min()) / np.ptp(noise))


def _same_partition(one, other):
    """Tell whether two images hold the same objects, whatever their numbers."""
    pairs = np.unique(np.stack([one.ravel(), other.ravel()]), axis=1)
    return all(len(np.unique(numbers)) == pairs.shape[1] for numbers in pairs)


@pytest.mark.parametrize("sigma", [1.5, 6.0, 40.0])
def test_objects_of_parts_are_those_of_one_piece(tmp_path, sigma):
    probability, depth = _field(0, sigma)[None], _field(1, 0.7 * sigma)[None]
    store = _store(tmp_path / "s.zarr", probability, depth, (True,))

    counts = number_objects(store)

    stored = [np.rint(each[0] * 255).astype(np.float32) / np.float32(255) for each in (probability, depth)]
    whole = split_instances(stored[0], 0.5, depth=stored[1], marker=0.5)
    assert counts == (whole.max(),)
    assert whole.max() > 1
    assert _same_partition(store.objects[0], whole)
    assert np.array_equal(np.unique(store.objects[0]), np.arange(counts[0] + 1))
    assert store.object_counts == counts


def test_an_object_over_many_parts_is_one(tmp_path):
    mask = np.zeros((600, 700), np.int32)
    mask[250:262, 10:690] = mask[10:590, 250:262] = 1
    store = _store(tmp_path / "s.zarr", np.stack([mask, mask]) * 0.9, np.stack([depth_of(mask)] * 2), (True, False))

    counts = number_objects(store)

    assert counts[1] == 1  # of words without depth, each connected piece
    assert np.array_equal(store.objects[1] > 0, mask > 0)
    assert (store.objects[0][mask == 0] == 0).all()


def test_specks_are_left_out_and_an_empty_slide_has_no_objects(tmp_path):
    mask = np.zeros((1, 300, 300))
    mask[0, 255, 255] = mask[0, 100:104, 100:104] = 1.0
    store = _store(tmp_path / "s.zarr", mask, mask, (True,))

    assert number_objects(store) == (0,)
    assert not store.objects[:].any()


def test_stopped_in_between_the_next_call_begins_anew(tmp_path):
    probability, depth = _field(0, 6.0)[None], _field(1, 4.0)[None]
    store = _store(tmp_path / "s.zarr", probability, depth, (True,))
    calls = iter(range(100))

    with pytest.raises(Cancelled):
        number_objects(store, should_stop=lambda: next(calls) >= 17)
    assert store.object_counts is None

    other = _store(tmp_path / "other.zarr", probability, depth, (True,))
    assert number_objects(store) == number_objects(other)
    assert np.array_equal(store.objects[:], other.objects[:])
