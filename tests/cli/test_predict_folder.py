"""`napari-amvlm predict` on a folder of mixed files, some of which cannot be used: the others are done."""

from __future__ import annotations

import gzip
import shutil
import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


nibabel = pytest.importorskip("nibabel")
pydicom = pytest.importorskip("pydicom")

COMPANION = struct.pack(">IIH", 0x00051607, 0x00020000, 0) + b"Mac OS X        " + bytes(4060)


def _plane(number):
    return np.random.default_rng(number).integers(0, 255, (32, 40, 3), np.uint8)


def _png(path, number):
    Image.fromarray(_plane(number)).save(path.with_suffix(".PNG"))
    return path.with_suffix(".PNG")


def _jpeg(path, number):
    exif = Image.Exif()
    exif[0x0112] = 1 + number % 8
    Image.fromarray(_plane(number)).save(path.with_suffix(".jpg"), exif=exif)
    return path.with_suffix(".jpg")


def _tiff(path, number):
    tifffile.imwrite(path.with_suffix(".tif"), _plane(number)[..., 0].astype(np.uint16) * 16)
    return path.with_suffix(".tif")


def _nifti(path, number):
    volume = np.stack([_plane(number)[..., 0]] * 2).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([4.0, 1.0, 1.0, 1.0])), path.with_suffix(".nii"))
    if number % 2:
        path.with_suffix(".nii").write_bytes(gzip.compress(path.with_suffix(".nii").read_bytes()))
    return path.with_suffix(".nii")


def _dicom(path, number):
    from pydicom.dataset import Dataset, FileMetaDataset

    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = pydicom.uid.ComputedRadiographyImageStorage
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    data.SeriesInstanceUID = pydicom.uid.generate_uid()
    data.Rows, data.Columns, data.SamplesPerPixel, data.PhotometricInterpretation = 32, 40, 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    data.PixelData = np.ascontiguousarray(_plane(number)[..., 0]).tobytes()
    data.save_as(path, enforce_file_format=True)
    return path


WRITERS: tuple[Callable[[Path, int], Path], ...] = (_png, _jpeg, _tiff, _nifti, _dicom)


def _cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _text(path):
    path.write_text("no image")


DAMAGES: tuple[tuple[Callable[[Path, int], Path], Callable[[Path], None]], ...] = (
    (_png, _cut),
    (_png, _text),
    (_png, lambda path: path.write_bytes(b"") and None),
    (_png, lambda path: path.write_bytes(COMPANION) and None),
    (_jpeg, _text),
    (_tiff, _cut),
    (_tiff, _text),
    (_nifti, _cut),
    (_nifti, _text),
    (_dicom, _cut),
    (_tiff, lambda path: tifffile.imwrite(path, np.zeros((8, 8), np.uint8))),
    (_tiff, lambda path: tifffile.imwrite(path, np.zeros((32, 40), np.complex64))),
)


def _folder(folder, good, bad):
    """Write mixed files and return the names of the good and of the bad ones."""
    folder.mkdir()
    right = {WRITERS[number % len(WRITERS)](folder / f"good{number}", number).name for number in range(good)}
    wrong = set()
    for number in range(bad):
        writer, damage = DAMAGES[number % len(DAMAGES)]
        path = writer(folder / f"bad{number}", number)
        damage(path)
        wrong.add(path.name)
    # What other systems leave beside images is no image.
    (folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" + bytes(600))
    (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1" + bytes(500))
    for name in list(right)[:5]:
        (folder / f"._{name}").write_bytes(COMPANION)
    long = "x" * 245 + ".PNG"
    shutil.copy(_png(folder / "short", 7), folder / long)
    return right | {"short.PNG", long}, wrong


def _check(run, model, tmp_path, good, bad):
    right, wrong = _folder(tmp_path / "mixed", good, bad)

    outcome = run(
        *("predict", tmp_path / "mixed", "--prompt", "nuclei", "--instances"),
        *("--model", model, "--threshold", 0.3, "-o", tmp_path / "out"),
    )

    assert outcome.code == 1
    assert "Traceback" not in outcome.err
    lines = outcome.out.splitlines()
    assert {line.split(": ")[0].rpartition("/")[2] for line in lines} == right
    results = [line.split(" -> ")[1] for line in lines]
    assert len(set(results)) == len(right)
    for result in results:
        labels = nibabel.load(result).get_fdata() if result.endswith(".nii.gz") else tifffile.imread(result)
        assert sorted(labels.shape)[-2:] == [32, 40]
    *reasons, last = outcome.err.splitlines()
    assert last.startswith(f"{len(wrong)} of {len(right) + len(wrong)} images failed: ")
    assert [name for name in wrong if not any(name in reason for reason in reasons)] == []
    assert len(reasons) == len(wrong)


def test_a_folder_of_sixty_mixed_files(run, tiny_checkpoint, tmp_path):
    _check(run, tiny_checkpoint, tmp_path, 46, 12)


@pytest.mark.slow
def test_a_folder_of_five_hundred_mixed_files(run, tiny_checkpoint, tmp_path):
    _check(run, tiny_checkpoint, tmp_path, 478, 20)
