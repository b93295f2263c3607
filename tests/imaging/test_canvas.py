import numpy as np
import pytest

from napari_amvlm.imaging.scale import canvas_box, fit_square


@pytest.mark.parametrize(
    ("shape", "box"), [((100, 200), (16, 0, 32, 64)), ((200, 100), (0, 16, 64, 32)), ((1, 900), (31, 0, 1, 64))]
)
def test_the_image_lies_in_the_middle(shape, box):
    assert canvas_box(shape, 64) == box


def test_the_canvas_is_zero_around_the_image():
    canvas = fit_square(np.ones((100, 200, 3), np.float32), 64)

    assert canvas.shape == (64, 64, 3)
    assert canvas[16:48].min() == pytest.approx(1)
    assert canvas[:16].max() == canvas[48:].max() == 0


def test_a_mask_stays_binary():
    mask = np.zeros((128, 128), bool)
    mask[31:97, 31:97] = True

    canvas = fit_square(mask, 64)

    assert set(np.unique(canvas)) == {0.0, 1.0}
    assert canvas.sum() == pytest.approx(mask.sum() / 4, rel=0.1)
