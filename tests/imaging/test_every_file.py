"""Every file that pydicom and nibabel bring for tests, and every common kind of TIFF pyramid: right, or refused why."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_amvlm.errors import ImageError
from napari_amvlm.imaging import open_images
from tests.damaged import check_message


def _files(package, *folders):
    """Return the files in some folders of an installed package; none where it is not installed."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return []
    root = Path(spec.origin).parent
    every = (path for folder in folders for path in sorted((root / folder).rglob("*")))
    return [path for path in every if path.is_file() and "__pycache__" not in path.parts]


def _is_dicom(path):
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM" or path.suffix == ".dcm"


PYDICOM = _files("pydicom", "data/test_files", "data/palettes")
NIBABEL = _files("nibabel", "tests/data", "nicom/tests/data")
DICOM = [path for path in PYDICOM + NIBABEL if PYDICOM and _is_dicom(path)]
DAMAGED = {
    "MR_truncated": "cut off|less than expected",
    "badVR": "invalid literal",
    "JPEG2000-embedded-sequence-delimiter": "Unable to decode",
}
"""By stem: what is said of files that were damaged on purpose."""
VOLUMES = [path for path in NIBABEL if path.name.endswith((".nii", ".nii.gz")) and ".dconn" not in path.name]

with_pydicom = pytest.mark.skipif(not PYDICOM, reason="pydicom (the extra dicom) is not installed")
with_nibabel = pytest.mark.skipif(not NIBABEL, reason="nibabel (the extra nifti) is not installed")


def _named(path):
    return "/".join(path.parts[-2:])


def _letters(direction):
    """Return towards which side of the patient a direction of DICOM's coordinates leads, by its largest part."""
    axis = int(np.argmax(np.abs(direction)))
    return ("RL", "AP", "IS")[axis][int(direction[axis] > 0)]


def _found(data, *names):
    """Return the first element of these names in a header, or in the first frame's own groups."""
    groups = [data]
    for sequence in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in data.get(sequence) or []:
            groups += [item for element in group if element.VR == "SQ" for item in element.value]
    return next((group.get(name) for name in names for group in groups if group.get(name)), None)


def _expected_values(data):
    from pydicom.pixels.processing import apply_color_lut

    pixels = data.pixel_array
    if data.PhotometricInterpretation == "PALETTE COLOR":
        return np.asarray(apply_color_lut(pixels, data) >> 8)
    if data.SamplesPerPixel == 3:
        return np.asarray(pixels)
    slope = float(_found(data, "DoseGridScaling") or _found(data, "RescaleSlope") or 1)
    values = pixels.astype(np.float64) * slope + float(_found(data, "RescaleIntercept") or 0)
    if data.PhotometricInterpretation == "MONOCHROME1":
        bits = data.BitsStored
        ends = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if data.PixelRepresentation else (0, 2**bits - 1)
        values = slope * sum(ends) + 2 * float(data.get("RescaleIntercept") or 0) - values
    return values


def _check_dicom(path, image):
    """Compare an image with its header and pydicom's pixels, by arithmetic of its own."""
    import pydicom

    data = pydicom.dcmread(path, force=True)
    np.testing.assert_allclose(image.data, _expected_values(data), rtol=1e-6, atol=1e-6)
    frames = int(data.get("NumberOfFrames") or 1)
    assert image.rgb == (data.SamplesPerPixel == 3 or data.PhotometricInterpretation == "PALETTE COLOR")
    assert image.axes[-2:] == "YX"
    assert len(image.axes) == (2 if frames == 1 else 3)
    if frames > 1:
        times = ("FrameTime", "FrameTimeVector", "CineRate", "RecommendedDisplayFrameRate")
        timed = any(name in data for name in times)
        assert image.axes[0] == ("Z" if "GridFrameOffsetVector" in data else "T" if timed else "I")
    size = _found(data, "PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
    assert image.scale[-2:] == pytest.approx([1, 1] if size is None else [float(side) for side in size])
    assert image.units[-1] == ("pixel" if size is None else "millimeter")
    directions = _found(data, "ImageOrientationPatient")
    if directions is not None:
        rows, columns = [float(n) for n in directions[:3]], [float(n) for n in directions[3:]]
        assert image.orientation[-2:] == _letters(columns) + _letters(rows)


def _refusal(path):
    """Return what has to be said of a file that holds nothing to be shown, by what pydicom finds in it."""
    import pydicom

    if path.stem in DAMAGED:
        return DAMAGED[path.stem]
    data = pydicom.dcmread(path, force=True)
    if "DirectoryRecordSequence" in data or "DICOMDIR" in path.name:
        return "table of contents"
    kinds = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
    # Some say nothing of rows, and have two bytes of pixels.
    return None if data.get("Rows") and any(kind in data for kind in kinds) else "without an image"


@with_pydicom
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", DICOM, ids=_named)
def test_every_dicom_file_is_right_or_refused(path):
    refusal = _refusal(path)
    if refusal is not None:
        with pytest.raises(ImageError, match=refusal) as caught:
            open_images(path)
        check_message(caught.value, str(path))
        return

    (image,) = open_images(path)

    _check_dicom(path, image)


@with_pydicom
def test_most_files_of_pydicom_are_images():
    assert set(DAMAGED) <= {path.stem for path in DICOM}
    assert sum(_refusal(path) is None for path in DICOM) > 80


@with_pydicom
@pytest.mark.parametrize("path", [path for path in PYDICOM if not _is_dicom(path)], ids=_named)
def test_every_other_file_beside_them_is_refused(path):
    with pytest.raises(ImageError) as caught:
        open_images(path)

    check_message(caught.value, str(path))


SERIES = sorted({path.parent for path in DICOM if "dicomdirtests" in path.parts and "DICOMDIR" not in path.name})


@with_pydicom
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("folder", SERIES, ids=_named)
def test_every_series_is_the_volume_of_its_slices(folder):
    import pydicom

    slices = [pydicom.dcmread(path) for path in sorted(folder.iterdir()) if path.is_file()]
    images = _opened_or_refused(folder)

    shown = sum(int(np.prod(image.data.shape[: len(image.axes) - 2])) for image in images)
    assert shown <= len(slices)
    for image in images:
        if "Z" not in image.axes:
            continue
        normal = np.cross(slices[0].ImageOrientationPatient[:3], slices[0].ImageOrientationPatient[3:])
        mine = [one for one in slices if one.pixel_array.shape == image.data.shape[-2:]]
        mine.sort(key=lambda one: float(np.dot(normal, one.ImagePositionPatient)))
        if len(mine) == len(image.data):
            np.testing.assert_allclose(image.data, np.stack([_expected_values(one) for one in mine]))


def _opened_or_refused(folder):
    """Return the images of a folder; none where its slices make no volume, and the error says why."""
    try:
        return open_images(folder)
    except ImageError as error:
        check_message(error, str(folder))
        if not any(words in str(error) for words in ("even distances", "as often", "without an image")):
            raise
        return []


def _has_orientation(path):
    import nibabel

    header = nibabel.load(path).header
    return bool(int(header["sform_code"]) or int(header["qform_code"]))


@with_nibabel
@pytest.mark.parametrize("path", [path for path in NIBABEL if not _is_dicom(path)], ids=_named)
def test_every_file_of_nibabel_is_right_or_refused(path):
    import nibabel
    from nibabel import orientations

    if path not in VOLUMES:
        with pytest.raises(ImageError) as caught:
            open_images(path)
        check_message(caught.value, str(path))
        return

    known = _has_orientation(path)
    (image,) = open_images(path, "axial" if known else "acquired")

    stored = nibabel.load(path)
    # Towards the left, the back and the head, by the largest part of each column of the affine.
    turned = stored.as_reoriented(
        orientations.ornt_transform(orientations.io_orientation(stored.affine), orientations.axcodes2ornt("LPS"))
    )
    assert nibabel.aff2axcodes(turned.affine) == ("L", "P", "S")
    np.testing.assert_allclose(image.data, turned.get_fdata().T, rtol=1e-6)
    assert image.axes == ("TZYX" if stored.ndim == 4 else "ZYX")
    assert image.scale[-3:] == pytest.approx(np.linalg.norm(turned.affine[:3, :3], axis=0)[::-1], rel=1e-4)
    assert image.units[-3:] == ("millimeter",) * 3
    assert image.orientation == ("SPL" if known else "")


def test_nibabels_volumes_are_among_them():
    assert not NIBABEL or len(VOLUMES) >= 7


RAMP = np.add.outer(np.arange(256), np.arange(320))
PIXELS = {
    "gray": (RAMP // 3).astype(np.uint8),
    "gray 16": (RAMP * 100).astype(np.uint16),
    "rgb": np.stack([RAMP // 3, RAMP[::-1] // 3, RAMP[:, ::-1] // 3], axis=-1).astype(np.uint8),
    "rgb 16": np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], axis=-1).astype(np.uint16) * 50,
}
LAYOUTS: dict[str, dict[str, Any]] = {"tiles": {"tile": (64, 64)}, "strips": {"rowsperstrip": 32}}


def _write(path, kind, pixels, planar, how, big):
    """Write a pyramid of three levels, as SubIFDs, reduced pages, pages that halve, or in OME-TIFF."""
    colour = pixels.ndim == 3
    options = how | {"photometric": "rgb" if colour else "minisblack"}
    if colour:
        options["planarconfig"] = "separate" if planar else "contig"
    levels = [pixels[::step, ::step] for step in (1, 2, 4)]
    if planar:
        levels = [np.ascontiguousarray(level.transpose(2, 0, 1)) for level in levels]
    below = kind in ("sub", "ome")
    with tifffile.TiffWriter(path, bigtiff=big, ome=kind == "ome") as file:
        first = {"metadata": {"axes": "SYX" if planar else "YXS" if colour else "YX"}} if kind == "ome" else {}
        file.write(levels[0], **options, **first, **({"subifds": 2} if below else {}))
        for level in levels[1:]:
            file.write(level, **options, **({} if kind == "pages" else {"subfiletype": 1}))
    return path


CASES = [
    (kind, layout, pixels, planar, compression, big)
    for kind in ("sub", "reduced", "pages", "ome")
    for layout in LAYOUTS
    for pixels in PIXELS
    for planar in ((False, True) if "rgb" in pixels else (False,))
    for compression, big in ((None, False), (None, True), ("zlib", False), ("lzw", False))
]


@pytest.mark.parametrize(("kind", "layout", "pixels", "planar", "compression", "big"), CASES)
def test_every_kind_of_pyramid_has_its_levels_and_values(tmp_path, kind, layout, pixels, planar, compression, big):
    values = PIXELS[pixels]
    how = LAYOUTS[layout] | {"compression": compression}

    (image,) = open_images(_write(tmp_path / "a.tif", kind, values, planar, how, big))

    assert (image.axes, image.rgb) == ("YX", values.ndim == 3)
    assert [level.shape[:2] for level in image.levels] == [(256, 320), (128, 160), (64, 80)]
    for level, step in zip(image.levels, (1, 2, 4), strict=True):
        np.testing.assert_array_equal(np.asarray(level), values[::step, ::step])
