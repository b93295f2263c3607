"""Parts of a batch in threads of their own: the same answers in the same order, and no setting left behind."""

import threading

import numpy as np
import pytest
import torch

from napari_amvlm.device import bounded_threads
from napari_amvlm.errors import OutOfMemoryError
from napari_amvlm.models.tile_maps import side_by_side, tile_maps


@pytest.mark.parametrize(("threads", "rows", "sizes"), [(1, 3, [3]), (2, 1, [1]), (2, 5, [3, 2]), (4, 2, [1, 1])])
def test_rows_are_shared_in_order_and_threads_too(threads, rows, sizes):
    batch = torch.arange(rows)

    with bounded_threads(threads):
        parts = side_by_side(lambda some: (some, torch.get_num_threads()), batch)
        after = torch.get_num_threads()

    assert [len(some) for some, _ in parts] == sizes
    assert torch.equal(torch.cat([some for some, _ in parts]), batch)
    assert {count for _, count in parts} == {threads // len(sizes)}
    assert after == threads


def test_a_failure_in_one_part_is_raised_and_the_next_batch_goes_on():
    def work(some):
        if int(some[0]) == 1:
            raise OutOfMemoryError("not enough memory")
        return len(some)

    with bounded_threads(2):
        with pytest.raises(OutOfMemoryError):
            side_by_side(work, torch.arange(2))
        assert side_by_side(work, torch.arange(4) + 2) == [2, 2]
        assert torch.get_num_threads() == 2


def test_tiles_in_several_threads_are_segmented_as_in_one(tiny_model):
    tiles = np.random.default_rng(0).random((5, 64, 64, 3), np.float32)
    seen = set()
    handle = tiny_model.image_encoder.register_forward_pre_hook(lambda *_: seen.add(threading.get_ident()))

    with bounded_threads(1):
        one = tile_maps(tiny_model, tiles, ["nuclei", "left lung"])
    with bounded_threads(2):
        two = tile_maps(tiny_model, tiles, ["nuclei", "left lung"])

    handle.remove()
    assert len(seen) == 3
    np.testing.assert_allclose(two.probability, one.probability, atol=2e-3)
    np.testing.assert_allclose(two.presence, one.presence, atol=0.05)
