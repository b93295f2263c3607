"""Channels: which files have them, how one is chosen, and the composite."""

import numpy as np
import pytest
import tifffile

from napari_amvlm.errors import ImageError
from napari_amvlm.imaging import choose_channel, open_images, read_image, to_rgb01

RANDOM = np.random.default_rng(0)
DIM = RANDOM.integers(100, 300, (64, 80), np.uint16)
BRIGHT = RANDOM.integers(30000, 60000, (64, 80), np.uint16)
THREE = np.stack([DIM, BRIGHT, BRIGHT // 3])
NAMES = ["DAPI", "actin", "tubulin"]
EIGHT = (THREE >> 8).astype(np.uint8)


@pytest.mark.parametrize(
    ("pixels", "how", "channels"),
    [
        pytest.param(THREE, {"imagej": True, "metadata": {"axes": "CYX", "Labels": NAMES}}, True, id="imagej"),
        pytest.param(EIGHT, {"imagej": True, "metadata": {"axes": "CYX"}}, True, id="imagej of 8 bits"),
        pytest.param(THREE, {"ome": True, "metadata": {"axes": "CYX"}}, True, id="ome"),
        pytest.param(EIGHT, {"ome": True, "metadata": {"axes": "CYX", "Channel": {"Name": NAMES}}}, True, id="named"),
        pytest.param(EIGHT, {"ome": True, "metadata": {"axes": "CYX"}}, False, id="ome of 8 bits"),
        pytest.param(THREE.astype(np.float32), {"metadata": {"axes": "CYX"}}, True, id="real numbers"),
        pytest.param(THREE.transpose(1, 2, 0), {"photometric": "rgb"}, False, id="the file says RGB"),
        pytest.param(THREE, {"photometric": "rgb", "planarconfig": "separate"}, False, id="RGB in planes"),
        pytest.param(
            THREE.transpose(1, 2, 0), {"photometric": "minisblack", "planarconfig": "contig"}, True, id="samples"
        ),
    ],
)
def test_three_channels_are_colours_only_where_the_file_says_so(tmp_path, pixels, how, channels):
    tifffile.imwrite(tmp_path / "a.tif", pixels, **how)

    (image,) = open_images(tmp_path / "a.tif")

    planes = pixels if pixels.shape[0] == 3 else pixels.transpose(2, 0, 1)
    assert (image.axes, image.rgb) == (("CYX", False) if channels else ("YX", True))
    np.testing.assert_array_equal(image.data, planes if channels else planes.transpose(1, 2, 0))
    if channels:
        with pytest.raises(ImageError, match=r"a\.tif: expected gray or RGB, but it has 3 channels"):
            read_image(tmp_path / "a.tif")
    else:
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif").data, image.data)


@pytest.mark.parametrize("channel", ["DAPI", " dapi", "1"])
def test_a_channel_is_chosen_by_name_or_number(tmp_path, channel):
    tifffile.imwrite(tmp_path / "a.ome.tif", THREE, metadata={"axes": "CYX", "Channel": {"Name": NAMES}})

    image = choose_channel(open_images(tmp_path / "a.ome.tif")[0], channel)

    np.testing.assert_array_equal(image.data, DIM)
    assert (image.axes, image.name) == ("YX", "a DAPI")


@pytest.mark.parametrize("channel", ["GFP", "0", "4", ""])
def test_a_channel_that_is_not_there_is_refused_with_those_that_are(tmp_path, channel):
    tifffile.imwrite(tmp_path / "a.ome.tif", THREE, metadata={"axes": "CYX", "Channel": {"Name": NAMES}})

    with pytest.raises(ImageError, match="choose one of 1 DAPI, 2 actin, 3 tubulin, or composite"):
        choose_channel(open_images(tmp_path / "a.ome.tif")[0], channel)


def test_an_image_without_channels_has_none_to_choose(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", DIM)

    with pytest.raises(ImageError, match="has no channels to choose from"):
        choose_channel(open_images(tmp_path / "a.tif")[0], "1")


@pytest.mark.parametrize("axes", ["CYX", "ZCYX"])
def test_a_composite_shows_each_channel_stretched_by_itself(tmp_path, axes):
    pixels = THREE if axes == "CYX" else np.stack([THREE, THREE[:, ::-1]])
    tifffile.imwrite(tmp_path / "a.tif", pixels, metadata={"axes": axes})

    image = choose_channel(open_images(tmp_path / "a.tif")[0], "composite")

    plane = image.data if axes == "CYX" else image.data[0]
    assert (image.rgb, image.axes, image.data.dtype) == (True, axes.replace("C", ""), np.uint8)
    for number in range(3):
        expected = 255 * to_rgb01(THREE[number])[..., 0]
        assert np.abs(plane[..., number] - expected).max() <= 1


def test_two_channels_are_green_and_magenta(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", THREE[:2], imagej=True, metadata={"axes": "CYX"})

    image = choose_channel(open_images(tmp_path / "a.tif")[0], "composite")

    np.testing.assert_array_equal(image.data[..., 0], image.data[..., 2])
    assert image.data[..., 1].max() == image.data[..., 0].max() == 255
