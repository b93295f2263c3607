import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import downscale_local_mean

from napari_amvlm.errors import ImageError, InputError
from napari_amvlm.imaging import ImageData, WorkingScale, magnification_by_size, resize, tile_scale, whole_scale


def _scene(shape):
    """Return a smooth image whose value is known at every point of the unit square."""
    y, x = ((np.arange(side) + 0.5) / side for side in shape)
    return (np.sin(3 * y)[:, None] + np.cos(2 * x)[None, :]).astype(np.float32)


def test_the_long_side_decides_the_whole_scale():
    assert whole_scale((400, 640), 320) == WorkingScale("whole", 0.5)


def test_tiles_are_native_unless_magnified():
    assert tile_scale() == WorkingScale("tiles", 1.0)
    assert tile_scale(0.5).factor == 0.5


@pytest.mark.parametrize("magnification", [0.0, -1.0, float("nan"), float("inf")])
def test_a_magnification_that_is_no_factor_is_refused(magnification):
    with pytest.raises(InputError, match="magnification above 0"):
        tile_scale(magnification)


def test_a_shape_without_pixels_has_no_scale():
    with pytest.raises(InputError, match="at least 1 pixel"):
        whole_scale((0, 5), 320)


@pytest.mark.parametrize("shape", [(37, 61), (320, 320), (500, 333)])
def test_the_scene_stays_where_it_is(shape):
    resized = resize(_scene((250, 250)), shape)

    assert resized.dtype == np.float32
    np.testing.assert_allclose(resized[2:-2, 2:-2], _scene(shape)[2:-2, 2:-2], atol=0.01)


def test_there_and_back_does_not_shift():
    image = _scene((120, 90))

    again = resize(resize(image, (360, 270)), (120, 90))

    np.testing.assert_allclose(again[2:-2, 2:-2], image[2:-2, 2:-2], atol=1e-3)


def test_shrinking_averages_instead_of_picking_pixels():
    noise = np.random.default_rng(0).random((320, 320), dtype=np.float32)

    small = resize(noise, (40, 40))

    # As smooth as the area mean, to which picked pixels of white noise have no relation.
    area = downscale_local_mean(noise, (8, 8))
    assert small.std() < 1.2 * area.std()
    assert np.corrcoef(small.ravel(), area.ravel())[0, 1] > 0.8


def test_values_keep_float_precision():
    image = np.full((50, 70), 1234.5678, np.float32)

    np.testing.assert_allclose(resize(image, (333, 21)), image[0, 0], rtol=1e-6)


def test_channels_are_resized_each_on_its_own():
    image = np.random.default_rng(0).random((30, 40, 5), dtype=np.float32)

    resized = resize(image, (60, 20))

    assert resized.shape == (60, 20, 5)
    np.testing.assert_array_equal(resized[..., 3], resize(image[..., 3], (60, 20)))


def test_the_same_size_gives_a_copy():
    image = np.ones((4, 5), np.float32)

    resized = resize(image, (4, 5))
    resized[0, 0] = 7

    assert image[0, 0] == 1


@settings(deadline=None)
@given(st.tuples(st.integers(1, 60), st.integers(1, 60)), st.tuples(st.integers(1, 90), st.integers(1, 90)))
def test_the_result_is_within_the_range_of_the_input(before, after):
    image = np.random.default_rng(1).normal(size=before).astype(np.float32)

    resized = resize(image, after)

    assert resized.shape == after
    assert resized.min() >= image.min() - 1e-5
    assert resized.max() <= image.max() + 1e-5


@pytest.mark.parametrize(
    ("source", "shape"), [((0, 4), (3, 3)), ((4,), (3, 3)), ((4, 4), (0, 3)), ((2, 4, 4, 3), (3, 3))]
)
def test_what_is_no_image_is_refused(source, shape):
    with pytest.raises(ImageError, match="at least 1 pixel"):
        resize(np.zeros(source), shape)


@pytest.mark.parametrize(
    ("spacing", "factor"),
    [
        pytest.param((0.25, "micrometer"), 1.0, id="as taught"),
        pytest.param((0.23, "micrometer"), 1.0, id="nearly as taught"),
        pytest.param((0.5, "micrometer"), 2.0, id="20x"),
        pytest.param((125.0, "nanometer"), 0.5, id="nanometers"),
        pytest.param((0.0005, "millimeter"), 2.0, id="millimeters"),
        pytest.param((0.6, "millimeter"), None, id="a scan"),
        pytest.param((0.001, "micrometer"), None, id="an electron microscope"),
        pytest.param((1.0, "pixel"), None, id="not known"),
        pytest.param((1.0, "second"), None, id="no length"),
    ],
)
def test_the_pixel_size_gives_the_magnification(spacing, factor):
    image = ImageData(np.zeros((20, 20)), "a", None, rgb=False, spacing={"Y": spacing, "X": spacing})

    assert magnification_by_size(image, 0.25) == (None if factor is None else pytest.approx(factor))


def test_pixels_that_are_not_square_give_no_magnification():
    spacing = {"Y": (0.5, "micrometer"), "X": (1.0, "micrometer")}

    assert magnification_by_size(ImageData(np.zeros((20, 20)), "a", None, rgb=False, spacing=spacing), 0.25) is None
