"""The pixel size in micrometers, whichever tag of a file has it."""

import copy

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_amvlm.imaging import open_images
from napari_amvlm.imaging.image_data import MICROMETERS

GRAY = np.random.default_rng(0).integers(0, 255, (24, 40), np.uint8)
APERIO = "Aperio Image Library v11.2.1\r\n46000x32914 (240x240) JPEG/RGB Q=30|AppMag = 40|MPP = {}|ScanScope ID = 1"
FEI = "[User]\r\nUser=x\r\n[Scan]\r\nPixelWidth=2.5e-007\r\nPixelHeight=2.5e-007\r\n"


def _micrometers(path):
    (image,) = open_images(path)
    if "pixel" in image.units[-2:]:
        return None
    y, x = (size * MICROMETERS[unit] for size, unit in zip(image.scale[-2:], image.units[-2:], strict=True))
    return y, x


@pytest.mark.parametrize(
    ("unit", "pixels"), [("CENTIMETER", 40_000), ("INCH", 101_600), ("MILLIMETER", 4_000), ("MICROMETER", 4)]
)
@pytest.mark.parametrize("shape", [(24, 40), (2, 24, 40)])
def test_resolution_tags(tmp_path, unit, pixels, shape):
    how = {"resolution": (pixels, pixels), "resolutionunit": unit, "photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "a.tif", np.broadcast_to(GRAY, shape), **how)

    assert _micrometers(tmp_path / "a.tif") == pytest.approx((0.25, 0.25))


@pytest.mark.parametrize(
    ("unit", "pixels"),
    [
        *((unit, 4.0) for unit in ("um", "micron", "microns", "Micron", "\\u00B5m", "micrometer", "micrometers")),
        ("mm", 4_000.0),
        ("cm", 40_000.0),
        ("nm", 0.004),
        ("inch", 101_600.0),
        ("inches", 101_600.0),
    ],
)
def test_units_of_imagej(tmp_path, unit, pixels):
    tifffile.imwrite(tmp_path / "a.tif", GRAY, imagej=True, resolution=(pixels, pixels), metadata={"unit": unit})

    assert _micrometers(tmp_path / "a.tif") == pytest.approx((0.25, 0.25))


def test_imagej_may_name_units_of_y_z_and_time(tmp_path):
    units = {"unit": "um", "yunit": "nm", "zunit": "nm", "tunit": "min", "spacing": 500, "finterval": 2}
    how = {"imagej": True, "resolution": (4, 0.004), "metadata": {"axes": "TZYX"} | units}
    tifffile.imwrite(tmp_path / "a.tif", np.broadcast_to(GRAY, (2, 3, 24, 40)), **how)

    (image,) = open_images(tmp_path / "a.tif")

    assert image.scale == pytest.approx((2, 500, 250, 0.25))
    assert image.units == ("minute", "nanometer", "nanometer", "micrometer")


def test_a_slide_of_philips(tmp_path):
    sizes = '<Attribute Name="DICOM_PIXEL_SPACING" PMSVR="IDoubleArray">&quot;{}&quot; &quot;{}&quot;</Attribute>'
    xml = f'<DataObject ObjectType="DPUfsImport">{sizes.format(2.5e-4, 2.6e-4)}{sizes.format(5e-4, 5e-4)}</DataObject>'
    how = {"description": xml, "software": "Philips DP v1.0", "metadata": None, "photometric": "rgb", "tile": (16, 16)}
    tifffile.imwrite(tmp_path / "a.tiff", np.dstack([GRAY] * 3), **how)

    assert _micrometers(tmp_path / "a.tiff") == pytest.approx((0.25, 0.26))


@pytest.mark.parametrize("dots", [25.4, 72, 300])
def test_centimeters_that_nobody_chose_are_no_pixel_size(tmp_path, dots):
    """libvips writes one pixel per millimeter where it knows nothing, and Photoshop the resolution of a print."""
    resolution = (round(dots / 2.54, 3),) * 2
    tifffile.imwrite(tmp_path / "a.tif", GRAY, resolution=resolution, resolutionunit="CENTIMETER", metadata=None)

    assert _micrometers(tmp_path / "a.tif") is None


def test_an_ome_image_without_planes_gives_no_size_to_the_next(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as file:
        for name, size in (("gone", 9), ("here", 0.25)):
            sizes = {f"PhysicalSize{axis}": size for axis in "XY"}
            file.write(GRAY, metadata={"axes": "YX", "Name": name} | sizes)
    content = (tmp_path / "a.ome.tif").read_bytes()
    start, end = content.index(b"<TiffData"), content.index(b"</Pixels>")
    (tmp_path / "a.ome.tif").write_bytes(content[:start] + b" " * (end - start) + content[end:])

    assert _micrometers(tmp_path / "a.ome.tif") == pytest.approx((0.25, 0.25))


@pytest.mark.parametrize("unit", ["µm".encode(), "\u03bcm".encode(), "µm".encode("latin-1")])
def test_a_micro_sign_in_any_coding(tmp_path, unit):
    place = "Q" * len(unit)
    tifffile.imwrite(tmp_path / "a.tif", GRAY, imagej=True, resolution=(4, 4), metadata={"unit": place})
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content.replace(place.encode(), unit))

    assert _micrometers(tmp_path / "a.tif") == pytest.approx((0.25, 0.25))


def test_imagej_without_a_unit_has_that_of_the_tags(tmp_path):
    how = {"resolution": (40_000, 40_000), "resolutionunit": "CENTIMETER", "imagej": True}
    tifffile.imwrite(tmp_path / "a.tif", GRAY, **how)

    assert _micrometers(tmp_path / "a.tif") == pytest.approx((0.25, 0.25))


@pytest.mark.parametrize(
    ("unit", "size"),
    [
        *(("nm", 250), ("µm", 0.25), ("mm", 0.25e-3), ("cm", 0.25e-4), ("m", 0.25e-6)),
        *(("pm", 250_000), ("Å", 2500), ("\u212b", 2500), ("in", 0.25 / 25_400), ("thou", 0.25 / 25.4)),
    ],
)
def test_units_of_ome(tmp_path, unit, size):
    sizes = {f"PhysicalSize{axis}": size for axis in "XY"} | {f"PhysicalSize{axis}Unit": unit for axis in "XY"}
    tifffile.imwrite(tmp_path / "a.ome.tif", GRAY, metadata={"axes": "YX"} | sizes)

    assert _micrometers(tmp_path / "a.ome.tif") == pytest.approx((0.25, 0.25))


@pytest.mark.parametrize("unit", ["pixel", "reference frame"])
def test_units_that_are_no_length(tmp_path, unit):
    sizes = {f"PhysicalSize{axis}": 3 for axis in "XY"} | {f"PhysicalSize{axis}Unit": unit for axis in "XY"}
    tifffile.imwrite(tmp_path / "a.ome.tif", GRAY, metadata={"axes": "YX"} | sizes)

    assert _micrometers(tmp_path / "a.ome.tif") is None


@pytest.mark.parametrize("size", ["0.2500", "0,2500", "2.5e-1", ".25"])
def test_aperio(tmp_path, size):
    pixels = np.tile(GRAY[..., None], (12, 8, 3))
    how = {"tile": (128, 128), "photometric": "rgb", "description": APERIO.format(size)}
    tifffile.imwrite(tmp_path / "a.svs", pixels, **how)

    assert _micrometers(tmp_path / "a.svs") == pytest.approx((0.25, 0.25))


def test_an_electron_microscope(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GRAY, extratags=[(34682, 2, 0, FEI, True)], metadata=None)

    assert _micrometers(tmp_path / "a.tif") == pytest.approx((0.25, 0.25))


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_dots_per_inch_of_pillow(tmp_path, ending):
    Image.fromarray(GRAY).save(tmp_path / f"a.{ending}", dpi=(101_600, 101_600))

    assert _micrometers(tmp_path / f"a.{ending}") == pytest.approx((0.25, 0.25), rel=1e-3)


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"PixelSpacing": [0.5, 0.4]}, (500, 400)),
        ({"ImagerPixelSpacing": [0.5, 0.4]}, (500, 400)),
        ({"NominalScannedPixelSpacing": [0.5, 0.4]}, (500, 400)),
        ({"PixelSpacing": [0.25, 0.2], "ImagerPixelSpacing": [0.5, 0.4]}, (250, 200)),
        ({}, None),
    ],
)
def test_dicom(tmp_path, elements, expected):
    pydicom = pytest.importorskip("pydicom")
    data = copy.deepcopy(pydicom.dcmread(pydicom.data.get_testdata_file("CT_small.dcm")))
    del data.PixelSpacing
    for name, value in elements.items():
        setattr(data, name, value)
    data.save_as(tmp_path / "a.dcm")

    found = _micrometers(tmp_path / "a.dcm")

    assert found == (None if expected is None else pytest.approx(expected))
