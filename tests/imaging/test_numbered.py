"""Planes in files by number, as one stack."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_amvlm._reader import get_reader
from napari_amvlm.errors import ImageError
from napari_amvlm.imaging import find_sources, numbered

STACK = np.random.default_rng(0).integers(0, 60000, (4, 20, 30), np.uint16)


@pytest.fixture
def folder(tmp_path):
    for number, plane in zip((1, 2, 9, 10), STACK, strict=True):
        tifffile.imwrite(tmp_path / f"img_{number}.tif", plane)
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(tmp_path / "other.png")
    return tmp_path


@pytest.mark.parametrize("eager", [1 << 28, 0])
def test_planes_are_a_stack_by_their_numbers_and_gaps_are_told(folder, eager, monkeypatch):
    monkeypatch.setattr(numbered, "EAGER_BYTES", eager)

    other, stack = find_sources([folder], stacks=True)
    with pytest.warns(UserWarning, match="of img, 3 to 8 are not there"):
        (image,) = stack.open()

    assert (other.name, stack.name, image.name, image.axes) == ("other", "img", "img", "QYX")
    np.testing.assert_array_equal(np.asarray(image.data), STACK)


def test_they_are_images_of_their_own_where_nothing_is_said(folder):
    assert len(find_sources([folder])) == 5


def test_a_plane_of_another_kind_is_told(folder):
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(folder / "img_2.tif")

    with pytest.raises(ImageError, match=r"img_2\.tif: expected a plane of \(20, 30\) uint16 like img_1\.tif"):
        find_sources([folder], stacks=True)[-1].open()


@pytest.mark.filterwarnings("ignore:.*not there")
def test_napari_opens_them_as_a_stack(folder):
    paths = [str(path) for path in folder.glob("img_*.tif")]

    reader = get_reader(paths)
    assert reader is not None
    ((data, options, _),) = reader(paths)

    np.testing.assert_array_equal(data, STACK)
    assert options["axis_labels"] == ("q", "y", "x")
    assert get_reader([*paths, str(folder / "other.png")]) is None
