"""What stores show: composed by threshold, at every resolution, as blocks come."""

import numpy as np
import pytest

from napari_amvlm.slides import ShownPrompt, ShownSlide, fill_whole, image_token, open_stores
from napari_amvlm.slides.store import DONE, TODO, WrittenBlock

SHAPE, BLOCK = (420, 300), 128


def _filled(store):
    """Fill all blocks with noise and return it as stored, uint8 `(P, H, W)`."""
    rng = np.random.default_rng(0)
    values = rng.integers(0, 256, (len(store.request.prompts), *SHAPE)).astype(np.uint8)
    for row in range(store.grid.counts[0]):
        for column in range(store.grid.counts[1]):
            area = store.grid.rectangle((row, column))
            part = values[:, area.y : area.y + area.height, area.x : area.x + area.width]
            store.write((row, column), part.astype(np.float32) / 255, (0.5,) * len(values))
    return values


def test_the_most_probable_prompt_above_its_threshold_is_shown(open_store):
    store = open_store(block=BLOCK)
    first, second = _filled(store)
    shown = ShownSlide(store)

    shown.show([ShownPrompt(store, 0, 3, 0.5), ShownPrompt(store, 1, 7, 0.25)])

    expected = np.where(first >= 128, 3, 0)
    expected[(second >= 64) & ((second > first) | (first < 128))] = 7
    np.testing.assert_array_equal(np.asarray(shown.levels[0]), expected)


def test_nothing_is_shown_where_nothing_was_done_even_at_threshold_zero(open_store):
    store = open_store(block=BLOCK)
    shown = ShownSlide(store)
    shown.show([ShownPrompt(store, 0, 1, 0.0)])

    assert not shown.levels[0][:, :].any()


@pytest.mark.parametrize(
    "key",
    [
        np.s_[:, :],
        np.s_[100:300, 50:200],
        np.s_[7, 9],
        np.s_[-1, :],
        np.s_[130:131],
        np.s_[::3, 5::7],
        np.s_[400:900, 10:10],
        np.s_[np.int64(3), 2:4],
    ],
)
def test_a_level_is_indexed_as_an_array_is(open_store, key):
    store = open_store(block=BLOCK)
    values = _filled(store)[0]
    shown = ShownSlide(store)
    shown.show([ShownPrompt(store, 0, 1, 0.5)])

    np.testing.assert_array_equal(shown.levels[0][key], (values >= 128)[key])


def test_an_index_outside_is_refused(open_store):
    level = ShownSlide(open_store(block=BLOCK)).levels[0]

    with pytest.raises(IndexError):
        level[420, 0]
    with pytest.raises(IndexError):
        level[::-1, :]


def test_a_block_is_seen_once_it_is_renewed_and_little_is_kept(open_store):
    store = open_store(block=BLOCK)
    shown = ShownSlide(store, kept_bytes=3 * BLOCK * BLOCK)
    shown.show([ShownPrompt(store, 0, 1, 0.5)])
    before = shown.levels[0][:BLOCK, :BLOCK].any()
    store.write((0, 0), np.ones((2, BLOCK, BLOCK), np.float32), (1.0, 1.0))

    shown.renew(store, store.grid.rectangle((0, 0)))

    assert not before
    assert shown.levels[0][:BLOCK, :BLOCK].all()
    shown.levels[0][:, :]
    assert shown._cache.nbytes <= 3 * BLOCK * BLOCK


def test_probabilities_of_a_part(open_store):
    store = open_store(block=BLOCK)
    values = _filled(store)
    area = store.grid.rectangle((1, 1))

    found = ShownSlide(store).probability(ShownPrompt(store, 1, 1, 0.5), area)

    expected = values[1, area.y : area.y + area.height, area.x : area.x + area.width] / np.float32(255)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_prompt_that_was_begun_is_gone_on_with(slide, open_store, tmp_path):
    request = open_store().request
    [first] = open_stores(tmp_path / "kept", request, slide)
    first.finish([WrittenBlock((0, 0), None, None, (0.0, 0.0))])

    again = open_stores(tmp_path / "kept", request.model_copy(update={"prompts": ("nuclei", "gland")}), slide)
    other = open_stores(tmp_path / "kept", request.model_copy(update={"model": "another"}), slide)

    assert [store.request.prompts for store in again] == [("nuclei", "stroma"), ("gland",)]
    assert again[0].states[0, 0] != TODO
    assert (other[0].states == TODO).all()


def test_another_image_of_the_same_name_is_told_apart(slide):
    from dataclasses import replace

    smallest = np.array(slide.levels[-1])
    smallest[0, 0] += 1

    assert image_token(slide) == image_token(slide)
    assert image_token(slide) != image_token(replace(slide, smaller=(slide.smaller[0], smallest)))


def test_a_slide_that_is_looked_at_whole(slide, predictor, open_store):
    store = open_store(scale="whole", prompts=("left lung",))
    predictor.set_image(np.asarray(slide.data))
    alone = predictor.predict("left lung", scale="whole")

    reports = list(fill_whole(predictor, slide, store, first=store.grid.rectangle((1, 1))))

    assert reports[0].index == (1, 1)
    assert [report.done for report in reports] == list(range(1, len(reports) + 1))
    assert (store.states == DONE).all()
    assert store.presence()[0] == pytest.approx(alone.presence, abs=0.02)
    assert list(fill_whole(predictor, slide, store)) == []
    found = np.asarray(store.probability[0]) / 255
    assert np.abs(found - alone.probability).mean() < 0.02
