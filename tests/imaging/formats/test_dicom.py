"""DICOM: pydicom's own test files against independent readings, and series written here."""

import zlib
from pathlib import Path

import dask.array as da
import numpy as np
import pytest

from napari_amvlm.errors import ImageError
from napari_amvlm.imaging import open_images, read_image

pydicom = pytest.importorskip("pydicom")

FILES = Path(pydicom.__file__).parent / "data" / "test_files"
WITHOUT_IMAGE = (
    "ExplVR_BigEndNoMeta ExplVR_LitEndNoMeta UN_sequence empty_charset_LEI meta_missing_tsyntax nested_priv_SQ no_meta "
    "no_meta_group_length priv_SQ reportsi reportsi_with_empty_number_tags rtplan rtplan_truncated rtstruct test-SR "
    "waveform_ecg"
).split()
DAMAGED = {
    "MR_truncated": r"cut off|less than expected",
    "badVR": r"invalid literal for int",
    "JPEG2000-embedded-sequence-delimiter": "Unable to decode",
}
IMAGES = sorted(
    path.stem for path in FILES.glob("*.dcm") if path.stem not in WITHOUT_IMAGE and path.stem not in DAMAGED
)
PIXELS = np.random.default_rng(0).integers(0, 4096, (6, 20, 30), np.uint16)


def _one(name):
    (image,) = open_images(FILES / name)
    return image


def _dataset(pixels, **elements):
    """Return a minimal image of 12 bits, uncompressed."""
    from pydicom.dataset import Dataset, FileMetaDataset

    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    data.Rows, data.Columns = pixels.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    if pixels.ndim == 3:
        data.NumberOfFrames = len(pixels)
    data.PixelData = pixels.tobytes()
    for name, value in elements.items():
        setattr(data, name, value)
    return data


def _save(path, pixels, **elements):
    _dataset(pixels, **elements).save_as(path, enforce_file_format=True)
    return path


def _series(folder, positions, directions=(1, 0, 0, 0, 1, 0), normal=(0, 0, 1), **elements):
    """Write slices whose pixels tell their number, in an order by name that is not that of their positions."""
    folder.mkdir(exist_ok=True)
    for number in np.random.default_rng(1).permutation(len(positions)):
        place = [float(positions[number] * part) for part in normal]
        own = {"ImagePositionPatient": place, "ImageOrientationPatient": list(directions), "PixelSpacing": [0.5, 0.25]}
        name = f"{zlib.crc32(str((number, positions[number], directions)).encode()):08x}"
        _save(folder / name, PIXELS[number], SeriesInstanceUID="1.2.3", **(own | elements))
    return folder


@pytest.mark.parametrize("name", IMAGES)
def test_pydicoms_images_have_the_values_that_pydicom_gives_them(name):
    from pydicom.pixels.processing import apply_color_lut, apply_rescale

    image = _one(f"{name}.dcm")

    data = pydicom.dcmread(FILES / f"{name}.dcm")
    expected = data.pixel_array
    if data.PhotometricInterpretation == "PALETTE COLOR":
        expected = apply_color_lut(expected, data) >> 8
    if data.get("DoseGridScaling"):
        expected = expected * data.DoseGridScaling
    elif not image.rgb:
        expected = apply_rescale(expected, data)
    assert image.data.shape == expected.shape
    np.testing.assert_allclose(image.data, expected, rtol=1e-6)


def test_every_compression_of_one_image_gives_the_same_values():
    expected = _one("MR_small.dcm").data

    for name in ("RLE", "bigendian", "expb", "implicit", "jp2klossless", "jpeg_ls_lossless", "padded"):
        np.testing.assert_array_equal(_one(f"MR_small_{name}.dcm").data, expected)
    np.testing.assert_array_equal(_one("SC_rgb_jpeg_gdcm.dcm").data, _one("SC_rgb_rle.dcm").data)


@pytest.mark.parametrize("name", WITHOUT_IMAGE)
def test_what_is_no_image_is_refused_by_its_kind(name):
    with pytest.raises(ImageError, match=rf"{name}\.dcm is a DICOM file without an image \(.+\); open the images"):
        open_images(FILES / f"{name}.dcm")


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_images_are_refused_with_the_reason(name):
    with pytest.raises(ImageError, match=rf"{name}\.dcm is .*{DAMAGED[name]}"):
        open_images(FILES / f"{name}.dcm")


def test_hounsfield_units_pixel_size_orientation_and_window():
    image = _one("693_J2KI.dcm")

    assert (image.axes, image.rgb) == ("YX", False)
    assert image.scale == (0.478516, 0.478516)
    assert image.units == ("millimeter", "millimeter")
    assert image.orientation == "PL"
    assert image.patient_left == "right"
    # Centre 40, width 100, as the standard computes the ends.
    assert image.window == (-10, 89)


def test_frames_with_a_time_are_a_film_in_colour():
    image = _one("examples_ybr_color.dcm")

    assert (image.axes, image.rgb, image.data.shape) == ("TYX", True, (30, 240, 320, 3))
    assert image.scale == pytest.approx((0.033333, 1, 1))
    assert image.units == ("second", "pixel", "pixel")


def test_a_dose_is_a_volume():
    image = _one("rtdose.dcm")

    assert (image.axes, image.scale, image.orientation) == ("ZYX", (5, 10, 10), "SPL")


def test_a_folder_of_slices_is_one_volume_sorted_by_position():
    folder = FILES / "dicomdirtests" / "98892001" / "CT5N"

    image = _one(folder)

    slices = [pydicom.dcmread(path) for path in folder.iterdir()]
    slices.sort(key=lambda one: one.ImagePositionPatient[2])
    expected = np.stack([one.pixel_array * one.RescaleSlope + one.RescaleIntercept for one in slices])
    assert (image.axes, image.name) == ("ZYX", "CT5N")
    assert image.scale == (2.5, 0.488281, 0.488281)
    assert image.orientation == "SPL"
    np.testing.assert_array_equal(image.data, expected)


@pytest.mark.parametrize(
    ("directions", "normal", "orientation"),
    [
        pytest.param((1, 0, 0, 0, 1, 0), (0, 0, 1), "SPL", id="axial"),
        pytest.param((1, 0, 0, 0, 0, -1), (0, 1, 0), "PIL", id="coronal"),
        pytest.param((0, 1, 0, 0, 0, -1), (-1, 0, 0), "RIP", id="sagittal"),
        pytest.param((-1, 0, 0, 0, -1, 0), (0, 0, 1), "SAR", id="axial, prone"),
    ],
)
def test_slices_of_every_direction(tmp_path, directions, normal, orientation):
    image = _one(_series(tmp_path / "scan", [-4, -1, 2, 5, 8, 11], directions, normal))

    np.testing.assert_array_equal(image.data, PIXELS)
    assert image.scale == (3, 0.5, 0.25)
    assert image.orientation == orientation


def test_a_slice_that_is_missing_is_noticed(tmp_path):
    folder = _series(tmp_path / "scan", [0, 3, 6, 12])
    files = {float(pydicom.dcmread(path).ImagePositionPatient[2]): path.name for path in folder.iterdir()}

    words = (
        rf"scan: expected slices at even distances, 3\.00 mm, but {files[6]} and {files[12]} are 6\.00 mm apart; add"
    )
    with pytest.raises(ImageError, match=words):
        open_images(folder)


def test_repeated_positions_are_times(tmp_path):
    for time in range(2):
        for number, position in enumerate((0.0, 2.0, 4.0)):
            _save(
                tmp_path / f"{number}{time}",
                PIXELS[3 * time + number],
                SeriesInstanceUID="1.2.3",
                ImagePositionPatient=[0, 0, position],
                ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
                TemporalPositionIdentifier=time + 1,
            )

    image = _one(tmp_path)

    assert (image.axes, image.data.shape) == ("TZYX", (2, 3, 20, 30))
    np.testing.assert_array_equal(image.data, PIXELS.reshape(2, 3, 20, 30))


def test_a_series_that_fails_is_told_and_the_others_open(tmp_path):
    _series(tmp_path, [0, 1, 2])
    for number, position in enumerate((50.0, 51.0, 59.0)):
        _save(
            tmp_path / f"bad{number}",
            PIXELS[number],
            SeriesInstanceUID="1.2.4",
            ImagePositionPatient=[0, 0, position],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        )

    with pytest.warns(UserWarning, match="even distances"):
        images = open_images(tmp_path)

    assert [image.data.shape for image in images] == [(3, 20, 30)]


def test_0_as_white_is_turned_and_so_is_its_window(tmp_path):
    window = {"WindowCenter": 1000, "WindowWidth": 401}
    path = _save(tmp_path / "a.dcm", PIXELS[0], PhotometricInterpretation="MONOCHROME1", **window)

    image = _one(path)

    np.testing.assert_array_equal(image.data, 4095 - PIXELS[0].astype(int))
    assert image.window == (4095 - 1199.5, 4095 - 799.5)


@pytest.mark.parametrize("high", [13, 15])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("rle", [False, True])
def test_values_that_do_not_lie_in_the_lowest_bits(tmp_path, high, signed, rle):
    values = PIXELS[:2].astype(np.int16) - 2048 if signed else PIXELS[:2]
    words = (values << (high - 11)) | (1 if high == 13 else 0)  # an overlay of old below
    data = _dataset(words, HighBit=high, PixelRepresentation=int(signed))
    if rle:
        data.compress(pydicom.uid.RLELossless)
    data.save_as(tmp_path / "a.dcm", enforce_file_format=True)

    np.testing.assert_array_equal(_one(tmp_path / "a.dcm").data, values)


def test_a_high_bit_that_its_values_belie_is_not_believed(tmp_path):
    np.testing.assert_array_equal(_one(_save(tmp_path / "a.dcm", PIXELS[0], HighBit=15)).data, PIXELS[0])


def test_a_lookup_table_may_have_more_bits_than_the_pixels(tmp_path):
    from pydicom.dataset import Dataset

    table = Dataset()
    table.add_new("LUTDescriptor", "US", [256, 0, 16])
    table.add_new("LUTData", "US", [100 * entry for entry in range(256)])
    stored = (PIXELS[0] % 256).astype(np.uint8)
    bits = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    path = _save(tmp_path / "a.dcm", stored, ModalityLUTSequence=[table], **bits)

    np.testing.assert_array_equal(_one(path).data, stored * np.uint16(100))


def test_whole_numbers_of_32_bits_keep_their_differences(tmp_path):
    values = PIXELS[0].astype(np.uint32) + 3_000_000_000
    bits = {"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31}
    path = _save(tmp_path / "a.dcm", values, RescaleSlope=1, RescaleIntercept=1, **bits)

    np.testing.assert_array_equal(_one(path).data, values + 1.0)


@pytest.mark.parametrize("colours", ["HSV", "YBR_PARTIAL_422"])
def test_colours_that_are_not_turned_into_rgb_are_refused(tmp_path, colours):
    pixels = np.zeros((20, 30, 3), np.uint8)
    bits = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "SamplesPerPixel": 3, "PlanarConfiguration": 0}
    data = _dataset(pixels, PhotometricInterpretation=colours, **bits)
    del data.NumberOfFrames
    data.Rows, data.Columns = 20, 30
    data.save_as(tmp_path / "a.dcm", enforce_file_format=True)

    with pytest.raises(ImageError, match=rf"expected RGB, YBR or gray, but got {colours}; save it as RGB"):
        open_images(tmp_path / "a.dcm")


def test_an_exact_window_and_a_slope_with_fractions(tmp_path):
    window = {"WindowCenter": [40, 400], "WindowWidth": [80, 2000], "VOILUTFunction": "LINEAR_EXACT"}
    path = _save(tmp_path / "a.dcm", PIXELS[0], RescaleSlope=0.5, RescaleIntercept=-7, **window)

    image = _one(path)

    assert image.data.dtype == np.float32
    np.testing.assert_allclose(image.data, PIXELS[0] * 0.5 - 7)
    assert image.window == (0, 80)


def test_an_x_ray_tells_its_sides_and_its_pixel_size_at_the_detector(tmp_path):
    path = _save(tmp_path / "a.dcm", PIXELS[0], PatientOrientation=["L", "F"], ImagerPixelSpacing=[0.2, 0.1])

    image = read_image(path)

    assert (image.orientation, image.patient_left) == ("IL", "right")
    assert image.scale == (0.2, 0.1)


@pytest.mark.parametrize(
    "absent",
    ["PhotometricInterpretation", "SamplesPerPixel", "PixelRepresentation", "BitsStored", "PlanarConfiguration"],
)
def test_what_a_header_does_not_say_of_its_pixels_is_as_usual(tmp_path, absent):
    colours = np.random.default_rng(4).integers(0, 255, (20, 30, 3), np.uint8)
    known = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0, "BitsAllocated": 8}
    cases = {"gray": (PIXELS[0], {}), "colours": (colours, known | {"BitsStored": 8, "HighBit": 7})}
    for name, (pixels, elements) in cases.items():
        data = _dataset(pixels, **elements | {"Rows": 20, "Columns": 30, "NumberOfFrames": 1})
        data.pop(absent, None)
        data.save_as(tmp_path / name, enforce_file_format=True)

        (image,) = open_images(tmp_path / name)

        np.testing.assert_array_equal(image.data, pixels)


def test_without_colours_and_number_of_values_nobody_knows_what_pixels_are(tmp_path):
    data = _dataset(PIXELS[0])
    del data.PhotometricInterpretation, data.SamplesPerPixel
    data.save_as(tmp_path / "a.dcm", enforce_file_format=True)

    with pytest.raises(ImageError, match=r"a\.dcm is damaged and cannot be read \(Missing required element"):
        open_images(tmp_path / "a.dcm")


@pytest.mark.parametrize(
    ("written", "value", "spacing"), [(b"0,5\\0,25", b"2,5 ", [0.5, 0.25]), (b"0.5     ", b"nan ", [1, 1])]
)
def test_numbers_with_a_comma_are_read_and_others_that_are_none_are_left_out(tmp_path, written, value, spacing):
    path = _save(tmp_path / "a.dcm", PIXELS[0], PixelSpacing=["0.1", "0.25"], RescaleSlope="2.5 ", RescaleIntercept="1")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"0.1\\0.25", written).replace(b"2.5 ", value))

    (image,) = open_images(path)

    assert list(image.scale) == spacing
    np.testing.assert_array_equal(image.data, PIXELS[0] * (2.5 if b"," in value else 1) + 1)


def test_a_volume_is_no_plane(tmp_path):
    with pytest.raises(ImageError, match=r"a stack, Z6xY20xX30; open it in napari, or save the plane you mean"):
        read_image(_series(tmp_path / "scan", [0, 1, 2, 3, 4, 5]))


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ({"Rows": 65535, "Columns": 65535}, "at most 400 million pixels"),
        ({"Rows": 20000, "Columns": 20000}, "cut off"),
        ({"Rows": 0}, "has no pixels"),
        ({"NumberOfFrames": 2**31 - 1}, "cut off|damaged"),
        ({"SamplesPerPixel": 7}, "expected 1 or 3 values in a pixel, but its header says 7"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.6"}, "save it as OME-TIFF"),
    ],
)
def test_absurd_headers_are_refused(tmp_path, elements, said):
    with pytest.raises(ImageError, match=rf"a\.dcm.*({said})"):
        open_images(_save(tmp_path / "a.dcm", PIXELS[0], **elements))


def test_what_inflates_beyond_measure_is_refused(tmp_path):
    path = _save(tmp_path / "a.dcm", PIXELS[0])
    meta = pydicom.dcmread(path).file_meta
    meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    with path.open("wb") as file:
        file.write(b"\0" * 128 + b"DICM")
        pydicom.filewriter.write_file_meta_info(file, meta)
        for _ in range(1100):
            file.write(packer.compress(bytes(1 << 20)))
        file.write(packer.flush())
    assert path.stat().st_size < 2_000_000

    with pytest.raises(ImageError, match=r"a\.dcm: expected at most 1024 MB behind its compression"):
        open_images(path)


def test_a_table_of_contents_sends_to_the_series(tmp_path):
    with pytest.raises(ImageError, match="is a table of contents of DICOM files; open the folder"):
        open_images(FILES / "dicomdirtests" / "DICOMDIR")


def test_a_large_series_stays_in_its_files(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_amvlm.imaging.formats.dicom_files.EAGER_BYTES", 1000)

    image = _one(_series(tmp_path / "scan", [0, 1, 2, 3, 4, 5]))

    assert isinstance(image.data, da.Array)
    np.testing.assert_array_equal(image.data[2:5, 3, :7].compute(), PIXELS[2:5, 3, :7])
    frames = _save(tmp_path / "film.dcm", PIXELS, FrameTime=40)
    film = _one(frames)
    assert isinstance(film.data, da.Array)
    np.testing.assert_array_equal(film.data[3].compute(), PIXELS[3])


def test_without_pydicom_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(ImageError, match=r'pip install "napari-amvlm\[dicom\]"'):
        open_images(FILES / "CT_small.dcm")


PLANES = {"axial": ((1, 0, 0, 0, 1, 0), (0, 0, 1)), "coronal": ((1, 0, 0, 0, 0, -1), (0, 1, 0))}
PLANES["sagittal"] = ((0, 1, 0, 0, 0, -1), (-1, 0, 0))


def test_a_localizer_of_three_planes_is_three_volumes(tmp_path):
    for directions, normal in PLANES.values():
        _series(tmp_path, [-10, 0, 10], directions, normal)

    images = open_images(tmp_path)

    assert sorted(image.orientation for image in images) == ["PIL", "RIP", "SPL"]
    assert {image.data.shape for image in images} == {(3, 20, 30)}


def test_a_localizer_of_one_slice_a_plane_is_three_planes(tmp_path):
    for directions, normal in PLANES.values():
        _series(tmp_path, [-10], directions, normal)

    assert [image.data.shape for image in open_images(tmp_path)] == [(20, 30)] * 3


@pytest.mark.parametrize("size", [1e-6, 5e-4, 3e-3])
def test_jitter_in_the_directions_and_positions_splits_nothing(tmp_path, size):
    random = np.random.default_rng(7)
    for number, position in enumerate((100.0, 103.0, 106.0, 109.0, 112.0, 115.0)):
        directions = np.array([1, 0, 0, 0, 1, 0]) + random.uniform(-size, size, 6)
        corner = np.array([-250.0, -240.0, position]) + random.uniform(-size, size, 3)
        place = {"ImageOrientationPatient": directions.tolist(), "ImagePositionPatient": corner.tolist()}
        _save(tmp_path / f"{number}", PIXELS[number], SeriesInstanceUID="1.2.3", **place)

    image = _one(tmp_path)

    np.testing.assert_array_equal(image.data, PIXELS)


def test_jitter_of_repeated_positions_keeps_the_times_together(tmp_path):
    for time in range(2):
        for number, position in enumerate((0.0, 2.0, 4.0)):
            _save(
                tmp_path / f"{number}{time}",
                PIXELS[3 * time + number],
                SeriesInstanceUID="1.2.3",
                ImagePositionPatient=[0, 0, position + 0.005 * (1 - 2 * time)],
                ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
                TemporalPositionIdentifier=time + 1,
            )

    np.testing.assert_array_equal(_one(tmp_path).data, PIXELS.reshape(2, 3, 20, 30))


@pytest.mark.parametrize(
    "elements",
    [
        [{"EchoTime": 10.0}, {"EchoTime": 80.0}],
        [{"EchoNumbers": 1}, {"EchoNumbers": 2}],
        [{"ImageType": ["ORIGINAL", "PRIMARY", "M"]}, {"ImageType": ["ORIGINAL", "PRIMARY", "P"]}],
    ],
)
def test_echoes_and_kinds_of_frames_are_volumes_of_their_own(tmp_path, elements):
    for number, own in enumerate(elements):
        for slice_number in range(3):
            position = {"ImagePositionPatient": [0, 0, slice_number], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
            _save(
                tmp_path / f"{number}{slice_number}",
                PIXELS[3 * number + slice_number],
                SeriesInstanceUID="1.2.3",
                **(position | own),
            )

    images = open_images(tmp_path)

    np.testing.assert_array_equal([image.data for image in images], PIXELS.reshape(2, 3, 20, 30))


def test_jitter_of_the_echo_time_splits_nothing(tmp_path):
    for number in range(6):
        place = {"ImagePositionPatient": [0, 0, number], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
        echo = 2.995 + (number % 2 - 0.5) * 1e-5
        _save(tmp_path / f"{number}", PIXELS[number], SeriesInstanceUID="1.2.3", EchoTime=echo, **place)

    np.testing.assert_array_equal(_one(tmp_path).data, PIXELS)


def test_a_file_that_is_there_twice_counts_once(tmp_path):
    folder = _series(tmp_path, [0, 1, 2, 3, 4, 5])
    for path in list(folder.iterdir())[:2]:
        (folder / f"{path.name}.dcm").write_bytes(path.read_bytes())

    np.testing.assert_array_equal(_one(folder).data, PIXELS)


def test_slices_that_were_given_one_uid_are_all_read(tmp_path):
    folder = _series(tmp_path, [0, 1, 2, 3, 4, 5], SOPInstanceUID="1.2.3.4")

    np.testing.assert_array_equal(_one(folder).data, PIXELS)


def test_an_enhanced_file_with_three_planes_is_three_volumes(tmp_path):
    from pydicom.dataset import Dataset

    groups = []
    for directions, normal in list(PLANES.values()):
        for position in (20.0, 10.0):
            group = Dataset()
            group.PlaneOrientationSequence = [Dataset()]
            group.PlaneOrientationSequence[0].ImageOrientationPatient = list(directions)
            group.PlanePositionSequence = [Dataset()]
            group.PlanePositionSequence[0].ImagePositionPatient = [float(position * part) for part in normal]
            groups.append(group)
    path = _save(tmp_path / "IM1", PIXELS, PerFrameFunctionalGroupsSequence=groups, SeriesInstanceUID="1.2.3")

    images = open_images(path)

    assert [image.orientation for image in images] == ["SPL", "PIL", "RIP"]
    np.testing.assert_array_equal([image.data for image in images], PIXELS.reshape(3, 2, 20, 30)[:, ::-1])


def test_an_enhanced_file_has_its_times_in_their_order(tmp_path):
    from pydicom.dataset import Dataset

    groups = []
    for time in (2, 1):
        for position in (0.0, 2.0, 4.0):
            group = Dataset()
            group.PlaneOrientationSequence, group.PlanePositionSequence = [Dataset()], [Dataset()]
            group.PlaneOrientationSequence[0].ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
            group.PlanePositionSequence[0].ImagePositionPatient = [0, 0, position]
            group.FrameContentSequence = [Dataset()]
            group.FrameContentSequence[0].TemporalPositionIndex = time
            groups.append(group)

    image = _one(_save(tmp_path / "a.dcm", PIXELS, PerFrameFunctionalGroupsSequence=groups))

    assert image.axes == "TZYX"
    np.testing.assert_array_equal(image.data, PIXELS.reshape(2, 3, 20, 30)[::-1])


@pytest.mark.parametrize("preamble", [True, False])
@pytest.mark.parametrize("name", ["IM000001", "scan.IMA", "1.2.840.1"])
def test_dicom_is_known_by_its_content(tmp_path, name, preamble):
    data = _dataset(PIXELS[0])
    if not preamble:
        del data.file_meta
        pydicom.dcmwrite(tmp_path / name, data, implicit_vr=True, little_endian=True)
    else:
        data.save_as(tmp_path / name, enforce_file_format=True)

    np.testing.assert_array_equal(_one(tmp_path / name).data, PIXELS[0])


@pytest.mark.parametrize("scale", [1, 257])
def test_a_palette_has_its_colours_in_the_low_or_in_all_bytes_of_its_words(tmp_path, scale):
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    colours = {"Red": np.arange(256), "Green": np.arange(256)[::-1], "Blue": np.arange(256) // 2}
    tables = {f"{name}PaletteColorLookupTableData": (table * scale).astype("<u2") for name, table in colours.items()}
    described = {f"{name}PaletteColorLookupTableDescriptor": [256, 0, 16] for name in colours}
    bits = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PhotometricInterpretation": "PALETTE COLOR"}
    path = tmp_path / "a.dcm"
    _save(path, pixels, **described, **bits, **{name: table.tobytes() for name, table in tables.items()})

    np.testing.assert_array_equal(_one(path).data, np.stack([*colours.values()], axis=-1)[pixels])
