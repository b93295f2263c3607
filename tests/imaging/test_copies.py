"""Which images count as copies of others."""

import io

import numpy as np
import pytest
from PIL import Image

from napari_amvlm.imaging import Copies, to_rgb01
from napari_amvlm.imaging.scale import resize


def _slice(position):
    """Return a gray slice of a volume: a bright ball that grows along it, and fine structure."""
    y, x = np.mgrid[:200, :160]
    radius = 50 + position
    ball = np.clip(radius - np.hypot(y - 100, x - 80), 0, 10) * 20
    fine = resize(np.random.default_rng(0).random((50, 40)), (200, 160)) * 40
    return np.rint(ball + fine).astype(np.uint8)


def _encoded(array, **options):
    file = io.BytesIO()
    Image.fromarray(array).save(file, **options)
    return np.asarray(Image.open(file))


@pytest.mark.parametrize("quality", [75, 90])
def test_a_copy_is_found_even_in_a_lossy_file_and_another_slice_is_none(quality):
    copies = Copies([("first", to_rgb01(_slice(20))), ("second", to_rgb01(_slice(0)))])

    lossy = to_rgb01(_encoded(_slice(0), format="jpeg", quality=quality))

    assert not np.array_equal(lossy, to_rgb01(_slice(0)))
    assert copies.original(lossy) == "second"
    assert copies.original(to_rgb01(_slice(2))) is None


def test_an_image_of_another_size_is_no_copy():
    image = to_rgb01(_slice(0))

    assert Copies([("whole", image)]).original(image[:180]) is None
