import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_amvlm.errors import ImageError
from napari_amvlm.imaging import count_nonfinite, to_rgb01

SHAPE = (20, 24)
KINDS = [np.bool_, np.uint8, np.int16, np.uint16, np.int32, np.uint64, np.int64, np.float16, np.float32, np.float64]


def _ramp(dtype):
    return np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE).astype(dtype)


def test_8_bit_colour_is_divided_by_255():
    image = np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), np.uint8)

    np.testing.assert_array_equal(to_rgb01(image), image.astype(np.float32) / np.float32(255))


def test_8_bit_colour_is_not_stretched():
    assert to_rgb01(np.full((*SHAPE, 3), 51, np.uint8)) == pytest.approx(0.2)


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int32, np.uint32, np.int64, np.float32, np.float64])
def test_gray_of_any_type_is_stretched_between_its_percentiles(dtype):
    image = _ramp(dtype)

    rgb = to_rgb01(image)

    low, high = np.percentile(image, [0.5, 99.5])
    expected = np.clip((image - low) / (high - low), 0, 1)
    np.testing.assert_allclose(rgb[..., 0], expected, atol=2e-3)
    assert (rgb == rgb[..., :1]).all()
    assert rgb.dtype == np.float32
    assert (rgb.min(), rgb.max()) == (0, 1)


def test_channels_are_stretched_jointly():
    image = np.stack([_ramp(np.uint16), _ramp(np.uint16) * 2, _ramp(np.uint16) * 4], axis=-1)

    rgb = to_rgb01(image)

    middle = rgb[10, 12]
    assert middle[2] / middle[0] == pytest.approx(4, rel=0.1)


def test_a_few_bright_pixels_do_not_darken_the_rest():
    image = _ramp(np.float32)
    image[0, 0] = 1e9

    assert to_rgb01(image).mean() == pytest.approx(0.5, abs=0.01)


def test_sparse_signal_on_a_constant_ground_is_kept():
    image = np.zeros((100, 100), np.uint16)
    image[4, 4] = 900

    rgb = to_rgb01(image)

    assert rgb[4, 4, 0] == 1
    assert rgb.sum() == 3


def test_large_images_are_stretched_by_a_sample_of_all_channels():
    image = np.tile(np.linspace(0, 1, 1500, dtype=np.float32), (1500, 1))
    image = np.stack([image, image + 1, image + 2], axis=-1)

    rgb = to_rgb01(image)

    np.testing.assert_allclose(rgb[700, 700], (image[700, 700] - 0.015) / 2.97, atol=0.01)


@pytest.mark.parametrize("value", [0, 7, 255])
def test_a_constant_image_is_zero(value):
    assert not to_rgb01(np.full(SHAPE, value, np.uint8)).any()


def test_bool_becomes_0_and_1():
    image = np.zeros(SHAPE, bool)
    image[3, 3] = True

    rgb = to_rgb01(image)

    assert rgb[3, 3].tolist() == [1, 1, 1]
    assert rgb.sum() == 3


def test_alpha_is_dropped():
    image = np.random.default_rng(0).integers(0, 256, (*SHAPE, 4), np.uint8)

    np.testing.assert_array_equal(to_rgb01(image), to_rgb01(image[..., :3]))


def test_one_channel_is_gray():
    image = _ramp(np.uint16)

    np.testing.assert_array_equal(to_rgb01(image[..., None]), to_rgb01(image))


def test_pixels_that_are_not_finite_take_the_lowest_finite_value():
    image = _ramp(np.float32) + 100
    image[0, :3] = np.nan, np.inf, -np.inf

    rgb = to_rgb01(image)

    assert np.isfinite(rgb).all()
    assert not rgb[0, :3].any()
    assert rgb.max() == 1


def test_no_finite_pixel_is_refused():
    with pytest.raises(ImageError, match=r"slide-7: .*finite pixel.* NaN or infinite"):
        to_rgb01(np.full(SHAPE, np.nan), name="slide-7")


def test_the_input_is_left_alone():
    image = _ramp(np.float32)
    image[0, 0] = np.nan
    before = image.copy()

    to_rgb01(image)

    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((20, 20, 2), "2, shape"),
        ((20, 20, 5), "5, shape"),
        ((3, 20, 20), "20, shape"),
        ((4, 20, 20, 3), "take one plane"),
        ((20,), "take one plane"),
        ((1, 1), "got 1x1; give a larger image"),
        ((15, 300), "got 15x300; give a larger image"),
        ((0, 20), "got 0x20; give a larger image"),
    ],
)
def test_shapes_that_are_no_image_are_refused(shape, said):
    with pytest.raises(ImageError, match=said):
        to_rgb01(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("dtype", [np.complex64, object, "U3"])
def test_values_that_are_no_real_numbers_are_refused(dtype):
    with pytest.raises(ImageError, match="integers or real numbers"):
        to_rgb01(np.zeros(SHAPE, dtype))


@settings(deadline=None)
@given(
    st.sampled_from(KINDS).flatmap(
        lambda kind: (
            hnp.arrays(kind, st.sampled_from([(16, 16), (16, 17, 3), (18, 16, 4)]), fill=st.nothing())
            if kind is np.bool_
            else hnp.arrays(kind, st.sampled_from([(16, 16), (16, 17, 3), (18, 16, 4)]))
        )
    )
)
def test_any_values_give_finite_rgb_or_a_clear_error(image):
    if image.dtype.kind == "f" and not np.isfinite(image).any():
        with pytest.raises(ImageError, match="finite pixel"):
            to_rgb01(image)
        return

    rgb = to_rgb01(image)

    assert rgb.shape == (*image.shape[:2], 3)
    assert rgb.dtype == np.float32
    assert ((rgb >= 0) & (rgb <= 1)).all()


def test_the_greatest_values_of_a_type_do_not_overflow():
    image = np.full(SHAPE, np.finfo(np.float64).max)
    image[:10] *= -1

    rgb = to_rgb01(image)

    assert (rgb[:10] == 0).all()
    assert (rgb[10:] == 1).all()


def test_nonfinite_values_are_counted():
    image = _ramp(np.float32)
    image[0, :4] = np.nan, np.inf, -np.inf, 0

    assert count_nonfinite(image) == 3


def test_integers_are_always_finite():
    assert count_nonfinite(_ramp(np.uint16)) == 0
