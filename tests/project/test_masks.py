import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stnp

from napari_amvlm.errors import LabelsError, ProjectError
from napari_amvlm.project.mask_files import as_mask, check_shape, read_mask, write_mask


@settings(max_examples=25, deadline=None)
@given(mask=stnp.arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_a_mask_comes_back_bit_by_bit(mask, tmp_path_factory):
    path = tmp_path_factory.mktemp("masks") / "mask.tif"

    digest = write_mask(path, mask)

    assert np.array_equal(read_mask(path, mask.shape, digest), mask)


def test_a_mask_is_a_tiff_that_any_program_opens(tmp_path):
    mask = np.eye(64, dtype=bool)

    write_mask(tmp_path / "mask.tif", mask)

    assert np.array_equal(tifffile.imread(tmp_path / "mask.tif"), mask * np.uint8(255))
    assert (tmp_path / "mask.tif").stat().st_size < 64 * 64
    assert [path.name for path in tmp_path.iterdir()] == ["mask.tif"]


def test_a_mask_that_is_gone_is_told(tmp_path):
    with pytest.raises(ProjectError, match="cannot be read"):
        read_mask(tmp_path / "mask.tif", (4, 4), "")


@pytest.mark.parametrize("damage", ["cut", "flip", "other"])
def test_a_mask_that_was_changed_is_told(tmp_path, damage):
    path = tmp_path / "mask.tif"
    digest = write_mask(path, np.eye(16, dtype=bool))
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[:-3])
    elif damage == "flip":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    else:
        tifffile.imwrite(path, np.zeros((16, 16), np.uint8))

    with pytest.raises(ProjectError, match="was changed after it was accepted"):
        read_mask(path, (16, 16), digest)


def test_a_mask_of_another_shape_is_told(tmp_path):
    digest = write_mask(tmp_path / "mask.tif", np.eye(16, dtype=bool))

    with pytest.raises(ProjectError, match=r"\(16, 16\).*\(8, 8\)"):
        read_mask(tmp_path / "mask.tif", (8, 8), digest)


@pytest.mark.parametrize(
    "values",
    [np.array([[0, 3], [255, 0]], np.uint8), np.array([[0, -1], [1, 0]]), np.array([[False, True], [True, False]])],
)
def test_labels_count_where_they_are_not_zero(values):
    mask = as_mask(values, (2, 2), "mask")

    assert mask.dtype == np.bool_
    assert mask.tolist() == [[False, True], [True, False]]


def test_as_mask_gives_a_copy():
    values = np.zeros((2, 2), bool)

    mask = as_mask(values, (2, 2), "mask")
    values[:] = True

    assert not mask.any()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((3, 2), bool), r"\(2, 2\).*\(3, 2\)"),
        (np.full((2, 2), 0.3), "float64.*threshold"),
        (np.zeros((1, 2, 2), bool), "shape"),
    ],
)
def test_what_is_no_mask_of_the_image_is_refused(values, message):
    with pytest.raises(LabelsError, match=message):
        as_mask(values, (2, 2), "mask")


@pytest.mark.parametrize("shape", [(-1, 64), (64, 0), (10**12, 10**12)])
def test_a_size_that_no_image_has_is_told(shape, tmp_path):
    with pytest.raises(ProjectError, match="is damaged"):
        check_shape(tmp_path / "project.sqlite", shape)
