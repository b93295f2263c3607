"""Pixels upright as every viewer shows them, by the tag Orientation of EXIF and TIFF; masks likewise."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_amvlm.imaging import open_images, read_mask

RANDOM = np.random.default_rng(0)
GRAY = RANDOM.integers(0, 255, (24, 40), np.uint8)
LARGE = RANDOM.integers(0, 255, (128, 192, 3), np.uint8)

_UPRIGHT = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: np.rot90,
}
"""How pixels are turned for each value of the tag, in the words of EXIF."""

ORIENTATIONS = pytest.mark.parametrize("tag", _UPRIGHT)


def _tiff(path, pixels, tag, **how):
    tifffile.imwrite(path, pixels, extratags=[(274, 3, 1, tag, True)], **({"photometric": "minisblack"} | how))
    return path


def _png(path, pixels, tag, **how):
    exif = Image.Exif()
    exif[274] = tag
    Image.fromarray(pixels).save(path, exif=exif, **how)
    return path


@ORIENTATIONS
def test_a_plane_and_its_mask_are_upright(tmp_path, tag):
    blocks = np.kron(GRAY[:3, :5] > 127, np.ones((8, 8))).astype(np.uint8) * 255
    files = [
        _png(tmp_path / "a.png", GRAY, tag),
        _tiff(tmp_path / "a.tif", GRAY, tag),
        _tiff(tmp_path / "b.tif", GRAY, tag, compression="lzw"),
    ]

    for path in files:
        np.testing.assert_array_equal(open_images(path)[0].data, _UPRIGHT[tag](GRAY))
        np.testing.assert_array_equal(read_mask(path), _UPRIGHT[tag](GRAY))
    jpeg = _png(tmp_path / "a.jpg", blocks, tag, quality=95)
    np.testing.assert_array_equal(read_mask(jpeg), _UPRIGHT[tag](blocks))


@ORIENTATIONS
def test_stacks_channels_and_pyramids_are_upright(tmp_path, tag):
    stack = np.stack([GRAY, GRAY[::-1]])
    expected = np.stack([_UPRIGHT[tag](plane) for plane in stack])
    with tifffile.TiffWriter(tmp_path / "levels.tif") as file:
        how = {"photometric": "rgb", "tile": (64, 64), "extratags": [(274, 3, 1, tag, True)]}
        file.write(LARGE, subifds=1, **how)
        file.write(LARGE[::2, ::2], subfiletype=1, **how)

    pages = open_images(_tiff(tmp_path / "a.tif", stack, tag))[0]
    channels = open_images(_tiff(tmp_path / "b.tif", stack, tag, metadata={"axes": "CYX"}))[0]
    levels = open_images(tmp_path / "levels.tif")[0].levels

    np.testing.assert_array_equal(pages.data, expected)
    np.testing.assert_array_equal(channels.data, expected)
    np.testing.assert_array_equal(np.asarray(levels[0]), _UPRIGHT[tag](LARGE))
    np.testing.assert_array_equal(np.asarray(levels[1]), _UPRIGHT[tag](LARGE[::2, ::2]))


@pytest.mark.parametrize(("tag", "scale"), [(1, (0.5, 1.0)), (3, (0.5, 1.0)), (6, (1.0, 0.5)), (8, (1.0, 0.5))])
@pytest.mark.parametrize("pixels", [GRAY, np.stack([GRAY] * 2)], ids=["plane", "stack"])
def test_the_pixel_size_turns_with_the_pixels(tmp_path, tag, scale, pixels):
    how = {"resolution": (10_000, 20_000), "resolutionunit": "CENTIMETER"}

    (image,) = open_images(_tiff(tmp_path / "a.tif", pixels, tag, **how))

    assert image.scale[-2:] == pytest.approx(scale)
