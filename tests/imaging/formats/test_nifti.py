"""NIfTI: nibabel's own test data against nibabel's reading, and one volume in every orientation."""

import bz2
import gzip
import struct
from pathlib import Path

import dask.array as da
import numpy as np
import pytest

from napari_amvlm.errors import ImageError
from napari_amvlm.imaging import in_plane, open_images, read_image, to_file_axes

nibabel = pytest.importorskip("nibabel")
orientations = pytest.importorskip("nibabel.orientations")

FILES = Path(nibabel.__file__).parent / "tests" / "data"
VOLUMES = (
    "anatomical.nii",
    "example4d.nii.gz",
    "example_nifti2.nii.gz",
    "functional.nii",
    "reoriented_anat_moved.nii",
    "resampled_anat_moved.nii",
    "standard.nii.gz",
)
# Voxels by x to the left, y to the back, z to the head, as (x, y, z).
LPS = np.random.default_rng(0).integers(-900, 2000, (20, 24, 28), np.int16)
SIZES = (0.5, 0.75, 2.0)


def _one(path):
    (image,) = open_images(path)
    return image


def _turned(codes, sizes=SIZES):
    """Return the volume LPS stored along other axes, with the affine that says so."""
    affine = np.diag([-sizes[0], -sizes[1], sizes[2], 1.0])
    turn = orientations.ornt_transform(orientations.axcodes2ornt("LPS"), orientations.axcodes2ornt(codes))
    return nibabel.Nifti1Image(LPS, affine).as_reoriented(turn)


def _header(path, **fields):
    """Write a header with these fields and a hundred bytes behind it."""
    header = nibabel.Nifti1Header()
    header.set_data_shape((4, 4, 4))
    header.set_data_dtype(np.int16)
    header["magic"], header["vox_offset"] = b"n+1", 352
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(header.binaryblock + bytes(4) + bytes(128))
    return path


@pytest.mark.parametrize("codes", ["LPS", "RAS", "LAS", "PIR", "ASL", "SRP", "IPR"])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_volume_in_any_orientation_is_the_same_image(tmp_path, codes, ending):
    path = tmp_path / f"spine{ending}"
    stored = _turned(codes)
    nibabel.save(stored, path)
    assert "".join(nibabel.aff2axcodes(nibabel.load(path).affine)) == codes

    image = _one(path)

    assert (image.name, image.axes, image.orientation) == ("spine", "ZYX", "SPL")
    assert image.patient_left == "right"
    assert image.scale == pytest.approx(SIZES[::-1])
    assert image.units == ("millimeter",) * 3
    assert image.data.dtype == np.int16
    np.testing.assert_array_equal(image.data, LPS.T)


@pytest.mark.parametrize(
    ("sizes", "across", "orientation"),
    [
        pytest.param((4.0, 0.6, 0.6), 0, "RIP", id="sagittal"),
        pytest.param((0.6, 4.0, 0.6), 1, "PIL", id="coronal"),
        pytest.param((0.6, 0.6, 4.0), 2, "SPL", id="axial"),
        pytest.param((0.9, 0.9, 1.0), 2, "SPL", id="a little coarser"),
        pytest.param((1.0, 1.0, 1.0), 2, "SPL", id="equal"),
    ],
)
@pytest.mark.parametrize("codes", ["LPS", "RAS", "PIR", "SAL"])
def test_slices_lie_in_the_two_finest_axes(tmp_path, sizes, across, orientation, codes):
    nibabel.save(_turned(codes, sizes), tmp_path / "a.nii.gz")

    image = _one(tmp_path / "a.nii.gz")

    expected = {0: LPS[::-1, :, ::-1].transpose(0, 2, 1), 1: LPS[:, :, ::-1].transpose(1, 2, 0), 2: LPS.T}[across]
    assert image.orientation == orientation
    np.testing.assert_array_equal(image.data, expected)
    assert image.scale[0] == pytest.approx(sizes[across])


@pytest.mark.parametrize("name", VOLUMES)
def test_nibabels_volumes_have_the_values_and_sizes_that_nibabel_gives_them(name):
    image = open_images(FILES / name, "axial")[0]

    stored = nibabel.load(FILES / name)
    turn = orientations.ornt_transform(orientations.io_orientation(stored.affine), orientations.axcodes2ornt("LPS"))
    turned = stored.as_reoriented(turn)
    np.testing.assert_allclose(image.data, turned.get_fdata().T, rtol=1e-6)
    sizes = turned.header.get_zooms()[2::-1]
    assert image.scale[-3:] == pytest.approx(sizes)
    assert image.axes == ("TZYX" if stored.ndim == 4 else "ZYX")


def test_other_files_of_nibabel_are_refused_by_name():
    names = ["analyze.hdr", "nifti1.hdr", "row_major.dconn.nii", "minc1_1_scale.mnc", "test.mgz", "T1.PAR"]

    for name in names:
        with pytest.raises(ImageError, match=name):
            open_images(FILES / name)


def test_times_are_an_axis_in_seconds(tmp_path):
    stored = nibabel.Nifti1Image(np.stack([LPS, LPS // 2], axis=-1), np.diag([-1.0, -1.0, 1.0, 1.0]))
    stored.header.set_xyzt_units("micron", "msec")
    stored.header.set_zooms((1, 1, 1, 2500))
    nibabel.save(stored, tmp_path / "a.nii")

    image = _one(tmp_path / "a.nii")

    assert (image.axes, image.scale) == ("TZYX", (2.5, 1, 1, 1))
    assert image.units == ("second", "micrometer", "micrometer", "micrometer")
    np.testing.assert_array_equal(image.data[1], LPS.T // 2)


def test_without_an_orientation_axes_stay_and_sides_are_unknown(tmp_path):
    stored = nibabel.Nifti1Image(LPS, None)
    nibabel.save(stored, tmp_path / "a.nii")

    image = _one(tmp_path / "a.nii")

    assert (image.orientation, image.patient_left) == ("", None)
    np.testing.assert_array_equal(image.data, LPS.T)


@pytest.mark.parametrize(
    ("axis", "expected", "orientation"),
    [
        pytest.param(2, LPS[:, :, 0].T, "PL", id="axial"),
        pytest.param(1, LPS[:, 0, ::-1].T, "IL", id="coronal, head up"),
        pytest.param(0, LPS[0, :, ::-1].T, "IP", id="sagittal, head up"),
    ],
)
def test_a_single_slice_is_a_plane(tmp_path, axis, expected, orientation):
    one = np.take(LPS, [0], axis=axis)
    nibabel.save(nibabel.Nifti1Image(one, np.diag([-0.5, -0.75, 2.0, 1.0])), tmp_path / "a.nii")

    image = read_image(tmp_path / "a.nii")

    assert (image.axes, image.orientation) == ("YX", orientation)
    assert image.scale == pytest.approx([SIZES[::-1][place] for place in range(3) if place != 2 - axis])
    np.testing.assert_array_equal(image.data, expected)


def test_colours(tmp_path):
    colour = np.random.default_rng(1).integers(0, 256, (20, 24, 5, 3), np.uint8)
    stored = colour.view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    nibabel.save(nibabel.Nifti1Image(stored, np.diag([-1.0, -1.0, 1.0, 1.0])), tmp_path / "a.nii")

    image = _one(tmp_path / "a.nii")

    assert (image.axes, image.rgb) == ("ZYX", True)
    np.testing.assert_array_equal(image.data, colour.transpose(2, 1, 0, 3))


def test_a_large_volume_stays_in_its_file(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_amvlm.imaging.formats.nifti_files.EAGER_BYTES", 1000)
    stored = _turned("RAS")
    stored.header.set_slope_inter(2, -3)
    nibabel.save(stored, tmp_path / "a.nii")

    image = _one(tmp_path / "a.nii")

    assert isinstance(image.data, da.Array)
    expected = nibabel.load(tmp_path / "a.nii").get_fdata()[::-1, ::-1].T
    np.testing.assert_allclose(image.data[5].compute(), expected[5], rtol=1e-6)


def test_a_volume_is_no_plane(tmp_path):
    nibabel.save(_turned("RAS"), tmp_path / "a.nii")

    with pytest.raises(ImageError, match=r"a\.nii: expected one image, but it is a stack, Z28xY24xX20; open it"):
        read_image(tmp_path / "a.nii")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"dim": [3, 32767, 32767, 32767, 1, 1, 1, 1]}, "cut off|damaged"),
        ({"dim": [3, 4, 4, 0, 1, 1, 1, 1]}, "has no pixels"),
        ({"dim": [3, 4, 4, -4, 1, 1, 1, 1]}, "has no pixels"),
        ({"dim": [5, 4, 4, 4, 1, 3, 1, 1]}, "a plane, a volume or a volume at several times"),
        ({"datatype": 32}, "cut off|real numbers"),
        ({"datatype": 999}, "damaged"),
        ({"vox_offset": 1e30}, "damaged, its voxels start"),
        ({"vox_offset": -5}, "damaged, its voxels start"),
        ({"vox_offset": float("nan")}, "damaged, its voxels start"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_absurd_headers_are_refused(tmp_path, fields, said, packed):
    path = _header(tmp_path / "a.nii", **fields)
    if packed:
        path = tmp_path / "a.nii.gz"
        path.write_bytes(gzip.compress((tmp_path / "a.nii").read_bytes()))

    with pytest.raises(ImageError, match=rf"a\.nii.*({said})"):
        open_images(path)


def test_what_unpacks_beyond_measure_is_refused(tmp_path):
    content = bytearray(_header(tmp_path / "a.nii").read_bytes())
    struct.pack_into("<8h", content, 40, 3, 2000, 2000, 1000, 1, 1, 1, 1)
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(bytes(content) + np.random.default_rng(0).bytes(9_000_000)))

    with pytest.raises(ImageError, match=r"a\.nii\.gz: expected at most 4096 MB in a packed file, but it has 7629 MB"):
        open_images(path)


def test_equal_distances_follow_the_slice_axis_that_the_header_names(tmp_path):
    stored = _turned("PIR", (1.0, 1.0, 1.0))
    stored.header.set_dim_info(freq=0, phase=1, slice=2)
    nibabel.save(stored, tmp_path / "a.nii")

    assert _one(tmp_path / "a.nii").orientation == "RIP"
    assert open_images(tmp_path / "a.nii", "axial")[0].orientation == "SPL"


def test_an_unknown_orientation_keeps_the_direction_of_the_axes(tmp_path):
    stored = nibabel.Nifti1Image(LPS, None)
    stored.header.set_zooms((4, 1, 1))
    nibabel.save(stored, tmp_path / "a.nii")

    image = _one(tmp_path / "a.nii")

    np.testing.assert_array_equal(image.data, LPS.transpose(0, 2, 1))
    assert (image.orientation, image.scale) == ("", (4, 1, 1))
    with pytest.raises(ImageError, match=r"a\.nii cannot be cut into coronal slices, because its file does not say"):
        open_images(tmp_path / "a.nii", "coronal")


def test_two_sizes_of_the_voxels_are_told(tmp_path):
    image = _turned("LPS")
    image.to_filename(tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[80:92] = struct.pack("<3f", 1, 1, 1)  # pixdim
    (tmp_path / "b.nii").write_bytes(content)

    assert _one(tmp_path / "a.nii").scale == (2.0, 0.75, 0.5)
    with pytest.warns(UserWarning, match=r"b\.nii says two sizes .*, 1 x 1 x 1 .* and 0\.5 x 0\.75 x 2 \(sform\)"):
        assert _one(tmp_path / "b.nii").scale == (1.0, 1.0, 1.0)


def test_a_rotation_that_was_rounded_is_read(tmp_path):
    header = nibabel.Nifti1Header()
    header.set_data_shape(LPS.shape)
    header.set_data_dtype(LPS.dtype)
    header["magic"], header["vox_offset"], header["qform_code"] = b"n+1", 352, 1
    header["pixdim"][:4] = 1, *SIZES
    header["quatern_b"], header["quatern_c"], header["quatern_d"] = 0, 0, 1.00001  # half a turn about z
    (tmp_path / "a.nii").write_bytes(header.binaryblock + bytes(4) + LPS.tobytes(order="F"))

    image = _one(tmp_path / "a.nii")

    assert image.orientation == "SPL"
    np.testing.assert_array_equal(image.data, LPS.transpose(2, 1, 0))


@pytest.mark.parametrize(
    ("field", "values"),
    [("pixdim", [0, *SIZES]), ("pixdim", [-1, -2.0]), ("scl_inter", [np.nan]), ("dim", [4, *LPS.shape, 0])],
)
def test_numbers_that_nibabel_refuses_are_read_as_the_library_of_the_format_does(tmp_path, field, values):
    image = _turned("RAS")
    image.set_qform(image.affine, 1)
    image.set_sform(None, 0)
    header = image.header.copy()
    header["magic"], header["vox_offset"], header["scl_slope"], header["scl_inter"] = b"n+1", 352, 1, 0
    sound, odd = header.copy(), header.copy()
    if field == "pixdim" and values[0] < 0:
        odd["pixdim"][1] *= -1
    else:
        odd[field].reshape(-1)[: len(values)] = values
    for name, one in (("sound", sound), ("odd", odd)):
        voxels = np.asarray(image.dataobj).tobytes(order="F")
        (tmp_path / f"{name}.nii").write_bytes(one.binaryblock + bytes(4) + voxels)

    expected, found = (_one(tmp_path / f"{name}.nii") for name in ("sound", "odd"))

    assert (found.axes, found.orientation, found.scale) == (expected.axes, expected.orientation, expected.scale)
    np.testing.assert_array_equal(found.data, expected.data)


@pytest.mark.parametrize("plane", ["acquired", "axial", "coronal", "sagittal"])
@pytest.mark.parametrize("codes", ["LPS", "RAS", "PIR", "SAL"])
def test_what_was_turned_comes_back_to_the_axes_of_the_file(tmp_path, plane, codes):
    stored = _turned(codes, (4.0, 0.6, 0.7))
    nibabel.save(stored, tmp_path / "a.nii")

    image = open_images(tmp_path / "a.nii", plane)[0]

    np.testing.assert_array_equal(to_file_axes(image.data, image), stored.get_fdata().T)
    again = in_plane(image, "axial")
    np.testing.assert_array_equal(to_file_axes(again.data, again), stored.get_fdata().T)


def test_an_oblique_volume_keeps_its_main_directions(tmp_path):
    turn = np.eye(4)
    cosine, sine = np.cos(0.3), np.sin(0.3)
    turn[:2, :2] = [[cosine, -sine], [sine, cosine]]
    affine = turn @ np.diag([-4.0, -0.6, 0.6, 1.0])
    nibabel.save(nibabel.Nifti1Image(LPS, affine), tmp_path / "a.nii")

    image = _one(tmp_path / "a.nii")

    assert image.orientation == "RIP"
    np.testing.assert_array_equal(image.data, LPS[::-1, :, ::-1].transpose(0, 2, 1))


def test_equal_distances_with_few_slices_give_the_plane_of_those(tmp_path):
    few = LPS[:3]
    nibabel.save(nibabel.Nifti1Image(few, np.diag([-1.0, -1.0, 1.0, 1.0])), tmp_path / "a.nii")

    image = _one(tmp_path / "a.nii")

    assert image.orientation == "RIP"
    np.testing.assert_array_equal(image.data, few[::-1, :, ::-1].transpose(0, 2, 1))


@pytest.mark.parametrize("place", ["voxel", "checksum", "trailer"])
def test_damage_in_a_packed_file_is_told(tmp_path, place):
    raw = _turned("RAS").to_bytes()
    content = bytearray(gzip.compress(raw, compresslevel=0))
    if place == "trailer":
        del content[-8:]
    else:
        content[len(content) // 2 if place == "voxel" else -6] ^= 1
    (tmp_path / "a.nii.gz").write_bytes(content)

    with pytest.raises(ImageError, match="cut off" if place == "trailer" else "damaged"):
        open_images(tmp_path / "a.nii.gz")


def test_parts_and_bytes_behind_a_packed_file_do_no_harm(tmp_path):
    raw = _turned("RAS").to_bytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(raw[:100]) + gzip.compress(raw[100:]) + b"of another program")
    (tmp_path / "b.nii").write_bytes(raw)

    np.testing.assert_array_equal(_one(tmp_path / "a.nii.gz").data, _one(tmp_path / "b.nii").data)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.nii.gz", gzip.compress(gzip.compress(b"x" * 600, mtime=0), mtime=0), "packed by gzip"),
        ("a.nii.gz", bz2.compress(b"x" * 600), "packed by bzip2"),
        ("a.nii.gz", b"PK\3\4" + bytes(600), "zip archive"),
        ("a.nii.gz", b"\n<!DOCTYPE html><html>" + bytes(600), "web page"),
        ("a.tif", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
        ("a.img", bytes(600), "half of an image"),
        ("a.nii", b"", "is empty"),
    ],
    ids=lambda value: value if isinstance(value, str) else "content",
)
def test_what_is_no_image_is_called_by_its_kind(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(ImageError, match=said):
        open_images(tmp_path / name)
