"""PNG and JPEG files, masks, and files that cannot be read; TIFF layouts are in test_tiff_files."""

import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_amvlm.errors import ImageError, LabelsError
from napari_amvlm.imaging import read_image, read_mask

RANDOM = np.random.default_rng(0)
GRAY = RANDOM.integers(0, 256, (20, 30), np.uint8)
COLOUR = RANDOM.integers(0, 256, (20, 30, 3), np.uint8)
GRAY16 = RANDOM.integers(0, 65536, (20, 30), np.uint16)
COLOUR16 = RANDOM.integers(0, 65536, (20, 30, 3), np.uint16)
LABELS = (GRAY % 4).astype(np.uint8)


def _chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _png(path, size, bits, colour, rows):
    """Write a PNG file by its parts, for what Pillow does not write; `size` is height and width."""
    header = struct.pack(">IIBBBBB", size[1], size[0], bits, colour, 0, 0, 0)
    body = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def _png16(path, pixels, colour):
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return _png(path, pixels.shape[:2], 16, colour, rows)


def _saved(path, image, **options):
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        pytest.param(Image.fromarray(GRAY), GRAY, id="L"),
        pytest.param(Image.fromarray(COLOUR), COLOUR, id="RGB"),
        pytest.param(Image.fromarray(np.dstack([COLOUR, GRAY])), COLOUR, id="RGBA"),
        pytest.param(Image.merge("LA", [Image.fromarray(GRAY)] * 2), GRAY, id="LA"),
        pytest.param(Image.fromarray(GRAY > 99), (GRAY > 99) * np.uint8(255), id="1"),
        pytest.param(Image.fromarray(GRAY16), GRAY16, id="I;16"),
    ],
)
def test_png_modes_give_their_exact_pixels(tmp_path, image, expected):
    read = read_image(_saved(tmp_path / "a.png", image))

    assert read.data.dtype == expected.dtype
    np.testing.assert_array_equal(read.data, expected)
    assert read.rgb == (expected.ndim == 3)
    assert (read.name, read.path) == ("a", tmp_path / "a.png")


@pytest.mark.parametrize(
    ("pixels", "colour", "expected"),
    [
        pytest.param(COLOUR16, 2, COLOUR16, id="RGB"),
        pytest.param(np.dstack([COLOUR16, GRAY16]), 6, COLOUR16, id="RGBA"),
        pytest.param(np.dstack([GRAY16, GRAY16[::-1]]), 4, GRAY16, id="LA"),
        pytest.param(GRAY16, 0, GRAY16, id="L"),
    ],
)
def test_16_bit_png_keeps_all_its_bits(tmp_path, pixels, colour, expected):
    read = read_image(_png16(tmp_path / "a.png", pixels, colour)).data

    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, expected)


@pytest.mark.parametrize("options", [{}, {"transparency": 3}])
def test_a_palette_gives_its_colours(tmp_path, options):
    image = Image.fromarray(COLOUR).quantize(16)

    read = read_image(_saved(tmp_path / "a.png", image, **options))

    np.testing.assert_array_equal(read.data, np.array(image.convert("RGB")))


def test_a_palette_of_grays_gives_a_gray_image(tmp_path):
    image = Image.fromarray(LABELS)
    image.putpalette([level for gray in (0, 80, 160, 255) for level in (gray, gray, gray)])

    read = read_image(_saved(tmp_path / "a.png", image))

    assert not read.rgb
    np.testing.assert_array_equal(read.data, np.array([0, 80, 160, 255])[LABELS])


@pytest.mark.parametrize(("mode", "rgb"), [("L", False), ("RGB", True), ("CMYK", True)])
def test_jpeg_modes_are_read(tmp_path, mode, rgb):
    smooth = np.add.outer(np.arange(20), np.arange(30)).astype(np.uint8) * 4
    image = Image.fromarray(smooth).convert("RGB").convert(mode)

    read = read_image(_saved(tmp_path / "a.jpg", image, quality=95))

    assert read.rgb is rgb
    plane = read.data[..., 0] if rgb else read.data
    np.testing.assert_allclose(plane.astype(int), smooth, atol=10)


def test_what_counts_is_the_content_not_the_ending(tmp_path):
    path = _saved(tmp_path / "a.tif", GRAY, format="PNG")

    np.testing.assert_array_equal(read_image(str(path)).data, GRAY)


def test_an_image_of_one_pixel_can_be_read(tmp_path):
    assert read_image(_saved(tmp_path / "a.png", GRAY[:1, :1])).data.shape == (1, 1)


def test_nan_and_infinity_are_kept_as_they_are(tmp_path):
    image = np.array([[np.nan, np.inf], [1.5, -np.inf]], np.float32)
    tifffile.imwrite(tmp_path / "a.tif", image)

    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").data, image)


@pytest.mark.parametrize(
    ("name", "content"), [("a.png", b""), ("a.tif", b""), ("a.jpg", b"hello"), ("a.tif", b"II*\0")]
)
def test_a_file_that_is_no_image_is_refused_by_name(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(ImageError, match=name) as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(ImageError, match=r"nowhere\.png cannot be opened \(No such file"):
        read_image(tmp_path / "nowhere.png")
    with pytest.raises(ImageError, match="cannot be opened"):
        read_image(tmp_path)


@pytest.mark.parametrize("ending", ["png", "jpg", "tif"])
def test_a_file_cut_off_is_refused_and_nothing_is_printed(tmp_path, ending, capfd):
    path = _saved(tmp_path / f"a.{ending}", COLOUR)
    path.write_bytes(path.read_bytes()[:400])

    with pytest.raises(ImageError, match=r"cannot be read|cut off|none; save"):
        read_image(path)
    assert capfd.readouterr() == ("", "")


def test_other_formats_are_refused(tmp_path):
    with pytest.raises(ImageError, match="expected a PNG, JPEG or TIFF image"):
        read_image(_saved(tmp_path / "a.bmp", GRAY))


def test_an_animation_is_refused(tmp_path):
    frames = [Image.fromarray(255 - GRAY)]

    with pytest.raises(ImageError, match="a stack of 2"):
        read_image(_saved(tmp_path / "a.png", GRAY, save_all=True, append_images=frames))


@pytest.mark.parametrize("size", [(100_000, 100_000), (2**31 - 1, 2**31 - 1)])
def test_a_png_of_absurd_size_is_refused(tmp_path, size):
    path = _png(tmp_path / "a.png", size, 8, 0, b"")

    with pytest.raises(ImageError, match="million pixels"):
        read_image(path)


def test_damage_anywhere_ends_in_a_clear_error_or_an_image(tmp_path):
    random = np.random.default_rng(1)
    tifffile.imwrite(tmp_path / "t.tif", COLOUR, photometric="rgb", compression="zlib")
    tifffile.imwrite(tmp_path / "i.tif", GRAY, imagej=True)
    _saved(tmp_path / "p.png", COLOUR)
    _saved(tmp_path / "j.jpg", COLOUR)
    messages = []
    for path in sorted(tmp_path.iterdir()):
        intact = path.read_bytes()
        for _ in range(60):
            damaged = bytearray(intact)
            for position in random.integers(0, min(len(intact), 400), 3):
                damaged[position] = random.integers(256)
            path.write_bytes(damaged)
            try:
                pixels = read_image(path).data
            except ImageError as error:
                messages.append(str(error))
            else:
                assert pixels.ndim in (2, 3)
    assert len(messages) > 60
    assert all(str(tmp_path) in message and "\n" not in message for message in messages)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_labels_keep_their_values(tmp_path, dtype):
    labels = (GRAY16 % (np.iinfo(dtype).max - 1)).astype(dtype)

    read = read_mask(_saved(tmp_path / "a.png", labels), (20, 30))

    assert read.dtype == dtype
    np.testing.assert_array_equal(read, labels)


def test_palette_indices_are_the_labels(tmp_path):
    image = Image.fromarray(LABELS)
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])

    np.testing.assert_array_equal(read_mask(_saved(tmp_path / "a.png", image)), LABELS)


def test_a_1_bit_mask_is_0_and_1(tmp_path):
    read = read_mask(_saved(tmp_path / "a.png", LABELS > 0))

    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, LABELS > 0)


@pytest.mark.parametrize("bits", [2, 4])
def test_gray_labels_of_few_bits_are_as_they_are_stored(tmp_path, bits):
    per_byte = 8 // bits
    stored = np.arange(20 * 8 * per_byte).reshape(20, -1).astype(np.uint8) % 2**bits
    packed = sum(stored[:, place::per_byte] << (8 - bits * (place + 1)) for place in range(per_byte)).astype(np.uint8)
    path = _png(tmp_path / "a.png", stored.shape, bits, 0, b"".join(b"\0" + row.tobytes() for row in packed))

    np.testing.assert_array_equal(read_mask(path), stored)
    np.testing.assert_array_equal(read_image(path).data, stored * (255 // (2**bits - 1)))


def test_a_mask_in_three_equal_channels_is_one(tmp_path):
    np.testing.assert_array_equal(read_mask(_saved(tmp_path / "a.png", np.dstack([LABELS] * 3))), LABELS)


@pytest.mark.parametrize("name", ["gray.png", "colours.png", "gray.tif", "colours.tif"])
def test_a_mask_that_was_drawn_on_nothing_is_no_mask_by_its_values(tmp_path, name):
    """White that is transparent around the drawing, and black on nothing; labels on black are read as they are."""
    alpha = np.where(LABELS > 0, np.uint8(255), np.uint8(0))
    corner = np.full(LABELS.shape, 255, np.uint8)
    corner[LABELS == 0] = np.where(np.arange(np.count_nonzero(LABELS == 0)) < 5, 0, 255)
    white, black, path = np.full_like(LABELS, 255), np.zeros_like(LABELS), tmp_path / name
    channels = 3 if name.startswith("colours") else 1

    def write(values, opacity):
        pixels = np.dstack([values] * channels + [opacity])
        if path.suffix == ".png":
            Image.fromarray(pixels).save(path)
        else:
            photometric = "rgb" if channels == 3 else "minisblack"
            tifffile.imwrite(path, pixels, photometric=photometric, extrasamples=["unassalpha"])

    for values in (white, black):
        write(values, alpha)
        with pytest.raises(ImageError, match="without transparency"):
            read_mask(path)
    for values, opacity in ((LABELS, alpha), (LABELS, corner), (LABELS, black), (black, black), (black, white)):
        write(values, opacity)
        np.testing.assert_array_equal(read_mask(path), values)


def test_a_colour_picture_is_no_mask(tmp_path):
    with pytest.raises(LabelsError, match=r"a\.png: expected a mask.*colour picture"):
        read_mask(_saved(tmp_path / "a.png", COLOUR))


def test_the_blur_of_jpeg_is_not_taken_for_labels(tmp_path):
    mask = np.zeros((64, 64), np.uint8)
    mask[17:45, 22:50] = 255

    read = read_mask(_saved(tmp_path / "a.jpg", mask, quality=80))

    assert set(np.unique(read)) == {0, 255}
    assert ((read > 0) != (mask > 0)).mean() < 0.005


def test_a_mask_of_another_shape_is_refused(tmp_path):
    path = _saved(tmp_path / "a.png", LABELS)

    with pytest.raises(LabelsError, match=r"a\.png: expected a mask of 30x20 pixels like its image, but got 20x30"):
        read_mask(path, (30, 20))


def test_the_shape_of_a_colour_image_will_do(tmp_path):
    assert read_mask(_saved(tmp_path / "a.png", LABELS), COLOUR.shape).shape == (20, 30)


def test_whole_numbers_in_floats_are_labels(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", LABELS.astype(np.float32))

    read = read_mask(tmp_path / "a.tif")

    assert read.dtype == np.int32
    np.testing.assert_array_equal(read, LABELS)


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf, 1e12])
def test_a_probability_map_is_no_mask(tmp_path, value):
    tifffile.imwrite(tmp_path / "a.tif", np.full((20, 30), value, np.float32))

    with pytest.raises(LabelsError, match="whole numbers"):
        read_mask(tmp_path / "a.tif")


def test_a_mask_of_ones_in_jpeg_is_refused_and_an_empty_one_is_empty(tmp_path):
    mask = np.zeros((40, 48), np.uint8)
    assert not read_mask(_saved(tmp_path / "empty.jpg", mask)).any()
    mask[8:30, 8:30] = 1

    with pytest.raises(LabelsError, match=r"its highest is [12]; save the mask as PNG"):
        read_mask(_saved(tmp_path / "a.jpg", mask, quality=95))
