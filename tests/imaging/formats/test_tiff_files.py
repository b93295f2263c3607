import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_amvlm.errors import ImageError
from napari_amvlm.imaging import open_images, read_image, read_mask

RANDOM = np.random.default_rng(0)
GRAY = RANDOM.integers(0, 256, (20, 30), np.uint8)
COLOUR = RANDOM.integers(0, 256, (20, 30, 3), np.uint8)
GRAY16 = RANDOM.integers(0, 65536, (20, 30), np.uint16)
COLOUR16 = RANDOM.integers(0, 65536, (20, 30, 3), np.uint16)


def _tiff(path, pixels, **options):
    tifffile.imwrite(path, pixels, **options)
    return path


def _header(path, width, height):
    """Write a TIFF file that declares a size, followed by a hundred bytes of pixels."""
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: 100}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    path.write_bytes(
        b"II*\0" + struct.pack("<I", 108) + b"\0" * 100 + struct.pack("<H", len(tags)) + entries + b"\0" * 4
    )
    return path


@pytest.mark.parametrize(
    "dtype", [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.float16, np.float32, np.float64]
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_gray_of_every_type_is_exact_and_native(tmp_path, dtype, order):
    pixels = (GRAY // 2).astype(dtype)

    read = read_image(_tiff(tmp_path / "a.tif", pixels, byteorder=order))

    assert read.data.dtype == np.dtype(dtype)
    assert read.data.dtype.isnative
    assert not read.rgb
    np.testing.assert_array_equal(read.data, pixels)


@pytest.mark.parametrize(
    ("pixels", "options", "expected"),
    [
        pytest.param(COLOUR, {"photometric": "rgb"}, COLOUR, id="rgb"),
        pytest.param(COLOUR16, {"photometric": "rgb"}, COLOUR16, id="rgb 16 bit"),
        pytest.param(
            COLOUR.transpose(2, 0, 1), {"photometric": "rgb", "planarconfig": "separate"}, COLOUR, id="planes apart"
        ),
        pytest.param(
            np.dstack([COLOUR, GRAY]), {"photometric": "rgb", "extrasamples": ["unassalpha"]}, COLOUR, id="alpha"
        ),
        pytest.param(
            np.dstack([GRAY, GRAY[::-1]]),
            {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": ["unassalpha"]},
            GRAY,
            id="gray and alpha",
        ),
        pytest.param(COLOUR, {"photometric": "rgb", "tile": (16, 16), "compression": "zlib"}, COLOUR, id="tiled"),
        pytest.param(GRAY16, {"compression": "zlib"}, GRAY16, id="deflate"),
        pytest.param(GRAY16, {"bigtiff": True}, GRAY16, id="bigtiff"),
        pytest.param(GRAY, {"photometric": "miniswhite"}, 255 - GRAY, id="0 is white"),
        pytest.param(GRAY16, {"photometric": "miniswhite"}, 65535 - GRAY16, id="0 is white, 16 bit"),
        pytest.param(GRAY > 99, {"photometric": "minisblack"}, (GRAY > 99) * np.uint8(255), id="1 bit"),
        pytest.param(GRAY > 99, {"photometric": "miniswhite"}, (GRAY <= 99) * np.uint8(255), id="1 bit, 0 is white"),
        pytest.param(GRAY[None], {"imagej": True, "metadata": {"axes": "ZYX"}}, GRAY, id="stack of one"),
        pytest.param(
            COLOUR.transpose(2, 0, 1), {"ome": True, "metadata": {"axes": "CYX"}}, COLOUR, id="three channels"
        ),
        pytest.param(GRAY16, {"ome": True}, GRAY16, id="ome"),
    ],
)
def test_layouts_give_the_exact_picture(tmp_path, pixels, options, expected):
    read = read_image(_tiff(tmp_path / "a.tif", pixels, **options))

    assert read.data.dtype == expected.dtype
    assert read.rgb == (expected.ndim == 3)
    np.testing.assert_array_equal(read.data, expected)


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate"])
@pytest.mark.parametrize("pixels", [GRAY, COLOUR, GRAY16, GRAY.astype(np.float32)], ids=["L", "RGB", "I;16", "F"])
def test_common_compressions_are_exact(tmp_path, compression, pixels):
    Image.fromarray(pixels).save(tmp_path / "a.tif", compression=compression)

    read = read_image(tmp_path / "a.tif").data

    assert read.dtype == pixels.dtype
    np.testing.assert_array_equal(read, pixels)


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_a_palette_gives_colours_as_an_image_and_indices_as_a_mask(tmp_path, compression):
    image = Image.fromarray(COLOUR).quantize(16)
    image.save(tmp_path / "a.tif", compression=compression)

    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").data, np.array(image.convert("RGB")))
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif"), np.array(image))


def test_jpeg_and_cmyk_in_tiff_give_colours(tmp_path):
    smooth = np.dstack([np.add.outer(np.arange(20), np.arange(30)).astype(np.uint8) * step for step in (1, 2, 4)])
    Image.fromarray(smooth).save(tmp_path / "j.tif", compression="jpeg")
    Image.fromarray(smooth).convert("CMYK").save(tmp_path / "c.tif")

    for name in ("j.tif", "c.tif"):
        np.testing.assert_allclose(read_image(tmp_path / name).data.astype(int), smooth, atol=30)


def test_the_full_resolution_of_a_pyramid_is_read(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(GRAY, subifds=1)
        file.write(GRAY[::2, ::2], subfiletype=1)

    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").data, GRAY)


@pytest.mark.parametrize(
    ("pixels", "options", "said"),
    [
        pytest.param(
            np.dstack([GRAY, GRAY]),
            {"photometric": "minisblack", "planarconfig": "contig"},
            "it has 2 channels, Y20xX30xS2; choose one",
            id="2 samples",
        ),
        pytest.param(
            np.stack([GRAY, GRAY]),
            {"imagej": True, "metadata": {"axes": "CYX"}},
            "it has 2 channels, C2xY20xX30; choose one",
            id="2 channels",
        ),
        pytest.param(
            np.stack([GRAY16] * 5), {"ome": True, "metadata": {"axes": "CYX"}}, "has 5 channels, C5", id="5 channels"
        ),
        pytest.param(
            np.stack([GRAY] * 4), {"imagej": True, "metadata": {"axes": "ZYX"}}, "a stack, Z4xY20xX30", id="z"
        ),
        pytest.param(
            np.stack([GRAY] * 4), {"imagej": True, "metadata": {"axes": "TYX"}}, "a stack, T4xY20xX30", id="time"
        ),
        pytest.param(np.stack([GRAY] * 4), {"photometric": "minisblack"}, "a stack", id="pages"),
        pytest.param(np.stack([COLOUR] * 2), {"photometric": "rgb"}, "a stack", id="colour pages"),
        pytest.param(GRAY.astype(np.complex64), {}, "complex64", id="complex"),
    ],
)
def test_what_is_not_one_gray_or_colour_image_is_refused(tmp_path, pixels, options, said):
    with pytest.raises(ImageError, match=rf"a\.tif: .*{said}"):
        read_image(_tiff(tmp_path / "a.tif", pixels, **options))


def test_an_absurd_size_is_refused_before_memory_is_taken(tmp_path):
    path = _header(tmp_path / "a.tif", 4_000_000_000, 3_000_000_000)

    with pytest.raises(ImageError, match="at most 400 million pixels, but its size is 3000000000x4000000000; cut"):
        read_image(path)


def test_more_pixels_than_the_file_can_hold_are_refused(tmp_path):
    with pytest.raises(ImageError, match="cut off, 222 bytes cannot hold all"):
        read_image(_header(tmp_path / "a.tif", 15_000, 20_000))


def test_strips_that_are_missing_are_noticed(tmp_path):
    path = _tiff(tmp_path / "a.tif", GRAY, compression="zlib", rowsperstrip=20)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags["ImageLength"].overwrite(100_000)

    with pytest.raises(ImageError, match="cut off"):
        read_image(path)


def test_no_pixels_are_refused(tmp_path):
    with pytest.raises(ImageError, match="has no pixels"):
        read_image(_header(tmp_path / "a.tif", 0, 10))


@pytest.mark.parametrize("pixels", [GRAY > 99, (GRAY > 99) * np.uint8(255)], ids=["1 bit", "8 bit"])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_masks_are_read_as_stored_however_they_are_shown(tmp_path, pixels, photometric):
    read = read_mask(_tiff(tmp_path / "a.tif", pixels, photometric=photometric))

    np.testing.assert_array_equal(read > 0, pixels > 0)


def test_a_bool_mask_survives_the_default_way_of_writing_it(tmp_path):
    np.testing.assert_array_equal(read_mask(_tiff(tmp_path / "a.tif", GRAY > 99)), GRAY > 99)


def test_a_mask_in_fax_compression_is_read_as_it_is_shown(tmp_path):
    Image.fromarray(GRAY > 99).save(tmp_path / "a.tif", compression="group4")

    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif"), GRAY > 99)


def test_a_compressed_mask_in_which_0_is_white_is_read_as_stored(tmp_path):
    image = Image.fromarray(GRAY)
    image.save(tmp_path / "a.tif", compression="tiff_lzw", tiffinfo={262: 0})
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        stored_inverted = int(file.pages[0].photometric) == 0

    assert stored_inverted
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif"), 255 - read_image(tmp_path / "a.tif").data)


@pytest.mark.parametrize("name", ["lerc", "png"])
def test_a_compression_that_is_not_known_is_named(tmp_path, name):
    path = _tiff(tmp_path / "a.tif", GRAY, compression=name)

    with pytest.raises(ImageError, match=f"a common compression, but got {name.upper()}; save it with deflate"):
        read_image(path)


def test_a_jpeg_of_twelve_bits_is_not_said_to_be_none(tmp_path):
    imagecodecs = pytest.importorskip("imagecodecs")
    path = tmp_path / "a.jpg"
    path.write_bytes(imagecodecs.jpeg8_encode(GRAY16 >> 4, bitspersample=12))

    with pytest.raises(ImageError, match="this kind of JPEG is not read, or the file is damaged"):
        read_image(path)


@pytest.mark.parametrize(
    ("compression", "photometric", "is_transformed"),
    [(33003, "rgb", False), (33003, "rgb", True), (33005, "rgb", True), (34712, "ycbcr", False), (34712, "rgb", False)],
)
def test_jpeg_2000_has_its_colours_whatever_it_was_stored_as(tmp_path, compression, photometric, is_transformed):
    imagecodecs = pytest.importorskip("imagecodecs")
    colours = np.empty((64, 128, 3), np.uint8)
    colours[:32], colours[32:] = (40, 150, 220), (200, 60, 120)
    as_ycbcr = not is_transformed and (compression == 33003 or photometric == "ycbcr")
    stored = np.asarray(Image.fromarray(colours).convert("YCbCr")) if as_ycbcr else colours
    tiles = [
        imagecodecs.jpeg2k_encode(stored[:, x : x + 64].copy(), codecformat="J2K", mct=is_transformed, reversible=True)
        for x in (0, 64)
    ]
    options = {"shape": colours.shape, "dtype": np.uint8, "tile": (64, 64), "photometric": photometric}
    tifffile.imwrite(tmp_path / "a.tif", iter(tiles), compression=compression, **options)

    for pixels in (read_image(tmp_path / "a.tif").data, open_images(tmp_path / "a.tif")[0].data):
        assert np.abs(np.asarray(pixels).astype(int) - colours).max() <= 2
