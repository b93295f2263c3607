"""Masks over the scans that the images of a project are slices and regions of."""

import numpy as np
import pytest
import tifffile

from napari_amvlm.errors import DatasetError, InputError, StorageError
from napari_amvlm.exports import ExportOptions, export_as
from napari_amvlm.imaging import open_images, slide_key, to_file_axes
from napari_amvlm.project import Answer, Project, SlidePlace

nibabel = pytest.importorskip("nibabel")
orientations = pytest.importorskip("nibabel.orientations")

VOXELS = np.random.default_rng(0).integers(-900, 2000, (20, 24, 28), np.int16)
OBLIQUE = np.array([[0.46, 0.19, 0.5, -9], [-0.2, 0.71, 0.1, 4], [-0.1, -0.12, 1.9, 30], [0, 0, 0, 1.0]])


def _scan(path, codes):
    """Write a volume in an orientation; "oblique" is turned by odd angles."""
    if codes == "oblique":
        nibabel.save(nibabel.Nifti1Image(VOXELS, OBLIQUE), path)
        return path
    turn = orientations.ornt_transform(orientations.axcodes2ornt("LPS"), orientations.axcodes2ornt(codes))
    nibabel.save(nibabel.Nifti1Image(VOXELS, np.diag([-0.5, -0.75, 2.0, 1.0])).as_reoriented(turn), path)
    return path


def _annotate(project, scan):
    """Accept masks on some slices as the dock does; return what a program that reads the scan's voxels has to see."""
    (image,) = open_images(scan)
    rng = np.random.default_rng(3)
    wanted = {prompt: np.zeros(image.data.shape, bool) for prompt in ("spine", "disc")}
    for number in (1, 4, 7):
        record = project.images.add_array(np.asarray(image.data[number]), name=f"spine slice {number}")
        for prompt, volume in wanted.items():
            volume[number] = rng.random(volume[number].shape) > 0.6
            project.corrections.accept(record.id, prompt, Answer(volume[number]))
    return {prompt: to_file_axes(volume, image).T for prompt, volume in wanted.items()}


@pytest.mark.parametrize("codes", ["LPS", "RAS", "PIR", "SAL", "oblique"])
def test_nifti_masks_have_affine_axes_and_voxels_of_the_scan(tmp_path, codes):
    scan = _scan(tmp_path / "spine.nii.gz", codes)
    with Project.create(tmp_path / "p.amvlm") as project:
        wanted = _annotate(project, scan)

        export_as(project, "nifti", tmp_path / "out", ExportOptions(scans=(tmp_path,)))

    for prompt, voxels in wanted.items():
        stored = nibabel.load(tmp_path / "out" / "masks" / prompt / "spine.nii.gz")
        np.testing.assert_array_equal(stored.affine, nibabel.load(scan).affine)
        np.testing.assert_array_equal(np.asarray(stored.dataobj) > 0, voxels)
    reviewed = np.asarray(nibabel.load(tmp_path / "out" / "reviewed" / "spine.nii.gz").dataobj)
    assert np.count_nonzero(reviewed) == 3 * np.prod(open_images(scan)[0].data.shape[1:])


def test_a_scan_with_zero_affine_is_left_out_by_name(tmp_path):
    image = nibabel.Nifti1Image(VOXELS, np.eye(4))
    image.header["sform_code"], image.header["qform_code"], image.header["vox_offset"] = 1, 0, 352
    for row in ("srow_x", "srow_y", "srow_z"):
        image.header[row] = 0
    content = image.header.binaryblock + bytes(4) + VOXELS.tobytes(order="F")
    (tmp_path / "flat.nii").write_bytes(content)
    with Project.create(tmp_path / "p.amvlm") as project:
        _annotate(project, tmp_path / "flat.nii")

        with pytest.raises(DatasetError, match=r"flat\.nii has an affine that is zero"):
            export_as(project, "nifti", tmp_path / "out", ExportOptions(scans=(tmp_path / "flat.nii",)))

    assert not (tmp_path / "out").exists()


def test_without_its_scan_a_slice_is_left_out_and_told(tmp_path):
    with Project.create(tmp_path / "p.amvlm") as project:
        _annotate(project, _scan(tmp_path / "spine.nii.gz", "RAS"))

        with pytest.raises(InputError, match="--scans"):
            export_as(project, "nifti", tmp_path / "out")

        other = project.images.add_array(np.arange(48, dtype=np.uint8).reshape(6, 8), name="other")
        project.corrections.accept(other.id, "disc", Answer(np.ones((6, 8), bool)))
        notes = export_as(project, "nifti", tmp_path / "out", ExportOptions(scans=(tmp_path / "spine.nii.gz",)))

    assert [note for note in notes if note.startswith("Left out: other")]


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine", encoding="utf-8")
    with Project.create(tmp_path / "p.amvlm") as project:
        _annotate(project, _scan(tmp_path / "spine.nii.gz", "RAS"))

        with pytest.raises(InputError, match="nothing is overwritten"):
            export_as(project, "nifti", tmp_path / "out", ExportOptions(scans=(tmp_path / "spine.nii.gz",)))

    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_a_place_that_refuses(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with Project.create(tmp_path / "p.amvlm") as project:
        _annotate(project, _scan(tmp_path / "spine.nii.gz", "RAS"))

        with pytest.raises(StorageError, match="could not be written"):
            export_as(project, "nifti", tmp_path / "file" / "out", ExportOptions(scans=(tmp_path / "spine.nii.gz",)))


def _slide(path):
    pixels = np.random.default_rng(5).integers(0, 255, (1300, 1700, 3), np.uint8)
    options = {"resolution": (40_000, 40_000), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, pixels, tile=(256, 256), photometric="rgb", **options)
    return pixels


def test_regions_of_a_slide_become_one_ome_tiff_with_levels_and_pixel_size(tmp_path):
    pixels = _slide(tmp_path / "slide.tif")
    wanted = np.zeros(pixels.shape[:2], bool)
    with Project.create(tmp_path / "p.amvlm") as project:
        for y, x in ((100, 40), (700, 1203)):
            mask = np.random.default_rng(y).random((401, 333)) > 0.5
            place = SlidePlace(str(slide_key(pixels)), y, x)
            record = project.images.add_array(pixels[y : y + 401, x : x + 333], name=f"at {y}", cut_from=place)
            project.corrections.accept(record.id, "tumor", Answer(mask))
            wanted[y : y + 401, x : x + 333] = mask

        export_as(project, "ome-tiff", tmp_path / "out", ExportOptions(scans=(tmp_path / "slide.tif",), objects=True))

    with tifffile.TiffFile(tmp_path / "out" / "masks" / "tumor" / "slide.ome.tif") as file:
        levels = [level.asarray() for level in file.series[0].levels]
        assert 'PhysicalSizeX="0.25"' in str(file.ome_metadata)
    assert [level.shape for level in levels] == [(1300, 1700), (650, 850), (325, 425)]
    for number, level in enumerate(levels):
        np.testing.assert_array_equal(level > 0, wanted[:: 1 << number, :: 1 << number])
    (opened,) = open_images(tmp_path / "out" / "objects" / "tumor" / "slide.ome.tif")
    np.testing.assert_array_equal(np.asarray(opened.data) > 0, wanted)
    assert len(opened.levels) == 3


def test_an_image_without_a_scan_is_an_ome_tiff_of_its_own(tmp_path):
    mask = np.random.default_rng(1).random((60, 48)) > 0.5
    with Project.create(tmp_path / "p.amvlm") as project:
        pixels = np.random.default_rng(2).integers(0, 255, (60, 48), np.uint8)
        record = project.images.add_array(pixels, name="crop.tif")
        project.corrections.accept(record.id, "nuclei", Answer(mask))

        notes = export_as(project, "ome-tiff", tmp_path / "out")

    assert notes == []
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "masks" / "nuclei" / "crop.ome.tif") > 0, mask)


def test_pixels_of_several_prompts_are_told_beside_a_scan(tmp_path):
    whole, part = np.ones((60, 48), bool), np.zeros((60, 48), bool)
    part[:10] = True
    with Project.create(tmp_path / "p.amvlm") as project:
        record = project.images.add_array(
            np.random.default_rng(2).integers(0, 255, (60, 48), np.uint8), name="crop.tif"
        )
        for prompt, mask in (("lungs", whole), ("left lung", part)):
            project.corrections.accept(record.id, prompt, Answer(mask))

        notes = export_as(project, "ome-tiff", tmp_path / "out")

    assert notes == ["crop: several prompts claim 480 pixels; labelcol/ has the one of the smallest mask."]
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "masks" / "lungs" / "crop.ome.tif") > 0, whole)
