"""The key of a slide: the same however it was read, another for other pixels."""

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_amvlm.imaging import slide_key


@pytest.fixture
def slide():
    return np.random.default_rng(0).integers(0, 256, (700, 900, 3), np.uint8)


@pytest.mark.parametrize(
    "read",
    [
        lambda slide: da.from_array(slide, chunks=(256, 256, 3)),
        lambda slide: zarr.array(slide, chunks=(256, 256, 3)),
        lambda slide: np.dstack([slide, np.full(slide.shape[:2], 255, np.uint8)]),
        np.asfortranarray,
    ],
    ids=["dask", "zarr", "with alpha", "other order"],
)
def test_it_is_the_same_however_it_was_read(slide, read):
    assert slide_key(read(slide)) == slide_key(slide)


def test_byte_order_does_not_matter():
    gray = np.random.default_rng(1).integers(0, 60_000, (300, 300)).astype("<u2")

    assert slide_key(gray.astype(">u2")) == slide_key(gray)


def test_other_pixels_give_another_key(slide):
    turned = slide[::-1]
    keys = {slide_key(each) for each in (slide, turned, slide[:-1], slide[..., 0], slide.astype(np.uint16))}

    assert len(keys) == 5


def test_a_slide_smaller_than_a_patch_has_a_key():
    key = slide_key(np.arange(15, dtype=np.uint8).reshape(3, 5))

    assert key is not None
    assert len(key) == 64


def test_a_slide_that_is_blank_at_all_places_has_none(slide):
    blank = np.full((6000, 6000), 255, np.uint8)
    blank[:5] = 7

    assert slide_key(blank) is None


def test_tissue_beside_the_first_patches_is_found(slide):
    first, second = (np.full((3000, 3000, 3), 255, np.uint8) for _ in range(2))
    first[700:1400, 600:1500] = slide
    second[700:1400, 600:1500] = slide[::-1]

    assert slide_key(first) is not None
    assert slide_key(first) != slide_key(second)


def test_only_patches_are_read(slide):
    seen = []

    class Watched:
        shape, dtype, ndim = slide.shape, slide.dtype, slide.ndim

        def __getitem__(self, place):
            seen.append(slide[place].shape)
            return slide[place]

    assert slide_key(Watched()) == slide_key(slide)
    assert seen == [(64, 64, 3)] * 9
