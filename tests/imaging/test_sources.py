"""Which images a folder holds, by content."""

import os
import unicodedata

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_amvlm.errors import DatasetError, ImageError
from napari_amvlm.imaging import find_sources, passed_over, read_folder

PIXELS = np.random.default_rng(0).integers(0, 4096, (6, 20, 30), np.uint16)
COMPANION = b"\0\x05\x16\x07\0\x02\0\0Mac OS X        " + bytes(4000)


def _series(folder, name):
    pydicom = pytest.importorskip("pydicom")
    from pydicom.dataset import Dataset, FileMetaDataset

    folder.mkdir(exist_ok=True)
    for number in (3, 0, 4, 1, 2, 5):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = pydicom.uid.MRImageStorage
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        data.SeriesInstanceUID = "1.2.3"
        data.ImageOrientationPatient, data.ImagePositionPatient = [0, 1, 0, 0, 0, -1], [-4.0 * number, 0, 0]
        data.Rows, data.Columns, data.SamplesPerPixel, data.PhotometricInterpretation = 20, 30, 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
        data.PixelData = PIXELS[number].tobytes()
        data.save_as(folder / name.format(number), enforce_file_format=True)
    return folder


@pytest.mark.parametrize("name", ["IM{:06d}", "CASE.MR.{:04d}.IMA", "IM{}.dcm", "1.2.840.{}"])
def test_a_folder_of_a_series_is_one_volume(tmp_path, name):
    folder = _series(tmp_path / "scan", name)
    (folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" + bytes(600))
    (folder / "._IM000001").write_bytes(COMPANION)

    (source,) = find_sources([folder])
    (image,) = source.open()

    assert source.name == "scan"
    assert image.axes == "ZYX"
    np.testing.assert_array_equal(image.data, PIXELS)


def test_files_beside_a_series_are_images_of_their_own(tmp_path):
    folder = _series(tmp_path / "scan", "IM{}")
    Image.fromarray(PIXELS[0]).save(folder / "photo.PNG")
    tifffile.imwrite(folder / "no_ending", PIXELS[1])
    (folder / "broken.tif").write_bytes(b"no image")
    (folder / "notes.txt").write_text("no image")

    assert sorted(source.name for source in find_sources([folder])) == ["broken", "no_ending", "photo", "scan"]


def test_a_segmentation_beside_a_series_is_no_image(tmp_path):
    pydicom = pytest.importorskip("pydicom")
    folder = _series(tmp_path, "IM{:04d}")
    data = pydicom.dcmread(next(folder.iterdir()))
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = pydicom.uid.SegmentationStorage
    data.SeriesInstanceUID = data.SOPInstanceUID = pydicom.uid.generate_uid()
    data.save_as(folder / "seg.dcm")

    (source,) = find_sources([folder])

    assert folder / "seg.dcm" not in source.files


def test_companions_of_a_mac_are_no_images(tmp_path):
    for name in ("a.png", "b.png"):
        Image.fromarray(PIXELS[0]).save(tmp_path / name)
        (tmp_path / f"._{name}").write_bytes(COMPANION)
    (tmp_path / ".DS_Store").write_bytes(bytes(8))

    assert [source.path.name for source in find_sources([tmp_path])] == ["a.png", "b.png"]


def test_a_pipe_is_told_and_not_waited_for(tmp_path):
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(tmp_path / "a.PNG")
    os.mkfifo(tmp_path / "b.tif")
    os.mkfifo(tmp_path / "c")

    first, second = find_sources([tmp_path])

    assert first.open()[0].data.shape == (20, 20)
    with pytest.raises(ImageError, match=r"b\.tif is a pipe or a device"):
        second.open()


def test_folders_beside_images_are_named(tmp_path):
    for name in ("a.png", "day 2/b.png", "day 3/left/c.png", "labelcol/a.png", ".cache/d.png", "notes/e.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PIXELS[0]).convert("L").save(tmp_path / name, format="PNG")
    (tmp_path / "notes" / "e.txt").write_text("no image")

    assert [source.name for source in find_sources([tmp_path])] == ["a"]
    assert [path.name for path in passed_over(tmp_path)] == ["day 2", "day 3"]


def test_a_folder_without_images_says_what_it_holds(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")

    with pytest.raises(DatasetError, match=r"holds no image, only notes\.txt"):
        find_sources([tmp_path])


def test_masks_are_matched_by_the_normal_form_of_their_names(tmp_path):
    for folder, form in (("img", "NFC"), ("labelcol", "NFD")):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.zeros((20, 20), np.uint8)).save(
            tmp_path / folder / unicodedata.normalize(form, "Präparat é.png")
        )

    (pair,) = read_folder(tmp_path).pairs

    assert pair.mask is not None


def test_dicom_without_ending_is_in_a_data_folder(tmp_path):
    _series(tmp_path / "img", "IM{}")
    (tmp_path / "labelcol").mkdir()
    for number in range(6):
        Image.fromarray(np.zeros((20, 30), np.uint8)).save(tmp_path / "labelcol" / f"IM{number}.png")

    assert [pair.name for pair in read_folder(tmp_path).pairs] == [f"IM{number}" for number in range(6)]


def test_a_disc_of_a_clinic_stands_for_the_series_below_it(tmp_path):
    for name in ("SE0", "SE1"):
        (tmp_path / "DICOM" / "ST0").mkdir(parents=True, exist_ok=True)
        _series(tmp_path / "DICOM" / "ST0" / name, "IM{}")
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "DICOM" / ".hidden").mkdir()

    sources = find_sources([tmp_path])

    assert [source.name for source in sources] == ["DICOM ST0 SE0", "DICOM ST0 SE1"]
    np.testing.assert_array_equal(sources[1].open()[0].data, PIXELS)
