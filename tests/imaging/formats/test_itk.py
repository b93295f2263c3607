"""NRRD and MetaImage: volumes in any orientation, checked against what SimpleITK wrote."""

import numpy as np
import pytest

from napari_amvlm.errors import ImageError
from napari_amvlm.imaging import open_images, read_image, to_file_axes

itk = pytest.importorskip("SimpleITK")

SAGITTAL = np.random.default_rng(3).integers(-900, 900, (5, 20, 24)).astype(np.int16)
"""Slices towards the patient's right, rows from head to feet, columns from front to back."""
ENDINGS = pytest.mark.parametrize("ending", ["nrrd", "nhdr", "mha", "mhd"])


def _saved(path, codes, *, compressed=False):
    """Write the sagittal volume with axes of the file that grow towards other sides, in SimpleITK's letters."""
    image = itk.GetImageFromArray(SAGITTAL)
    image.SetSpacing((0.5, 0.5, 4.0))
    # X grows to the back, Y to the feet, Z to the right: in the coordinates of ITK, which grow to left, back and head.
    image.SetDirection((0, 0, -1, 1, 0, 0, 0, -1, 0))
    image = itk.DICOMOrient(image, codes)
    itk.WriteImage(image, str(path), useCompression=compressed)
    return image


@ENDINGS
@pytest.mark.parametrize("codes", ["LPS", "RAS", "PIR", "ASL"])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_volume_in_any_orientation_is_the_same_image(tmp_path, ending, codes, compressed):
    _saved(tmp_path / f"a.{ending}", codes, compressed=compressed)

    (image,) = open_images(tmp_path / f"a.{ending}")

    np.testing.assert_array_equal(image.data, SAGITTAL)
    assert (image.axes, image.orientation) == ("ZYX", "RIP")
    assert image.scale == pytest.approx((4.0, 0.5, 0.5))
    assert image.units == ("millimeter",) * 3


@pytest.mark.parametrize("plane", ["acquired", "axial", "coronal", "sagittal"])
def test_what_was_turned_comes_back_to_the_axes_of_the_file(tmp_path, plane):
    stored = itk.GetArrayFromImage(_saved(tmp_path / "a.nrrd", "LAS"))

    (image,) = open_images(tmp_path / "a.nrrd", plane)

    np.testing.assert_array_equal(to_file_axes(image.data, image), stored)


@pytest.mark.parametrize(
    ("name", "before", "after", "expected"),
    [
        ("a.nrrd", b"\nencoding", b'\nspace units: "um" "um" "um"\nencoding', "micrometer"),
        ("a.nrrd", b"\nencoding", b'\nspace units: "mm" "um" "mm"\nencoding', "pixel"),
        ("a.nrrd", b"\nencoding", b'\nspace units: "" "" ""\nencoding', "millimeter"),
        ("a.mha", b"\nElementType", b"\nDistanceUnits = um\nElementType", "micrometer"),
        ("a.mha", b"\nElementType", b"\nDistanceUnits = ?\nElementType", "millimeter"),
    ],
)
def test_sizes_have_the_unit_that_the_file_names(tmp_path, name, before, after, expected):
    _saved(tmp_path / name, "LPS")
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes().replace(before, after, 1))

    (image,) = open_images(tmp_path / name)

    assert image.units == (expected,) * 3
    assert image.scale == ((1, 1, 1) if expected == "pixel" else pytest.approx((4.0, 0.5, 0.5)))


def test_axes_without_a_space_have_units_of_their_own(tmp_path):
    header = 'NRRD0004\ntype: short\ndimension: 3\nsizes: 24 20 5\nspacings: 0.5 0.5 4\nunits: "um" "um" "um"\n'
    content = f"{header}endian: little\nencoding: raw\n\n".encode() + SAGITTAL.astype("<i2").tobytes()
    (tmp_path / "a.nrrd").write_bytes(content)

    (image,) = open_images(tmp_path / "a.nrrd")

    assert (image.scale, image.units) == ((4.0, 0.5, 0.5), ("micrometer",) * 3)


def test_planes_colours_and_times(tmp_path):
    colours = np.random.default_rng(0).integers(0, 255, (20, 24, 3), np.uint8)
    itk.WriteImage(itk.GetImageFromArray(colours, isVector=True), str(tmp_path / "a.mha"))
    itk.WriteImage(itk.GetImageFromArray(SAGITTAL[0].astype(np.float32)), str(tmp_path / "b.nrrd"))
    times = np.stack([SAGITTAL, SAGITTAL[::-1]])
    itk.WriteImage(itk.GetImageFromArray(times, isVector=False), str(tmp_path / "c.mha"))

    first, second, (third,) = (
        read_image(tmp_path / "a.mha"),
        read_image(tmp_path / "b.nrrd"),
        open_images(tmp_path / "c.mha"),
    )

    assert (first.rgb, first.axes, second.axes, third.axes[0]) == (True, "YX", "YX", "T")
    np.testing.assert_array_equal(first.data, colours)
    np.testing.assert_array_equal(second.data, SAGITTAL[0])
    np.testing.assert_array_equal(to_file_axes(third.data, third), times)


def test_a_file_that_says_no_directions_has_no_sides(tmp_path):
    header = "NRRD0004\ntype: short\ndimension: 3\nsizes: 24 20 5\nendian: little\nencoding: raw\n\n"
    (tmp_path / "a").write_bytes(header.encode() + SAGITTAL.tobytes())

    (image,) = open_images(tmp_path / "a")

    assert (image.orientation, image.patient_left, image.units) == ("", None, ("pixel",) * 3)
    np.testing.assert_array_equal(image.data, SAGITTAL)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../a.raw", "in a file beside it"),
        ("/etc/passwd", "in a file beside it"),
        ("LIST", "names many"),
        ("a%03d.raw 1 9 1", "names many"),
        ("b.raw", "which is not there"),
    ],
)
def test_pixels_never_come_from_elsewhere(tmp_path, name, said):
    (tmp_path / "a.raw").write_bytes(SAGITTAL.tobytes())
    header = "ObjectType = Image\nNDims = 3\nDimSize = 24 20 5\nElementType = MET_SHORT\nElementDataFile = "
    (tmp_path / "a.mhd").write_text(header + name + "\n")
    nrrd = "NRRD0004\ntype: short\ndimension: 3\nsizes: 24 20 5\nendian: little\nencoding: raw\ndata file: "
    (tmp_path / "a.nhdr").write_text(nrrd + name + "\n")

    for path in (tmp_path / "a.mhd", tmp_path / "a.nhdr"):
        with pytest.raises(ImageError, match=said):
            open_images(path)


@ENDINGS
def test_sizes_that_the_file_cannot_hold_and_damage_are_refused(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    _saved(path, "LPS")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"5", b"50000", 1) if b" 5" not in content else content.replace(b" 5", b" 500000"))

    with pytest.raises(ImageError):
        open_images(path)
    path.write_bytes(content[: len(content) // 4])
    with pytest.raises(ImageError):
        open_images(path)


@pytest.mark.parametrize("shape", [(5, 20, 24, 2), (20, 24, 5)])
def test_several_values_in_a_voxel_are_channels(tmp_path, shape):
    values = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    itk.WriteImage(itk.GetImageFromArray(values, isVector=True), str(tmp_path / "a.nrrd"))

    (image,) = open_images(tmp_path / "a.nrrd")

    assert (image.axes, image.rgb) == ("CZYX" if len(shape) > 3 else "CYX", False)
    np.testing.assert_array_equal(image.data, np.moveaxis(values, -1, 0))


def test_a_list_of_three_is_no_colour(tmp_path):
    values = np.random.default_rng(0).integers(0, 255, (20, 24, 3), np.uint8)
    header = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 3 24 20\nencoding: raw\nkinds: {} domain domain\n\n"
    for kind in ("list", "RGB-color"):
        (tmp_path / f"{kind}.nrrd").write_bytes(header.format(kind).encode() + values.tobytes())

    (layers,), (colours,) = (open_images(tmp_path / f"{kind}.nrrd") for kind in ("list", "RGB-color"))

    assert (layers.axes, layers.rgb, colours.axes, colours.rgb) == ("CYX", False, "YX", True)
    np.testing.assert_array_equal(layers.data, values.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("space", "mirrored"),
    [
        ("left-posterior-superior", (False, False, False)),
        ("left-anterior-superior", (False, True, False)),
        ("right-anterior-superior", (False, True, True)),
    ],
)
def test_each_space_of_nrrd_has_its_sides(tmp_path, space, mirrored):
    header = "NRRD0004\ntype: short\ndimension: 3\nsizes: 24 20 5\nendian: little\nencoding: raw\n"
    directions = f"space: {space}\nspace directions: (1,0,0) (0,1,0) (0,0,4)\ndata file: ./a.raw\n"
    (tmp_path / "a.nhdr").write_text(header + directions)
    (tmp_path / "a.raw").write_bytes(SAGITTAL.tobytes())

    (image,) = open_images(tmp_path / "a.nhdr")

    turned = tuple(slice(None, None, -1) if flipped else slice(None) for flipped in mirrored)
    np.testing.assert_array_equal(image.data, SAGITTAL[turned])


@pytest.mark.parametrize("ending", ["nrrd", "mha", "mhd"])
@pytest.mark.parametrize("place", ["voxel", "end"])
def test_damage_in_packed_voxels_is_told(tmp_path, ending, place):
    _saved(tmp_path / f"a.{ending}", "LPS", compressed=True)
    path = tmp_path / ("a.zraw" if ending == "mhd" else f"a.{ending}")
    content = bytearray(path.read_bytes())
    content[-5 if place == "end" else -500] ^= 1
    path.write_bytes(content)

    with pytest.raises(ImageError, match=r"damaged|cut off"):
        open_images(tmp_path / f"a.{ending}")
