"""CZI files written by Zeiss's library, and slides that OpenSlide reads."""

import importlib.util
import struct

import dask.array as da
import numpy as np
import pytest
import tifffile

from napari_amvlm.errors import ImageError
from napari_amvlm.imaging import image_kind, open_images

PIXELS = np.random.default_rng(0).integers(0, 60000, (2, 3, 64, 80), np.uint16)
COLOUR = np.random.default_rng(1).integers(0, 255, (64, 80, 3), np.uint8)
with_czi = pytest.mark.skipif(importlib.util.find_spec("pylibCZIrw") is None, reason="the extra czi is not installed")
with_openslide = pytest.mark.skipif(
    importlib.util.find_spec("openslide") is None, reason="the extra openslide is not installed"
)


def _czi(path, scenes=1):
    from pylibCZIrw import czi

    with czi.create_czi(str(path)) as file:
        for scene in range(scenes):
            for channel in range(2):
                for z in range(3):
                    place = {"location": (1000 * scene, 0), "scene": scene}
                    pixels = np.ascontiguousarray((PIXELS[channel, z] + scene)[..., None])
                    file.write(data=pixels, plane={"C": channel, "Z": z, "T": 0}, **place)
        file.write_metadata(
            document_name="a",
            channel_names={0: "DAPI", 1: "actin"},
            scale_x=0.25e-6,
            scale_y=0.5e-6,
            scale_z=2e-6,
        )
    return path


@with_czi
def test_channels_slices_and_sizes_of_a_czi_file(tmp_path):
    (image,) = open_images(_czi(tmp_path / "a.CZI"))

    assert (image.axes, image.channels, image.rgb) == ("CZYX", ("DAPI", "actin"), False)
    assert image.scale == pytest.approx((1, 2, 0.5, 0.25))
    assert image.units[1:] == ("micrometer",) * 3
    np.testing.assert_array_equal(image.data, PIXELS)


@with_czi
def test_axes_beyond_times_channels_and_slices_are_refused(tmp_path):
    from pylibCZIrw import czi

    path = tmp_path / "a.czi"
    with czi.create_czi(str(path)) as file:
        for time in range(3):
            file.write(data=np.full((20, 30, 1), time, np.uint8), plane={"C": 0, "Z": 0, "T": time})
    path.write_bytes(path.read_bytes().replace(b"T\0\0\0", b"H\0\0\0"))  # the library writes no other axes

    with pytest.raises(ImageError, match=r"a\.czi has 3 phases \(axis H\) beside T, C and Z, of which no more"):
        open_images(path)


@with_czi
def test_a_part_of_a_czi_file_keeps_the_numbers_of_its_slices_and_channels(tmp_path):
    from pylibCZIrw import czi

    names = {number: f"dye {number}" for number in range(4)}
    for title, slices, channels in (("a", (5, 7), (1, 3)), ("b", (4,), (2,))):
        with czi.create_czi(str(tmp_path / f"{title}.czi")) as file:
            for z in slices:
                for channel in channels:
                    pixels = np.full((20, 30, 1), 10 * z + channel, np.uint16)
                    file.write(data=pixels, plane={"C": channel, "Z": z, "T": 8})
            file.write_metadata(document_name=title, channel_names=names)

    (several,), (one,) = (open_images(tmp_path / f"{title}.czi") for title in "ab")

    assert (several.axes, several.channels) == ("CZYX", ("dye 1", "dye 3"))
    assert several.data[..., 0, 0].tolist() == [[51, 71], [53, 73]]
    assert (one.axes, one.data.min(), one.data.max()) == ("YX", 42, 42)


@with_czi
def test_gaps_in_a_mosaic_are_white_in_colours_and_black_in_gray(tmp_path):
    from pylibCZIrw import czi

    for title, values in (("colour", 3), ("gray", 1)):
        with czi.create_czi(str(tmp_path / f"{title}.czi")) as file:
            for corner in ((0, 0), (40, 30)):
                pixels = np.full((20, 30, values), 7, np.uint8)
                file.write(data=pixels, plane={"C": 0, "Z": 0, "T": 0}, location=corner)

    (colour,), (gray,) = (open_images(tmp_path / f"{title}.czi") for title in ("colour", "gray"))

    assert np.unique(colour.data).tolist() == [7, 255]
    assert np.unique(gray.data).tolist() == [0, 7]


@with_czi
def test_tiles_of_lower_resolutions_make_no_scene_larger(tmp_path):
    from pylibCZIrw import czi

    path = tmp_path / "a.czi"
    with czi.create_czi(str(path)) as file:
        for pixels in (COLOUR[:61, :77], COLOUR[:32, :40]):
            file.write(data=np.ascontiguousarray(pixels[..., ::-1]), plane={"C": 0, "Z": 0, "T": 0})
    content = path.read_bytes()
    for axis, side in ((b"X", 40), (b"Y", 32)):  # the library writes no lower resolutions
        plain, halved = (struct.pack("<4siifi", axis, 0, length, 0.0, side) for length in (side, 2 * side))
        assert plain in content
        content = content.replace(plain, halved)
    path.write_bytes(content)

    (image,) = open_images(path)

    np.testing.assert_array_equal(image.data, COLOUR[:61, :77])


@with_czi
def test_scenes_are_images(tmp_path):
    images = open_images(_czi(tmp_path / "a.czi", scenes=2))

    assert [image.name for image in images] == ["a 1", "a 2"]
    for number, image in enumerate(images):
        np.testing.assert_array_equal(image.data, PIXELS + number)


@with_czi
def test_colours_of_a_czi_file(tmp_path):
    from pylibCZIrw import czi

    with czi.create_czi(str(tmp_path / "a.czi")) as file:
        file.write(data=np.ascontiguousarray(COLOUR[..., ::-1]), plane={"C": 0, "Z": 0, "T": 0})

    (image,) = open_images(tmp_path / "a.czi")

    assert (image.axes, image.rgb) == ("YX", True)
    np.testing.assert_array_equal(image.data, COLOUR)


@with_czi
def test_a_large_scene_has_levels_that_are_read_where_they_are_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_amvlm.imaging.formats.czi_files.LARGEST_PLANE", 1000)
    monkeypatch.setattr("napari_amvlm.imaging.formats.czi_files.LEAST_CHUNK", 16)

    (image,) = open_images(_czi(tmp_path / "a.czi"))

    assert isinstance(image.data, da.Array)
    assert [level.shape[-2:] for level in image.levels] == [(64, 80), (32, 40), (16, 20)]
    np.testing.assert_array_equal(image.data[1, 2, 10:30, 5:50].compute(), PIXELS[1, 2, 10:30, 5:50])


@with_czi
@pytest.mark.parametrize("size", [20, 500, 3000])
def test_a_czi_file_that_is_cut_off_is_refused(tmp_path, size):
    path = _czi(tmp_path / "a.czi")
    path.write_bytes(path.read_bytes()[:size])

    with pytest.raises(ImageError, match=r"a\.czi"):
        open_images(path)


@with_openslide
@pytest.mark.parametrize("name", ["a.ndpi", "a.SCN", "a.bif"])
def test_a_slide_is_read_by_openslide_with_its_levels(tmp_path, name):
    pixels = np.random.default_rng(2).integers(0, 255, (48, 64, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    how = {"tile": (256, 256), "photometric": "rgb", "metadata": None, "compression": "jpeg"}
    how["compressionargs"] = {"level": 100}
    with tifffile.TiffWriter(tmp_path / name) as file:
        file.write(pixels, resolution=(40_000, 20_000), resolutionunit="CENTIMETER", **how)
        file.write(pixels[::2, ::2], subfiletype=1, **how)

    (image,) = open_images(tmp_path / name)

    assert image_kind(tmp_path / name) == "slide"
    assert (image.rgb, [level.shape for level in image.levels]) == (True, [(768, 1024, 3), (384, 512, 3)])
    assert image.scale == pytest.approx((0.5, 0.25))
    part = image.data[100:300, 50:400].compute()
    assert np.median(np.abs(part.astype(int) - pixels[100:300, 50:400])) <= 2
    lower = image.smaller[0][100:300, 50:400].compute()
    assert np.median(np.abs(lower.astype(int) - pixels[::2, ::2][100:300, 50:400])) <= 2


def _scn_image(size, view, offset, dimensions):
    """Return the part of Leica's XML that says where on the glass, in nanometers, the pages of an image lie."""
    pages = (f'<dimension sizeX="{x}" sizeY="{y}" r="{r}" ifd="{n}"/>' for r, (x, y, n) in enumerate(dimensions))
    return (
        '<image name="" uuid=""><creationDate>2011</creationDate><device model="Leica SCN400" version="1"/>'
        f'<pixels sizeX="{size[0]}" sizeY="{size[1]}">{"".join(pages)}</pixels>'
        f'<view sizeX="{view[0]}" sizeY="{view[1]}" offsetX="{offset[0]}" offsetY="{offset[1]}"/><scanSettings>'
        "<objectiveSettings><objective>20</objective></objectiveSettings><illuminationSettings><numericalAperture>0.4"
        "</numericalAperture><illuminationSource>brightfield</illuminationSource></illuminationSettings></scanSettings>"
        "</image>"
    )


@with_openslide
def test_a_slide_is_cut_to_what_was_scanned_as_qupath_shows_it(tmp_path):
    pixels = np.random.default_rng(2).integers(0, 255, (20, 24, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    glass = (2_000_000, 1_000_000)
    scanned = _scn_image((384, 320), (384_000, 320_000), (500_000, 300_000), [(384, 320, 1), (192, 160, 2)])
    xml = (
        '<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01" uuid=""><collection name="" uuid="" '
        f'sizeX="{glass[0]}" sizeY="{glass[1]}" barcode="">{_scn_image((512, 256), glass, (0, 0), [(512, 256, 0)])}'
        f"{scanned}</collection></scn>"
    )
    how = {"tile": (256, 256), "photometric": "rgb", "metadata": None, "compression": "jpeg"}
    how["compressionargs"] = {"level": 100}
    with tifffile.TiffWriter(tmp_path / "a.scn", bigtiff=True) as file:
        file.write(np.full((256, 512, 3), 200, np.uint8), description=xml, **how)
        file.write(pixels, description="", **how)
        file.write(pixels[::2, ::2], subfiletype=1, description="", **how)

    (image,) = open_images(tmp_path / "a.scn")

    assert [level.shape for level in image.levels] == [(320, 384, 3), (160, 192, 3)]
    for level, expected in zip(image.levels, (pixels, pixels[::2, ::2]), strict=True):
        part = level[100:150, 50:190].compute()
        assert np.median(np.abs(part.astype(int) - expected[100:150, 50:190])) <= 2


@with_openslide
def test_what_openslide_does_not_read_is_refused(tmp_path):
    (tmp_path / "a.mrxs").write_bytes(b"\xff\xd8\xff" + bytes(100))

    with pytest.raises(ImageError, match=r"a\.mrxs: expected a slide that OpenSlide reads"):
        open_images(tmp_path / "a.mrxs")


def test_without_the_libraries_the_messages_say_how_to_get_them(tmp_path, monkeypatch):
    (tmp_path / "a.ndpi").write_bytes(bytes(100))
    (tmp_path / "a.czi").write_bytes(b"ZISRAWFILE" + bytes(100))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    for name, extra in (("a.ndpi", "openslide"), ("a.czi", "czi")):
        with pytest.raises(ImageError, match=rf'pip install "napari-amvlm\[{extra}\]"'):
            open_images(tmp_path / name)
