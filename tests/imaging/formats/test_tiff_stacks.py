"""TIFF pyramids, slides and stacks as one description, read where they are looked at."""

import struct
import warnings

import dask.array as da
import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_amvlm.errors import ImageError
from napari_amvlm.imaging import open_images, read_image
from napari_amvlm.imaging.formats.limits import MAX_CHUNK_BYTES

RANDOM = np.random.default_rng(0)
# Smooth, so that JPEG keeps it.
RAMP = np.add.outer(np.arange(256), np.arange(320)) / 3
COLOUR = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], axis=-1).astype(np.uint8)
GRAY = COLOUR[..., 0].copy()
VOLUME = RANDOM.integers(0, 60000, (3, 2, 4, 128, 160), np.uint16)
TILED = {"photometric": "rgb", "tile": (64, 64)}
GRAYS = {"photometric": "minisblack"}
APERIO = "Aperio Image Library v11.2.1 \r\n320x256 (64x64) JPEG/RGB Q=70|AppMag = 20|MPP = 0.4990"


def _write(path, *pages, **options):
    with tifffile.TiffWriter(path, **options) as file:
        for pixels, how in pages:
            file.write(pixels, **how)
    return path


def _one(path):
    (image,) = open_images(path)
    return image


def _sub_ifds(path, **how):
    smaller = TILED | how | {"subfiletype": 1}
    return _write(
        path,
        (COLOUR, TILED | how | {"subifds": 2}),
        (COLOUR[::2, ::2], smaller),
        (COLOUR[::4, ::4], smaller),
    )


def _reduced_pages(path, **how):
    return _write(path, (COLOUR, TILED | how), *((COLOUR[::n, ::n], TILED | how | {"subfiletype": 1}) for n in (2, 4)))


def _bare_pages(path, **how):
    return _write(path, *((COLOUR[::n, ::n], TILED | how) for n in (1, 2, 4)))


def _ome_levels(path, **how):
    smaller = TILED | how | {"subfiletype": 1}
    first = TILED | how | {"subifds": 2, "metadata": {"axes": "YXS"}}
    return _write(path, (COLOUR, first), (COLOUR[::2, ::2], smaller), (COLOUR[::4, ::4], smaller), ome=True)


@pytest.mark.parametrize("write", [_sub_ifds, _reduced_pages, _bare_pages, _ome_levels])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "jpeg", "jpeg2000"])
def test_every_kind_of_pyramid_gives_its_levels(tmp_path, write, compression):
    image = _one(write(tmp_path / "a.tif", compression=compression))

    assert (image.axes, image.rgb) == ("YX", True)
    assert [level.shape for level in image.levels] == [(256, 320, 3), (128, 160, 3), (64, 80, 3)]
    assert all(isinstance(level, da.Array) for level in image.levels)
    for level, step in zip(image.levels, (1, 2, 4), strict=True):
        np.testing.assert_allclose(
            level.compute().astype(int), COLOUR[::step, ::step], atol=40 if compression == "jpeg" else 0
        )


def test_a_slide_has_its_levels_and_pixel_size_but_not_its_label(tmp_path):
    slide = TILED | {"compression": "jpeg", "description": APERIO, "metadata": None}
    flat = {"photometric": "rgb", "metadata": None, "description": APERIO}
    label = flat | {"subfiletype": 1, "description": "Aperio Image Library v11.2.1 \r\nlabel 60x60"}
    levels = [(COLOUR, slide), (COLOUR[::8, ::8], flat), (COLOUR[::4, ::4], slide)]
    path = _write(tmp_path / "a.svs", *levels, (COLOUR[:60, :60], label))

    image = _one(path)

    assert image.name == "a"
    assert [level.shape for level in image.levels] == [(256, 320, 3), (64, 80, 3)]
    assert image.scale == (0.499, 0.499)
    assert image.units == ("micrometer", "micrometer")


def test_a_pyramid_can_also_be_read_as_one_plane(tmp_path):
    read = read_image(_sub_ifds(tmp_path / "a.tif", compression="zlib"))

    np.testing.assert_array_equal(read.data, COLOUR)


def test_a_thumbnail_before_the_image_is_left_out(tmp_path):
    small = GRAY[::8, ::8]
    path = _write(tmp_path / "a.tif", (small, GRAYS | {"subfiletype": 1}), (GRAY, GRAYS))

    np.testing.assert_array_equal(_one(path).data, GRAY)
    np.testing.assert_array_equal(read_image(path).data, GRAY)


def test_a_larger_image_behind_the_first_is_told(tmp_path):
    path = _write(tmp_path / "a.tif", (GRAY[::8, ::8], GRAYS), (GRAY, GRAYS))

    with pytest.warns(UserWarning, match=r"a\.tif holds a larger image behind its first one"):
        _one(path)


def test_another_image_as_large_behind_the_first_is_told(tmp_path):
    path = _write(tmp_path / "a.tif", (COLOUR, {"photometric": "rgb"}), (COLOUR[..., 0], GRAYS))

    with pytest.warns(UserWarning, match=r"a\.tif holds another image behind its first one"):
        np.testing.assert_array_equal(_one(path).data, COLOUR)


@pytest.mark.parametrize("how", [GRAYS, {"photometric": "rgb", "planarconfig": "separate", "compression": "zlib"}])
def test_planes_that_were_written_in_a_loop_are_a_stack(tmp_path, how):
    shape = (4, 40, 30) if how is GRAYS else (4, 3, 40, 30)
    planes = np.random.default_rng(3).integers(0, 255, shape, np.uint8)
    path = tmp_path / "a.tif"
    for plane in planes:
        tifffile.imwrite(path, plane, append=path.exists(), **how)

    image = _one(path)

    assert (image.axes, image.rgb) == ("QYX", how is not GRAYS)
    np.testing.assert_array_equal(image.data, planes if how is GRAYS else planes.transpose(0, 2, 3, 1))
    with pytest.raises(ImageError, match=r"a\.tif: expected one image, but it is a stack"):
        read_image(path)


@pytest.mark.parametrize("colours", [True, False])
def test_tiles_that_are_not_stored_are_glass_in_colours_and_0_in_gray(tmp_path, colours):
    tile = np.full((32, 32, 3) if colours else (32, 32), 100, np.uint8)
    how = {"dtype": np.uint8, "tile": (32, 32), "photometric": "rgb" if colours else "minisblack"}
    shape = (32, 64, *tile.shape[2:])
    with tifffile.TiffWriter(tmp_path / "slide.tif") as file:
        file.write(iter([tile, None]), shape=shape, subifds=1, compression="zlib", **how)
        file.write(np.full((16, *tile.shape[1:]), 100, np.uint8), subfiletype=1, **how)
    tifffile.imwrite(tmp_path / "plane.tif", iter([tile, None]), shape=shape, **how)

    for name in ("slide", "plane"):
        read = np.asarray(_one(tmp_path / f"{name}.tif").data)
        assert (np.unique(read[:, :32]).tolist(), np.unique(read[:, 32:]).tolist()) == ([100], [255 if colours else 0])


def test_two_gray_values_in_a_pixel_are_channels_or_alpha(tmp_path):
    pixels = np.stack([GRAY, GRAY[::-1]], axis=-1).astype(np.uint8)
    for title, extra in (("channels", "unspecified"), ("alpha", "unassalpha")):
        how = {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": [extra]}
        tifffile.imwrite(tmp_path / f"{title}.tif", pixels, **how)

    stack = _write(tmp_path / "a.tif", (np.stack([pixels] * 3), GRAYS | {"planarconfig": "contig"}))

    channels, alpha = _one(tmp_path / "channels.tif"), _one(tmp_path / "alpha.tif")

    assert (channels.axes, alpha.axes, _one(stack).size) == ("CYX", "YX", "Q3xC2xY{}xX{}".format(*GRAY.shape))
    np.testing.assert_array_equal(channels.data, pixels.transpose(2, 0, 1))
    np.testing.assert_array_equal(alpha.data, pixels[..., 0])


def test_images_of_ome_tiff_behind_the_one_that_is_read_are_told(tmp_path):
    for name, second in (("a", GRAY[::-1]), ("b", GRAY[::8, ::8])):
        with tifffile.TiffWriter(tmp_path / f"{name}.ome.tif") as file:
            for pixels in (GRAY, second):
                file.write(pixels, metadata={"axes": "YX"}, **GRAYS)

    with pytest.warns(UserWarning, match=r"a\.ome\.tif holds another image behind its first one"):
        np.testing.assert_array_equal(read_image(tmp_path / "a.ome.tif").data, GRAY)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_image(tmp_path / "b.ome.tif")
        assert len(open_images(tmp_path / "a.ome.tif")) == 2


@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_four_gray_values_are_channels_and_no_colours(tmp_path, planes):
    values = np.stack([GRAY, GRAY[::-1], GRAY[:, ::-1], GRAY // 2])
    how = GRAYS | {"planarconfig": planes, "metadata": None}
    path = _write(tmp_path / "a.tif", (values if planes == "separate" else values.transpose(1, 2, 0), how))

    image = _one(path)

    assert (image.axes, image.rgb) == ("CYX", False)
    np.testing.assert_array_equal(image.data, values)


def test_ome_gives_axes_sizes_units_and_channel_names(tmp_path):
    metadata = {
        "axes": "TZCYX",
        "PhysicalSizeX": 250,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 0.5,
        "PhysicalSizeYUnit": "µm",
        "PhysicalSizeZ": 2,
        "PhysicalSizeZUnit": "µm",
        "TimeIncrement": 1.5,
        "TimeIncrementUnit": "s",
        "Channel": {"Name": ["a", "b", "c", "d"]},
    }
    image = _one(_write(tmp_path / "cells.ome.tif", (VOLUME, GRAYS | {"metadata": metadata}), ome=True))

    assert (image.name, image.axes, image.channels) == ("cells", "TCZYX", ("a", "b", "c", "d"))
    assert image.scale == (1.5, 1, 2, 0.5, 250)
    assert image.units == ("second", "pixel", "micrometer", "micrometer", "nanometer")
    np.testing.assert_array_equal(image.data, VOLUME.transpose(0, 2, 1, 3, 4))
    np.testing.assert_array_equal(image.of_channel(2).data, VOLUME[:, :, 2])
    assert image.of_channel(2).axes == "TZYX"
    assert image.of_channel(2).name == "cells c"


def test_the_images_of_one_ome_file_are_several(tmp_path):
    pages = [(GRAY, {"metadata": {"Name": "left"}}), (COLOUR, {"photometric": "rgb", "metadata": {"Name": "right"}})]

    images = open_images(_write(tmp_path / "a.ome.tif", *pages, ome=True))

    assert [image.name for image in images] == ["a left", "a right"]
    np.testing.assert_array_equal(images[0].data, GRAY)
    np.testing.assert_array_equal(images[1].data, COLOUR)


def test_imagej_gives_axes_and_sizes(tmp_path):
    metadata = {"axes": "TZCYX", "spacing": 3, "unit": "um", "finterval": 0.5}
    how = GRAYS | {"resolution": (2, 4), "metadata": metadata}
    image = _one(_write(tmp_path / "a.tif", (VOLUME, how), imagej=True))

    assert image.axes == "TCZYX"
    assert image.scale == (0.5, 1, 3, 0.25, 0.5)
    assert image.units == ("second", "pixel", "micrometer", "micrometer", "micrometer")
    np.testing.assert_array_equal(image.data, VOLUME.transpose(0, 2, 1, 3, 4))


@pytest.mark.parametrize(
    ("unit", "pixels", "expected"),
    [
        ("CENTIMETER", 20_000, ((0.5, 0.5), "micrometer")),
        ("INCH", 50_800, ((0.5, 0.5), "micrometer")),
        ("INCH", 1200, ((1, 1), "pixel")),
        ("NONE", 20_000, ((1, 1), "pixel")),
    ],
)
def test_resolution_tags_count_only_where_they_are_no_print_size(tmp_path, unit, pixels, expected):
    path = _write(tmp_path / "a.tif", (GRAY, {"resolution": (pixels, pixels), "resolutionunit": unit}))

    for image in (read_image(path), _one(path)):
        assert image.scale == pytest.approx(expected[0])
        assert image.units == (expected[1],) * 2


@pytest.mark.parametrize(
    ("stack", "how", "expected"),
    [
        pytest.param(np.stack([GRAY] * 5), GRAYS, np.stack([GRAY] * 5), id="pages"),
        pytest.param(np.stack([GRAY] * 5), {"photometric": "miniswhite"}, 255 - np.stack([GRAY] * 5), id="0 is white"),
        pytest.param(np.stack([GRAY > 9] * 5), GRAYS, np.stack([GRAY > 9] * 5) * np.uint8(255), id="1 bit"),
        pytest.param(np.stack([COLOUR] * 2), {"photometric": "rgb"}, np.stack([COLOUR] * 2), id="colours"),
    ],
)
def test_pages_are_a_sequence(tmp_path, stack, how, expected):
    image = _one(_write(tmp_path / "a.tif", (stack, how)))

    assert len(image.axes) == 3
    assert image.data.dtype == expected.dtype
    np.testing.assert_array_equal(image.data, expected)


def test_a_sequence_of_palettes_gives_colours(tmp_path):
    palette = RANDOM.integers(0, 65536, (3, 256), np.uint16)
    pages = np.stack([GRAY] * 3)

    image = _one(_write(tmp_path / "a.tif", (pages, {"photometric": "palette", "colormap": palette})))

    assert image.rgb
    np.testing.assert_array_equal(image.data, (palette.T >> 8).astype(np.uint8)[pages])


def test_a_large_stack_in_one_block_stays_in_its_file(tmp_path):
    path = tmp_path / "a.tif"
    stack = tifffile.memmap(path, shape=(2, 13000, 12000), dtype=np.uint8, photometric="minisblack")
    stack[1, 12_999, 11_990:] = 7
    stack.flush()

    image = _one(path)

    assert isinstance(image.data, da.Array)
    np.testing.assert_array_equal(image.data[1, 12_999, 11_988:].compute(), [0, 0] + [7] * 10)
    assert [level.shape[1:] for level in image.smaller] == [(6500, 6000), (3250, 3000)]


def _tile_header(path, side, tile, offsets):
    """Write a BigTIFF of `side` squared pixels in tiles, with so many offsets, all of the same few bytes."""
    tags = [(256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, 1)]
    tags += [(322, 4, 1, tile), (323, 4, 1, tile), (324, 4, offsets, 0), (325, 4, offsets, 0)]
    start = 16 + 8 + 20 * len(tags) + 8
    body = struct.pack("<Q", len(tags))
    for tag, kind, n, value in tags:
        place = start + (offsets * 4 if tag == 325 else 0) if n > 2 else value
        body += struct.pack("<HHQQ", tag, kind, n, place)
    content = b"II+\0" + struct.pack("<HHQ", 8, 0, 16) + body + struct.pack("<Q", 0)
    path.write_bytes(content + struct.pack("<I", 16) * offsets + struct.pack("<I", 10) * offsets)
    return path


def test_a_header_of_a_terabyte_is_refused(tmp_path):
    with pytest.raises(ImageError, match=r"a\.tif is cut off, \d+ bytes cannot hold all"):
        open_images(_tile_header(tmp_path / "a.tif", 500_000, 512, 100))


def test_a_plane_that_no_scanner_makes_is_refused(tmp_path):
    with pytest.raises(ImageError, match=r"a\.tif: expected at most .* pixels in a plane.*damaged"):
        open_images(_tile_header(tmp_path / "a.tif", 4_000_000_000, 512, 100))


def test_tiles_of_absurd_size_are_refused(tmp_path):
    side = 1 << 15
    assert side * side > MAX_CHUNK_BYTES

    with pytest.raises(ImageError, match="expected pieces of at most 512 MB"):
        open_images(_tile_header(tmp_path / "a.tif", side + 1, side, 4))


def test_a_tile_that_is_damaged_is_told_where_it_is_looked_at(tmp_path):
    path = _sub_ifds(tmp_path / "a.tif", compression="zlib")
    with tifffile.TiffFile(path) as file:
        offset = file.pages[0].dataoffsets[0]
    content = bytearray(path.read_bytes())
    content[offset : offset + 20] = bytes(20)
    path.write_bytes(content)

    image = _one(path)

    with pytest.raises(ImageError, match=r"a\.tif is damaged and cannot be read"):
        image.data[:10, :10].compute()


def test_a_slide_that_was_cut_off_is_refused(tmp_path):
    path = _reduced_pages(tmp_path / "a.tif", compression="zlib")
    content = path.read_bytes()
    with tifffile.TiffFile(path) as file:
        last = file.pages[0].dataoffsets[-1]
    # The header lies before the pixels in this file, so that it is whole.
    path.write_bytes(content[: last + 5])

    with pytest.raises(ImageError, match=r"a\.tif"):
        open_images(path)


def test_a_tile_larger_than_its_file_says_is_refused_before_it_is_decoded(tmp_path):
    path = _sub_ifds(tmp_path / "a.tif", compression="jpeg")
    content = bytearray(path.read_bytes())
    place = content.find(b"\xff\xc0")
    while place >= 0:
        struct.pack_into(">HH", content, place + 5, 60_000, 60_000)
        place = content.find(b"\xff\xc0", place + 1)
    path.write_bytes(content)

    for read in (open_images, read_image):
        with pytest.raises(ImageError, match=r"a\.tif is damaged .*a tile of \(60000, 60000, 3\)"):
            read(path)


@pytest.mark.parametrize("how", [{}, {"ome": True}])
def test_pages_behind_a_cut_are_absent_and_told(tmp_path, how):
    planes = VOLUME[0, 0]
    with tifffile.TiffWriter(tmp_path / "a.tif", **how) as file:
        for plane in planes:
            file.write(plane, photometric="minisblack", contiguous=False, metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        end = file.pages[2].offset
    (tmp_path / "a.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:end])

    with pytest.warns(UserWarning, match="cut off, it ends before its last page"):
        image = _one(tmp_path / "a.tif")

    np.testing.assert_array_equal(image.data, planes[:2])


def test_a_plane_that_ends_before_its_header_is_cut_off(tmp_path):
    Image.fromarray(GRAY).save(tmp_path / "a.tif")
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content[:4] + struct.pack("<I", len(content)) + content[8:])

    with pytest.raises(ImageError, match="cut off, it ends before its first page"):
        open_images(tmp_path / "a.tif")
