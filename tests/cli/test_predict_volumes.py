"""`napari-amvlm predict` with volumes: the plane of the slices, and masks in the space of the scan."""

import numpy as np
import pytest
import tifffile

from napari_amvlm.imaging import open_images
from tests.exports.scans import write_series

nibabel = pytest.importorskip("nibabel")

SAGITTAL = np.random.default_rng(3).integers(0, 900, (5, 40, 48)).astype(np.int16)
"""Slices towards the patient's right, rows from head to feet, columns from front to back."""


def _stored(codes, affine):
    """Return the volume with its axes in another order, and an affine that says so."""
    image = nibabel.Nifti1Image(SAGITTAL[:, ::-1, ::-1].transpose(0, 2, 1), affine)
    orientations = nibabel.orientations
    turn = orientations.ornt_transform(orientations.axcodes2ornt("RAS"), orientations.axcodes2ornt(codes))
    return image.as_reoriented(turn)


def _oblique():
    cosine, sine = np.cos(0.2), np.sin(0.2)
    turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([4, 0.6, 0.6])
    affine[:3, 3] = [-10, 20, 5]
    return affine


AFFINES = {"straight": np.diag([4.0, 0.6, 0.6, 1.0]), "oblique": _oblique()}


@pytest.fixture
def command(tiny_checkpoint, tmp_path):
    return ["predict", "--prompt", "nuclei", "--model", tiny_checkpoint, "-o", tmp_path / "out", "--threshold", 0.3]


@pytest.mark.parametrize("affine", AFFINES)
@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR", "SAL"])
def test_a_mask_has_the_axes_and_affine_of_its_scan(run, command, tmp_path, codes, affine):
    tifffile.imwrite(tmp_path / "slices.tif", SAGITTAL, metadata={"axes": "ZYX"})
    scan = _stored(codes, AFFINES[affine])
    nibabel.save(scan, tmp_path / "scan.nii.gz")

    outcome = run(*command, tmp_path / "slices.tif", tmp_path / "scan.nii.gz", "--instances", "--probabilities")

    assert outcome.code == 0, outcome.err
    expected = tifffile.imread(tmp_path / "out" / "slices.tif")
    found = nibabel.load(tmp_path / "out" / "scan.nii.gz")
    assert found.shape == scan.shape
    np.testing.assert_array_equal(found.affine, nibabel.load(tmp_path / "scan.nii.gz").affine)
    shown = found.as_reoriented(
        nibabel.orientations.ornt_transform(
            nibabel.io_orientation(found.affine), nibabel.orientations.axcodes2ornt("RAS")
        )
    )
    np.testing.assert_array_equal(np.asarray(shown.dataobj).transpose(0, 2, 1)[:, ::-1, ::-1], expected)
    assert 0 < expected.mean() < 1
    probability = nibabel.load(tmp_path / "out" / "scan_probability.nii.gz")
    assert probability.shape == (*scan.shape, 1, 1)
    np.testing.assert_array_equal(probability.get_fdata()[..., 0, 0] >= 0.3, np.asarray(found.dataobj) > 0)


def test_what_is_done_is_known_and_strangers_are_kept(run, command, tmp_path):
    nibabel.save(_stored("PIR", AFFINES["straight"]), tmp_path / "scan.nii.gz")

    run(*command, tmp_path / "scan.nii.gz")
    again = run(*command, tmp_path / "scan.nii.gz")
    nibabel.save(_stored("PIR", AFFINES["straight"]), tmp_path / "out" / "scan.nii.gz")
    foreign = run(*command, tmp_path / "scan.nii.gz")

    assert "done already" in again.out
    assert (foreign.code, "was not made by predict" in foreign.err) == (2, True)


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_a_plane_is_chosen(run, command, tmp_path, plane):
    volume = np.random.default_rng(3).integers(0, 900, (20, 24, 28)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([4.0, 0.6, 0.6, 1.0])), tmp_path / "a.nii")
    shown = open_images(tmp_path / "a.nii", plane)[0]
    tifffile.imwrite(tmp_path / "turned.tif", np.asarray(shown.data), metadata={"axes": "ZYX"})

    outcome = run(*command, tmp_path / "a.nii", tmp_path / "turned.tif", "--plane", "acquired")
    chosen = run(*command, tmp_path / "a.nii", "--plane", plane)

    assert (outcome.code, chosen.code) == (0, 0), chosen.err
    labels = open_images(tmp_path / "out" / "a.nii.gz", plane)[0]
    np.testing.assert_array_equal(labels.data, tifffile.imread(tmp_path / "out" / "turned.tif"))


def test_a_plane_of_an_image_without_orientation_is_refused(run, command, tmp_path):
    tifffile.imwrite(tmp_path / "stack.tif", SAGITTAL, metadata={"axes": "ZYX"})

    outcome = run(*command, tmp_path / "stack.tif", "--plane", "axial")

    assert outcome.code == 2
    assert "stack.tif cannot be cut into axial slices, because its file does not say where left" in outcome.err


def test_a_scan_and_a_picture_of_one_name_have_results_of_their_own(run, command, tmp_path):
    folder = tmp_path / "upper"
    folder.mkdir()
    nibabel.save(nibabel.Nifti1Image(SAGITTAL, np.eye(4)), tmp_path / "a.nii.gz")
    (tmp_path / "a.nii.gz").rename(folder / "A.NII.GZ")
    tifffile.imwrite(folder / "A.TIF", np.zeros((32, 32), np.uint8))

    assert run(*command, folder).code == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"A.nii.gz", "A.tif", "classes.csv"}


def test_a_mask_of_a_metaimage_has_the_axes_of_its_file(run, command, tmp_path):
    itk = pytest.importorskip("SimpleITK")
    scan = itk.GetImageFromArray(SAGITTAL)
    scan.SetDirection((0, 0, -1, 1, 0, 0, 0, -1, 0))
    scan = itk.DICOMOrient(scan, "LAS")
    itk.WriteImage(scan, str(tmp_path / "scan.nrrd"))
    itk.WriteImage(scan[3:4], str(tmp_path / "one.mha"))

    outcome = run(*command, tmp_path / "scan.nrrd", tmp_path / "one.mha")

    assert outcome.code == 0, outcome.err
    labels, one = (tifffile.imread(tmp_path / "out" / f"{name}.tif") for name in ("scan", "one"))
    assert labels.shape == itk.GetArrayFromImage(scan).shape
    np.testing.assert_array_equal(one.squeeze(), labels[..., 3])


def test_planes_by_number_are_one_stack_where_that_is_wanted(run, command, tmp_path):
    (tmp_path / "planes").mkdir()
    for number in (1, 2, 4):
        tifffile.imwrite(tmp_path / "planes" / f"img_{number:03d}.tif", SAGITTAL[number])

    outcome = run(*command, tmp_path / "planes", "--stack")

    assert outcome.code == 0, outcome.err
    assert "of img, 3 are not there" in outcome.err
    assert tifffile.imread(tmp_path / "out" / "img.tif").shape == (3, 40, 48)


@pytest.mark.parametrize("plane", ["acquired", "axial"])
def test_a_series_gives_a_dicom_segmentation_that_refers_to_it(run, command, tmp_path, plane):
    highdicom, pydicom = pytest.importorskip("highdicom"), pytest.importorskip("pydicom")
    series = write_series(tmp_path / "series", slices=17)
    command = [*command, series, "--plane", plane, "--slices", "6-7", "--dicom-seg", "--prompt", "lungs"]

    outcome = run(*command)
    again = run(*command)

    assert outcome.code == 0, outcome.err
    assert "done already" in again.out
    labels = tifffile.imread(tmp_path / "out" / "series.tif")
    read = highdicom.seg.segread(tmp_path / "out" / "series.dcm")
    (image,) = open_images(series)
    uids = [pydicom.dcmread(path).SOPInstanceUID for path, _ in image.origins]
    frames = read.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True, combine_segments=True)
    np.testing.assert_array_equal(frames, labels)
    assert labels.any()
    assert [read.get_segment_description(n).segment_label for n in read.segment_numbers] == ["nuclei", "lungs"]
    assert read.get_segment_description(1).algorithm_type.value == "AUTOMATIC"


def test_a_stack_that_is_cut_off_gives_what_is_there_and_fails(run, command, tmp_path):
    planes = np.random.default_rng(1).integers(0, 255, (4, 40, 48), np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for plane in planes:
            file.write(plane, photometric="minisblack", contiguous=False, metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        end = file.pages[2].offset
    (tmp_path / "a.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:end])

    for outcome in (run(*command, tmp_path / "a.tif"), run(*command, tmp_path / "a.tif")):
        assert outcome.code == 1
        assert "a.tif is cut off, it ends before its last page" in outcome.err
        assert "1 of 1 images failed" in outcome.err
    assert tifffile.imread(tmp_path / "out" / "a.tif").shape == (2, 40, 48)


@pytest.mark.parametrize("part", ["cut file", "refused series"])
def test_a_folder_with_a_part_that_cannot_be_used_gives_a_segmentation_of_the_rest(run, command, tmp_path, part):
    highdicom = pytest.importorskip("highdicom")
    series, other = write_series(tmp_path / "series", slices=4), write_series(tmp_path / "other")
    if part == "cut file":
        content = (other / "IM0000").read_bytes()
        (series / "other").write_bytes(content[: len(content) // 2])
    else:  # the slice in the middle is missing
        for path in sorted(other.iterdir())[:4]:
            path.rename(series / f"other{path.name}")

    outcome = run(*command, series, "--dicom-seg")

    assert outcome.code == 1, outcome.err
    assert "images failed" in outcome.err
    (written,) = (tmp_path / "out").glob("*.dcm")
    assert highdicom.seg.segread(written).number_of_segments == 1


def test_a_dicom_file_of_another_program_is_not_replaced_by_a_segmentation(run, command, tmp_path):
    pytest.importorskip("highdicom")
    series = write_series(tmp_path / "series", slices=2)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "series.dcm").write_bytes((series / "IM0000").read_bytes())

    outcome = run(*command, series, "--dicom-seg")

    assert outcome.code == 2
    assert "series.dcm was not made by predict" in outcome.err
