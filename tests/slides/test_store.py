"""Results of slides on disk."""

import numpy as np
import pytest

from napari_amvlm.errors import InputError
from napari_amvlm.imaging import open_images
from napari_amvlm.slides import SlideRequest, SlideStore
from napari_amvlm.slides.blocks import BlockIndex
from napari_amvlm.slides.store import BACKGROUND, DONE, WrittenBlock


def test_results_of_other_requests_are_never_mixed(open_store):
    store = open_store()
    store.write((0, 0), np.ones((2, 128, 128), np.float32), (0.9, 0.8))

    with pytest.raises(InputError, match=r"another request \(threshold, model\)"):
        open_store(threshold=0.3, model="other")

    again = open_store(threshold=0.3, model="other", overwrite=True)
    assert not again.states.any()
    assert not np.asarray(again.levels[0][:]).any()


def test_nothing_but_a_result_is_ever_removed(tmp_path, open_store):
    (tmp_path / "mine.zarr").mkdir()
    (tmp_path / "mine.zarr" / "letter.txt").write_text("keep")

    with pytest.raises(InputError, match="not the result of a slide"):
        open_store("mine", overwrite=True)

    assert (tmp_path / "mine.zarr" / "letter.txt").read_text() == "keep"


def test_blocks_that_are_not_done_take_no_room(tmp_path):
    request = SlideRequest(prompts=("nuclei",), model="m", image="s", shape=(200_000, 300_000))

    store = SlideStore.open(tmp_path / "large.zarr", request)

    assert store.levels[0].shape == (200_000, 300_000)
    assert len(store.levels) == 7
    assert sum(file.stat().st_size for file in (tmp_path / "large.zarr").rglob("*") if file.is_file()) < 100_000


def test_labels_open_as_an_image_with_levels_and_pixel_size(tmp_path):
    request = SlideRequest(prompts=("nuclei",), model="m", image="s", shape=(1500, 1100))
    spacing = {"Y": (0.25, "micrometer"), "X": (0.5, "micrometer")}
    store = SlideStore.open(tmp_path / "slide.zarr", request, spacing=spacing)
    store.write((2, 2), np.ones((1, 476, 76), np.float32), (0.9,))

    image = open_images(tmp_path / "slide.zarr")[0]

    assert [level.shape for level in image.levels] == [(1500, 1100), (750, 550)]
    assert image.scale == (0.25, 0.5)
    assert int(np.asarray(image.data).sum()) == 476 * 76
    assert int(np.asarray(image.smaller[0]).sum()) == 238 * 38


def test_blocks_that_are_finished_together_are_as_if_one_by_one(open_store):
    rng = np.random.default_rng(0)
    apart, together = (open_store(name, shape=(1500, 2100), block=256) for name in ("apart", "together"))
    blocks = [BlockIndex(row, column) for row in range(6) for column in range(9)]
    written = []
    for index in [blocks[i] for i in rng.permutation(len(blocks))[:40]]:
        area = apart.grid.rectangle(index)
        found = rng.random((2, area.height, area.width)).astype(np.float32)
        apart.write(index, found, (0.25, 0.75))
        written.append(together.write_finest(index, found, (0.25, 0.75)))
    glass = [WrittenBlock(index, None, None, (0.0, 0.0)) for index in blocks if not apart.states[index]][:5]
    assert not together.states.any()

    together.finish([*written, *glass])

    assert len(apart.levels) == 3
    for one, other in zip([*apart.levels, apart.probability], [*together.levels, together.probability], strict=True):
        assert np.array_equal(one[:], other[:])
    assert np.array_equal(apart.block_presence, together.block_presence)
    assert np.array_equal(apart.states == DONE, together.states == DONE)
    assert sorted(map(tuple, np.argwhere(together.states == BACKGROUND).tolist())) == [each.index for each in glass]


def test_a_result_is_read_again(open_store):
    written = open_store()
    written.write((1, 2), np.full((2, 128, 44), 0.5, np.float32), (0.25, 0.75))

    read = SlideStore.read(written.path)

    assert read.request == written.request
    assert np.argwhere(read.states).tolist() == [[1, 2]]
    assert read.presence() == pytest.approx((0.25, 0.75))
    assert int(np.asarray(read.probability[0, 128:256, 256:]).min()) == 128
