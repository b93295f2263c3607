"""What lies over scans comes in again: NIfTI, DICOM-SEG, OME-Zarr labels, and outlines of ImageJ."""

import json
import zipfile

import numpy as np
import pydicom
import pytest
import tifffile
import zarr

from napari_amvlm.exports import ExportOptions, export_as
from napari_amvlm.imaging import open_images, slide_key
from napari_amvlm.imports import import_files
from napari_amvlm.project import Answer, Project, SlidePlace
from tests.exports.scans import PROMPTS, annotate, write_enhanced, write_series, write_zarr
from tests.imports.test_round_trips import assert_equal

nibabel = pytest.importorskip("nibabel")
roifile = pytest.importorskip("roifile")
RNG = np.random.default_rng(4)
OBLIQUE = np.array([[0.46, 0.19, 0.5, -9], [-0.2, 0.71, 0.1, 4], [-0.1, -0.12, 1.9, 30], [0, 0, 0, 1.0]])


def _write_nifti(path, codes):
    voxels = np.random.default_rng(0).integers(-900, 2000, (40, 44, 8), np.int16)
    if codes == "oblique":
        nibabel.save(nibabel.Nifti1Image(voxels, OBLIQUE), path)
        return path
    o = nibabel.orientations
    turn = o.ornt_transform(o.axcodes2ornt("LPS"), o.axcodes2ornt(codes))
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([-0.5, -0.75, 2.0, 1.0])).as_reoriented(turn), path)
    return path


@pytest.fixture
def ours(tmp_path):
    with Project.create(tmp_path / "ours.amvlm") as project:
        yield project


@pytest.fixture
def theirs(tmp_path):
    with Project.create(tmp_path / "theirs.amvlm") as project:
        yield project


@pytest.mark.parametrize("codes", ["LPS", "RAS", "PIR", "SAL", "oblique"])
def test_nifti_in_any_orientation_comes_back_bit_by_bit(tmp_path, ours, theirs, codes):
    (tmp_path / "scans").mkdir()
    scan = _write_nifti(tmp_path / "scans" / "spine.nii.gz", codes)
    annotate(ours, open_images(scan)[0])
    part = ours.images.add_array(np.asarray(open_images(scan)[0].data[5]))
    half = np.zeros(part.shape, bool)
    half[:20] = True
    ours.corrections.accept(part.id, PROMPTS[0], Answer(half & (RNG.random(part.shape) > 0.5), reviewed=half))
    export_as(ours, "nifti", tmp_path / "out", ExportOptions(scans=(scan,), objects=True))

    report = import_files(theirs, [tmp_path / "out"], images=tmp_path / "scans")

    assert report.problems == []
    assert_equal(ours, theirs, objects=True)


def test_labels_of_images_of_one_name_find_their_own(tmp_path, ours, theirs):
    for place, folder in enumerate(("a", "b")):
        (tmp_path / "scans" / folder).mkdir(parents=True)
        for kind in ("tif", "nii.gz"):
            path = tmp_path / "scans" / folder / f"x.{kind}"
            pixels = RNG.integers(0, 255, (40, 50), np.uint8)
            if kind == "tif":
                tifffile.imwrite(path, pixels)
            else:
                nibabel.save(nibabel.Nifti1Image(pixels[..., None], np.diag([1, 1, 2 + place, 1])), path)
            record = ours.images.add_file(path)
            theirs.images.add_file(path)
            ours.corrections.accept(record.id, "cells", Answer(RNG.random(record.shape) > 0.5))
    export_as(ours, "ome-tiff", tmp_path / "ome")
    export_as(ours, "nifti", tmp_path / "nifti")

    report = import_files(theirs, [tmp_path / "nifti", tmp_path / "ome"])

    assert report.problems == []
    assert_equal(ours, theirs, objects=False)


@pytest.mark.parametrize("codes", ["LPS", "PIR", "oblique"])
@pytest.mark.parametrize("turned", ["RAS", "ASL"])
def test_labels_that_another_program_turned_lie_on_the_voxels_of_their_scan(tmp_path, ours, theirs, codes, turned):
    (tmp_path / "scans").mkdir()
    scan = _write_nifti(tmp_path / "scans" / "spine.nii.gz", codes)
    annotate(ours, open_images(scan)[0])
    export_as(ours, "nifti", tmp_path / "out", ExportOptions(scans=(scan,), objects=True))
    o = nibabel.orientations
    for file in (tmp_path / "out").rglob("*.nii.gz"):
        labels = nibabel.load(file)
        turn = o.ornt_transform(o.io_orientation(labels.affine), o.axcodes2ornt(turned))
        nibabel.save(labels.as_reoriented(turn), file)

    report = import_files(theirs, [tmp_path / "out"], images=tmp_path / "scans")

    assert report.problems == []
    assert_equal(ours, theirs, objects=True)


def _dicom(tmp_path):
    return write_series(tmp_path / "series")


def _zarr(tmp_path):
    (tmp_path / "scans").mkdir()
    return write_zarr(tmp_path / "scans" / "cells.zarr", RNG.integers(0, 255, (5, 64, 80), np.uint8), "zyx", "0.5")


@pytest.mark.parametrize(
    ("kind", "make", "written"),
    [("dicom-seg", _dicom, "out/series.dcm"), ("ome-zarr", _zarr, "scans/cells.zarr")],
)
def test_dicom_seg_and_zarr_labels_come_back_bit_by_bit(tmp_path, ours, theirs, kind, make, written):
    scan = make(tmp_path)
    annotate(ours, open_images(scan)[0])
    export_as(ours, kind, scan if kind == "ome-zarr" else tmp_path / "out", ExportOptions(scans=(scan,)))
    for number in (1, 3):  # without --images, slices have to be in the project
        theirs.images.add_array(np.asarray(open_images(scan)[0].data[number]))
    images = scan if kind == "dicom-seg" else None

    report = import_files(theirs, [tmp_path / written], images=images)

    assert report.problems == []
    assert_equal(ours, theirs, objects=True)
    assert import_files(theirs, [tmp_path / written], images=images).unchanged == 4


def test_prompts_that_are_no_labels_of_a_dicom_seg_stay_apart_and_come_back_whole(tmp_path, ours, theirs):
    scan = _dicom(tmp_path)
    pixels = np.asarray(open_images(scan)[0].data[1])
    start = "a spiculated mass with a pleural tail in the upper lobe of the right"
    for prompt, rows in ((f"{start} lung", 40), (f"{start} hemithorax", 60), (r"CD4\CD8", 50), ("CD4/CD8", 70)):
        mask = np.zeros(pixels.shape, bool)
        mask[20:rows, 30:50] = True
        ours.corrections.accept(ours.images.add_array(pixels).id, prompt, Answer(mask))
    theirs.images.add_array(pixels)

    notes = export_as(ours, "dicom-seg", tmp_path / "out", ExportOptions(scans=(scan,)))
    report = import_files(theirs, [tmp_path / "out" / "series.dcm"], images=scan)

    assert report.problems == []
    assert_equal(ours, theirs, objects=True)
    assert len([note for note in notes if "64 letters" in note]) == 3


def test_slices_that_are_in_no_project_are_added_with_images_and_told_without(tmp_path, ours, theirs):
    scan = _zarr(tmp_path)
    annotate(ours, open_images(scan)[0])
    export_as(ours, "ome-zarr", scan)

    lacking = import_files(theirs, [scan])
    dry = import_files(theirs, [scan], images=tmp_path / "scans", dry_run=True)
    assert theirs.images.all() == []
    report = import_files(theirs, [scan], images=tmp_path / "scans")

    assert "masks on 2 planes of cells lie on no image of the project" in lacking.problems[0]
    assert len(dry.entered) == len(report.entered) == 4
    assert report.problems == []
    assert_equal(ours, theirs, objects=True)


def test_regions_of_a_slide_come_back_from_its_zarr_labels(tmp_path, ours, theirs):
    pixels = RNG.integers(0, 255, (700, 900), np.uint8)
    root = write_zarr(tmp_path / "slide.zarr", pixels, "yx", "0.4")
    for project in (ours, theirs):
        for y, x in ((10, 20), (400, 480)):
            place = SlidePlace(str(slide_key(pixels)), y, x)
            project.images.add_array(pixels[y : y + 200, x : x + 300], cut_from=place)
    for record in ours.images.all():
        ours.corrections.accept(record.id, "tumor", Answer(RNG.random(record.shape) > 0.5))
    export_as(ours, "ome-zarr", root)

    report = import_files(theirs, [root])

    assert report.problems == []
    assert_equal(ours, theirs, objects=False)


@pytest.mark.parametrize("kind", ["several images in a folder", "a converter's root"])
def test_zarr_labels_of_the_first_image_and_of_a_converters_root_are_found(tmp_path, ours, theirs, kind):
    pixels = RNG.integers(0, 255, (64, 80), np.uint8)
    root = tmp_path / "a.zarr"
    image = root
    if kind == "a converter's root":
        zarr.open_group(root, mode="w", zarr_format=2).attrs["bioformats2raw.layout"] = 3
        image = root / "0"
    write_zarr(image, pixels, "yx", "0.4")
    ours.images.add_array(pixels)
    ours.corrections.accept(1, "tumor", Answer(pixels > 127))
    export_as(ours, "ome-zarr", image)
    if kind != "a converter's root":
        for file in (root / ".zattrs", root / "labels" / "tumor" / ".zattrs"):
            content = json.loads(file.read_text(encoding="utf-8"))
            file.write_text(json.dumps(content | {"multiscales": content["multiscales"] * 2}), encoding="utf-8")
    theirs.images.add_array(pixels)

    report = import_files(theirs, [root])

    assert report.problems == []
    assert_equal(ours, theirs, objects=False)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [("fill_value", 1, "has the fill value 1"), ("dimension_separator", ".", "/0/0, where its metadata have none")],
)
def test_zarr_labels_whose_metadata_were_changed_are_refused(tmp_path, ours, theirs, key, value, said):
    (tmp_path / "scans").mkdir()
    scan = write_zarr(tmp_path / "scans" / "a.zarr", RNG.integers(0, 255, (5, 64, 80), np.uint8), "zyx", "0.4")
    annotate(ours, open_images(scan)[0])
    export_as(ours, "ome-zarr", scan)
    for file in (scan / "labels").glob("*/0/.zarray"):
        file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | {key: value}), encoding="utf-8")

    report = import_files(theirs, [scan], images=tmp_path / "scans")

    assert report.accepted == []
    assert [said in problem for problem in report.problems] == [True, True]


@pytest.mark.parametrize("kind", ["stack", "slide", "array"])
def test_ome_tiff_labels_come_back_bit_by_bit(tmp_path, ours, theirs, kind):
    (tmp_path / "scans").mkdir()
    pixels = RNG.integers(0, 255, (700, 900), np.uint8)
    if kind == "stack":
        image = open_images(_write_nifti(tmp_path / "scans" / "spine.nii.gz", "PIR"))[0]
        annotate(ours, image)
    elif kind == "slide":
        tifffile.imwrite(tmp_path / "scans" / "a.tif", pixels, tile=(256, 256))
        for project in (ours, theirs):
            place = SlidePlace(str(slide_key(pixels)), 400, 480)
            project.images.add_array(pixels[400:600, 480:780], cut_from=place)
    else:
        for project in (ours, theirs):
            project.images.add_array(pixels[:200, :300], name="crop.tif")
    for record in ours.images.all() if kind != "stack" else ():
        ours.corrections.accept(record.id, PROMPTS[0], Answer(RNG.random(record.shape) > 0.5))
    scans = () if kind == "array" else (tmp_path / "scans",)
    export_as(ours, "ome-tiff", tmp_path / "out", ExportOptions(scans=scans, objects=True))

    report = import_files(theirs, [tmp_path / "out"], images=None if kind == "array" else tmp_path / "scans")

    assert report.problems == []
    assert_equal(ours, theirs, objects=True)


def test_ome_tiff_labels_without_their_scan_are_told(tmp_path, ours, theirs):
    record = ours.images.add_array(np.zeros((40, 50), np.uint8), name="crop.tif")
    ours.corrections.accept(record.id, PROMPTS[0], Answer(np.ones(record.shape, bool)))
    export_as(ours, "ome-tiff", tmp_path / "out")

    (problem,) = import_files(theirs, [tmp_path / "out"]).problems

    assert "no scan is called crop.tif with Y40xX50 pixels" in problem


@pytest.mark.parametrize("half", [0, 1])
def test_a_segmentation_of_one_of_two_multi_frame_files_lies_on_its_frames(tmp_path, ours, theirs, half):
    """Both files are one volume, and their frames have equal numbers."""
    files = write_series(tmp_path / "series", slices=10)
    (tmp_path / "both").mkdir()
    for number in range(2):
        part = tmp_path / f"half {number}"
        part.mkdir()
        for place in range(5 * number, 5 * number + 5):
            name = f"IM{7 * place % 10:04d}"
            (files / name).rename(part / name)
        write_enhanced(tmp_path / "both" / f"{number}.dcm", part)
    scan = tmp_path / "scan.dcm"
    scan.write_bytes((tmp_path / "both" / f"{half}.dcm").read_bytes())
    annotate(ours, open_images(scan)[0], numbers=(1, 2))
    export_as(ours, "dicom-seg", tmp_path / "out", ExportOptions(scans=(scan,)))

    report = import_files(theirs, [tmp_path / "out" / "scan.dcm"], images=tmp_path / "both")

    assert report.problems == []
    assert_equal(ours, theirs, objects=False)


def _without_references(path):
    """Take out of a segmentation which images it is of, as some programs write it; it lies where it lay."""
    header = pydicom.dcmread(path)
    for group in header.PerFrameFunctionalGroupsSequence:
        group.DerivationImageSequence = []
    del header.ReferencedSeriesSequence
    header.save_as(path)


def _not_preserved(path):
    """Take out of a segmentation that its pixels are those of the images it is of, as most programs write it."""
    header = pydicom.dcmread(path)
    for group in header.PerFrameFunctionalGroupsSequence:
        group.DerivationImageSequence[0].SourceImageSequence[0].pop("SpatialLocationsPreserved", None)
    header.save_as(path)


@pytest.mark.parametrize("change", [_without_references, _not_preserved])
@pytest.mark.parametrize("many", [True, False])
def test_a_segmentation_that_names_no_pixels_lies_at_its_place(tmp_path, ours, theirs, many, change):
    scan = _dicom(tmp_path) if many else write_enhanced(tmp_path / "series.dcm", _dicom(tmp_path))
    annotate(ours, open_images(scan)[0])
    export_as(ours, "dicom-seg", tmp_path / "out", ExportOptions(scans=(scan,)))
    change(tmp_path / "out" / "series.dcm")

    report = import_files(theirs, [tmp_path / "out" / "series.dcm"], images=scan)

    assert report.problems == []
    assert_equal(ours, theirs, objects=False)


def test_a_segmentation_of_one_of_two_phases_lies_on_that_phase(tmp_path, ours, theirs):
    scan = write_series(tmp_path / "series")
    for file in list(scan.iterdir()):
        header = pydicom.dcmread(file)
        header.AcquisitionNumber, header.SOPInstanceUID = 100, pydicom.uid.generate_uid()
        header.PixelData = (header.pixel_array + 1).tobytes()
        header.save_as(scan / f"{file.name}.dcm")
    phases = open_images(scan)[0]
    pixels = np.asarray(phases.data[0, 2])
    ours.corrections.accept(ours.images.add_array(pixels).id, "liver", Answer(RNG.random(pixels.shape) > 0.5))
    export_as(ours, "dicom-seg", tmp_path / "out", ExportOptions(scans=(scan,)))
    _not_preserved(tmp_path / "out" / "series.dcm")

    report = import_files(theirs, [tmp_path / "out" / "series.dcm"], images=scan)

    assert phases.axes == "TZYX"
    assert report.problems == []
    assert_equal(ours, theirs, objects=False)


@pytest.mark.parametrize("slices", [True, False])
def test_a_segmentation_over_images_without_a_thickness_comes_back(tmp_path, ours, theirs, slices):
    highdicom = pytest.importorskip("highdicom")
    scan = write_series(tmp_path / "series", slices=5 if slices else 1)
    for file in scan.iterdir():
        header = pydicom.dcmread(file)
        del header.SliceThickness
        if not slices:  # an X-ray with a pixel size
            header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = pydicom.uid.ComputedRadiographyImageStorage
            for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID"):
                delattr(header, keyword)
        header.save_as(file)
    for project in (ours, theirs):
        record = project.images.add_file(next(scan.iterdir()))
    ours.corrections.accept(record.id, "lung", Answer(RNG.random(record.shape) > 0.5))
    export_as(ours, "dicom-seg", tmp_path / "out", ExportOptions(scans=(scan,) if slices else ()))
    (written,) = (tmp_path / "out").iterdir()

    assert highdicom.seg.segread(written).number_of_segments == 1
    _not_preserved(written)
    assert import_files(theirs, [written], images=scan).problems == []
    assert_equal(ours, theirs, objects=False)


def test_a_segmentation_that_lies_on_no_scan_or_on_two_is_told(tmp_path, ours, theirs):
    scan = _dicom(tmp_path)
    annotate(ours, open_images(scan)[0])
    export_as(ours, "dicom-seg", tmp_path / "out", ExportOptions(scans=(scan,)))
    _without_references(tmp_path / "out" / "series.dcm")
    series = pydicom.uid.generate_uid()
    for file in scan.iterdir():  # another contrast of the same patient, in the same place
        header = pydicom.dcmread(file)
        header.SeriesInstanceUID, header.SOPInstanceUID = series, pydicom.uid.generate_uid()
        header.save_as(scan.parent / f"{file.name}.dcm")

    twice = import_files(theirs, [tmp_path / "out" / "series.dcm"], images=tmp_path)
    for file in scan.iterdir():
        header = pydicom.dcmread(file)
        header.ImagePositionPatient[0] += 1
        header.save_as(file)
    never = import_files(theirs, [tmp_path / "out" / "series.dcm"], images=scan)

    assert (twice.accepted, never.accepted) == ([], [])
    assert "2 scans here lie where they do" in twice.problems[0]
    assert "none of the scans here lies where they do" in never.problems[0]


def test_a_segmentation_of_another_study_is_refused_by_name(tmp_path, ours, theirs):
    scan = _dicom(tmp_path)
    annotate(ours, open_images(scan)[0])
    export_as(ours, "dicom-seg", tmp_path / "out", ExportOptions(scans=(scan,)))
    other = write_series(tmp_path / "other")

    report = import_files(theirs, [tmp_path / "out" / "series.dcm"], images=other)

    study = pydicom.dcmread(next(scan.iterdir())).StudyInstanceUID
    assert report.accepted == []
    (problem,) = report.problems
    assert "series.dcm is a segmentation of another study" in problem
    assert study in problem


def test_labels_with_zero_affine_or_other_voxels_are_refused(tmp_path, ours):
    (tmp_path / "scans").mkdir()
    scan = _write_nifti(tmp_path / "scans" / "spine.nii.gz", "RAS")
    labels = np.asanyarray(nibabel.load(scan).dataobj) > 1500
    (tmp_path / "flat").mkdir()
    flat = nibabel.Nifti1Image(labels.astype(np.uint8), None)
    flat.header["sform_code"], flat.header["qform_code"] = 1, 0
    content = bytearray(flat.to_bytes())
    content[254:256] = (1).to_bytes(2, "little")
    content[280:328] = bytes(48)
    (tmp_path / "flat" / "spine.nii").write_bytes(content)
    (tmp_path / "moved").mkdir()
    moved = nibabel.load(scan).affine.copy()
    moved[0, 3] += 7
    nibabel.save(nibabel.Nifti1Image(labels.astype(np.uint8), moved), tmp_path / "moved" / "spine.nii.gz")

    files = [tmp_path / "flat" / "spine.nii", tmp_path / "moved" / "spine.nii.gz"]
    report = import_files(ours, files, images=tmp_path / "scans", prompt="bone")

    assert report.accepted == []
    assert "affine that is zero" in report.problems[0]
    assert "has other voxels than its scan" in report.problems[1]


def test_rois_come_back_bit_by_bit(source, target, tmp_path):
    export_as(source, "imagej", tmp_path / "out")

    report = import_files(target, sorted((tmp_path / "out").iterdir()))

    assert report.problems == []
    kept = {c.prompt: c for c in source.corrections.select(3) if source.corrections.mask(c).any()}
    for theirs_ in target.corrections.select():
        (mine,) = source.corrections.select(theirs_.image_id, theirs_.prompt)
        assert np.array_equal(source.corrections.mask(mine), target.corrections.mask(theirs_))
    assert {c.prompt for c in target.corrections.select(3)} == set(kept)


def test_companions_of_a_mac_among_rois_are_passed_over(target, tmp_path):
    square = roifile.ImagejRoi.frompoints([[5, 5], [15, 5], [15, 15], [5, 15]], name="square").tobytes()
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
        for name, content in (("square.roi", square), ("__MACOSX/._square.roi", b"\0"), ("._square.roi", b"\0")):
            file.writestr(name, content)

    report = import_files(target, [tmp_path / "other.zip"], prompt="nuclei")

    assert report.problems == []
    assert target.corrections.mask(target.corrections.select()[0]).sum() == 100


def test_rois_drawn_in_imagej_are_entered_and_others_are_listed(target, tmp_path):
    square = roifile.ImagejRoi.frompoints([[5, 5], [15, 5], [15, 15], [5, 15]], name="square")
    oval = roifile.ImagejRoi(roitype=roifile.ROI_TYPE.OVAL, top=20, left=10, bottom=50, right=40, name="oval")
    line = roifile.ImagejRoi(roitype=roifile.ROI_TYPE.LINE, x1=1, y1=1, x2=9, y2=9, name="line")
    deep = roifile.ImagejRoi.frompoints([[5, 5], [15, 5], [15, 15]], name="deep", position=4)
    roifile.roiwrite(tmp_path / "other.zip", [square, oval, line, deep])

    report = import_files(target, [tmp_path / "other.zip"], prompt="nuclei")

    (correction,) = target.corrections.select()
    mask = target.corrections.mask(correction)
    y, x = np.ogrid[: mask.shape[0], : mask.shape[1]]
    wanted = (y - 34.5) ** 2 + (x - 24.5) ** 2 < 15**2
    wanted[5:15, 5:15] = True
    np.testing.assert_array_equal(mask, wanted)
    assert [problem.split("ROI ")[1].split(" is")[0] for problem in report.problems] == ["line.roi", "deep.roi"]


def test_archives_that_are_damaged_or_hold_something_else(target, tmp_path):
    (tmp_path / "cut.zip").write_bytes(b"PK\x03\x04 and no more")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as file:
        file.writestr("a.roi", b"Iout and no more")

    report = import_files(target, [tmp_path / n for n in ("cut.zip", "empty.zip", "bad.zip")], prompt="nuclei")

    assert report.accepted == []
    assert len(report.problems) == 3
    assert all(name in problem for name, problem in zip(("cut", "empty", "bad"), report.problems, strict=True))


def test_geojson_of_a_region_has_the_coordinates_of_its_slide_and_comes_back(tmp_path, ours, theirs):
    pixels = RNG.integers(0, 255, (700, 900), np.uint8)
    half = np.arange(200 * 300).reshape(200, 300) % 300 < 150
    for project in (ours, theirs):
        place = SlidePlace(str(slide_key(pixels)), 400, 480)
        record = project.images.add_array(pixels[400:600, 480:780], name="slide 2", cut_from=place)
    mask = np.zeros(record.shape, bool)
    mask[10:20, 30:50] = True
    mask[13, 35] = False
    ours.corrections.accept(record.id, "tumor", Answer(mask, reviewed=half))

    notes = export_as(ours, "geojson", tmp_path / "out")
    report = import_files(theirs, [tmp_path / "out" / "slide 2.geojson"])

    (feature,) = json.loads((tmp_path / "out" / "slide 2.geojson").read_text())["features"]
    corners = np.array(feature["geometry"]["coordinates"][0])
    assert (corners.min(axis=0).tolist(), corners.max(axis=0).tolist()) == ([510, 410], [530, 420])
    assert any("those of the slide, where its corner is at x 480, y 400" in note for note in notes)
    assert report.problems == []
    assert_equal(ours, theirs, objects=True)


def _square(x, y, name, **plane):
    ring = [[x, y], [x + 10, y], [x + 10, y + 20], [x, y + 20], [x, y]]
    geometry = {"type": "Polygon", "coordinates": [ring], **({"plane": plane} if plane else {})}
    return {"type": "Feature", "geometry": geometry, "properties": {"classification": {"name": name}}}


def test_geojson_of_a_slide_lies_on_its_regions(tmp_path, theirs):
    pixels = RNG.integers(0, 255, (700, 900, 3), np.uint8)
    (tmp_path / "scans").mkdir()
    tifffile.imwrite(tmp_path / "scans" / "slide.svs", pixels, tile=(256, 256), photometric="rgb")
    key = str(slide_key(pixels))
    one, two = (
        theirs.images.add_array(pixels[y : y + 200, x : x + 300], name=name, cut_from=SlidePlace(key, y, x))
        for name, y, x in (("a", 400, 480), ("b", 0, 0))
    )
    features = [_square(490, 430, "tumor"), _square(775, 410, "stroma"), _square(5, 5, "tumor"), _square(5, 600, "fat")]
    (tmp_path / "slide.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))

    report = import_files(theirs, [tmp_path / "slide.geojson"], images=tmp_path / "scans")

    assert report.problems == [f"{tmp_path / 'slide.geojson'}: 1 of 4 features, outside all images of the project."]
    assert [entered[:2] for entered in report.entered] == [("a", "tumor"), ("a", "stroma"), ("b", "tumor")]
    assert len(theirs.images.all()) == 2
    tumor, stroma = (theirs.corrections.mask(theirs.corrections.get(number)) for number in report.accepted[:2])
    assert (tumor[30:50, 10:20].all(), tumor.sum()) == (True, 200)
    assert (stroma[10:30, 295:].all(), stroma.sum()) == (True, 100)
    assert (one.shape, two.shape) == ((200, 300), (200, 300))


@pytest.mark.parametrize(("x", "y"), [(490, 430), (10, 30)])
def test_geojson_called_like_a_region_was_drawn_on_it_or_on_its_slide(tmp_path, theirs, x, y):
    pixels = RNG.integers(0, 255, (200, 300), np.uint8)
    theirs.images.add_array(pixels, name="slide x480 y400", cut_from=SlidePlace("0" * 64, 400, 480))
    (tmp_path / "slide x480 y400.geojson").write_text(json.dumps([_square(x, y, "tumor")]))

    report = import_files(theirs, [tmp_path / "slide x480 y400.geojson"])

    assert report.problems == []
    mask = theirs.corrections.mask(theirs.corrections.get(report.accepted[0]))
    assert (mask[30:50, 10:20].all(), mask.sum()) == (True, 200)


def test_geojson_of_a_stack_lies_on_its_slices(tmp_path, theirs):
    pixels = RNG.integers(0, 255, (4, 60, 80), np.uint8)
    (tmp_path / "scans").mkdir()
    tifffile.imwrite(tmp_path / "scans" / "stack.ome.tif", pixels, metadata={"axes": "ZYX"})
    slices = [theirs.images.add_array(pixels[z], name=f"stack z{z}") for z in (1, 3)]
    features = [_square(5, 5, "cell", z=1, t=0), _square(30, 20, "cell", z=3, t=0)]
    (tmp_path / "stack.ome.tif.geojson").write_text(json.dumps(features))

    report = import_files(theirs, [tmp_path / "stack.ome.tif.geojson"], images=tmp_path / "scans")

    assert report.problems == []
    for record, corner in zip(slices, ((5, 5), (20, 30)), strict=True):
        (correction,) = theirs.corrections.select(record.id)
        rows, columns = np.nonzero(theirs.corrections.mask(correction))
        assert (rows.min(), columns.min()) == corner


def test_rois_of_a_stack_lie_on_its_slices(tmp_path, theirs):
    pixels = RNG.integers(0, 255, (4, 60, 80), np.uint8)
    (tmp_path / "scans").mkdir()
    tifffile.imwrite(tmp_path / "scans" / "stack.tif", pixels, imagej=True, metadata={"axes": "ZYX"})
    slices = [theirs.images.add_array(pixels[z], name=f"stack z{z}") for z in (1, 3)]
    square = [[0, 0], [10, 0], [10, 10], [0, 10]]
    places = ({"position": 2}, {"z_position": 4, "t_position": 1}, {"position": 3})
    rois = [roifile.ImagejRoi.frompoints(np.add(square, 5 * number)) for number in range(3)]
    for roi, place in zip(rois, places, strict=True):
        vars(roi).update(place)
    roifile.roiwrite(tmp_path / "stack.zip", rois)

    report = import_files(theirs, [tmp_path / "stack.zip"], prompt="cell", images=tmp_path / "scans")

    assert [problem.split(": ")[1] for problem in report.problems] == [
        "1 of 3 ROIs, outside all images of the project."
    ]
    for record, corner in zip(slices, (0, 5), strict=True):
        (correction,) = theirs.corrections.select(record.id)
        rows, columns = np.nonzero(theirs.corrections.mask(correction))
        assert (rows.min(), columns.min(), len(rows)) == (corner, corner, 100)


def test_contours_of_dicom_are_refused_by_name(tmp_path, theirs):
    contours = pydicom.dcmread(next(_dicom(tmp_path).iterdir()))
    contours.SOPClassUID = contours.file_meta.MediaStorageSOPClassUID = pydicom.uid.RTStructureSetStorage
    contours.save_as(tmp_path / "rs.dcm")

    (problem,) = import_files(theirs, [tmp_path / "rs.dcm"]).problems

    assert "rs.dcm holds contours (RTSTRUCT), which are not read: convert it to a DICOM segmentation" in problem


def test_labels_with_several_channels_are_refused_by_name(tmp_path, theirs):
    labels = RNG.integers(0, 3, (2, 64, 80), np.uint16)
    scan = write_zarr(tmp_path / "a.zarr", labels[0], "yx", "0.4")
    (scan / "labels").mkdir()
    write_zarr(scan / "labels" / "cells", labels, "cyx", "0.4")
    for folder, pixels in (("scans", labels[0]), ("labels", labels)):
        (tmp_path / folder).mkdir()
        axes = "CYX"[3 - pixels.ndim :]
        tifffile.imwrite(tmp_path / folder / "b.ome.tif", pixels, metadata={"axes": axes})

    files = [scan, tmp_path / "labels" / "b.ome.tif"]
    report = import_files(theirs, files, images=tmp_path / "scans", prompt="cells")

    assert report.accepted == []
    assert "cells has several channels" in report.problems[0]
    assert "b.ome.tif has several channels" in report.problems[1]


def test_masks_on_an_image_with_channels_ask_for_one_of_them(tmp_path, theirs):
    pixels = RNG.integers(0, 3, (2, 64, 80), np.uint16)
    scan = write_zarr(tmp_path / "a.zarr", pixels, "cyx", "0.4")
    (scan / "labels").mkdir()
    write_zarr(scan / "labels" / "cells", pixels[0], "yx", "0.4")

    (problem,) = import_files(theirs, [scan], images=scan).problems

    assert "masks on 1 plane of a lie on no image of the project: add a channel of it first" in problem
