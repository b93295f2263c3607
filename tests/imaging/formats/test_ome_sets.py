"""OME-TIFF sets of several files: whole, renamed, incomplete, and one file alone."""

import re
import uuid
import warnings

import numpy as np
import pytest
import tifffile

from napari_amvlm.imaging import find_sources, open_images

PLANES = np.random.default_rng(0).integers(1, 60000, (2, 3, 32, 40), np.uint16)
_HEAD = '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="{own}">'
_IMAGE = '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" '
_SIZES = 'SizeX="40" SizeY="32" SizeZ="3" SizeC="{channels}" SizeT="1">'
_DATA = '<TiffData FirstZ="{z}" FirstC="{c}" IFD="0" PlaneCount="1"><UUID FileName="{name}">{number}</UUID></TiffData>'


def _name(channel, z):
    return f"s_c{channel}_z{z}.ome.tif"


@pytest.fixture
def one_channel(tmp_path):
    return _write(tmp_path / "set", 1)


def _write(folder, channels):
    """Write a set of a file for each plane, all of which name all others."""
    folder.mkdir()
    numbers = {(c, z): f"urn:uuid:{uuid.uuid4()}" for c in range(channels) for z in range(3)}
    data = "".join(_DATA.format(z=z, c=c, name=_name(c, z), number=number) for (c, z), number in numbers.items())
    body = _IMAGE + _SIZES.format(channels=channels)
    body += "".join(f'<Channel ID="Channel:0:{c}" Name="n{c}" SamplesPerPixel="1"/>' for c in range(channels))
    for (c, z), number in numbers.items():
        xml = f"{_HEAD.format(own=number)}{body}{data}</Pixels></Image></OME>"
        tifffile.imwrite(
            folder / _name(c, z), PLANES[c, z], description=xml.encode(), metadata=None, photometric="minisblack"
        )
    return folder


@pytest.mark.parametrize("renamed", [False, True])
def test_a_set_is_one_image_from_any_of_its_files(one_channel, renamed):
    if renamed:
        for path in list(one_channel.iterdir()):
            path.rename(path.with_name(f'new & "{path.name}'))

    for path in one_channel.iterdir():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            (image,) = open_images(path)
        np.testing.assert_array_equal(image.data, PLANES[0])


def test_a_folder_of_a_set_is_one_image(one_channel):
    assert [source.name for source in find_sources([one_channel])] == ["s_c0_z0"]


def test_planes_that_are_missing_are_absent_and_named(one_channel):
    (one_channel / _name(0, 1)).unlink()

    with pytest.warns(UserWarning, match=r"of which s_c0_z1\.ome\.tif are missing: only Z 1, 3 of 3 are there"):
        (image,) = open_images(one_channel / _name(0, 2))

    np.testing.assert_array_equal(image.data, PLANES[0, [0, 2]])


def test_one_file_alone_is_its_plane(one_channel):
    for z in (0, 1):
        (one_channel / _name(0, z)).unlink()

    with pytest.warns(UserWarning, match="only Z 3 of 3 are there"):
        (image,) = open_images(one_channel / _name(0, 2))

    assert image.axes == "YX"
    np.testing.assert_array_equal(image.data, PLANES[0, 2])


def test_of_several_axes_the_one_that_loses_less_gives_way(tmp_path):
    folder = _write(tmp_path / "set", 2)
    (folder / _name(1, 2)).unlink()

    with pytest.warns(UserWarning, match="only Z 1, 2 of 3 are there"):
        (image,) = open_images(folder / _name(0, 0))

    np.testing.assert_array_equal(image.data, PLANES[:, :2])
    assert image.channels == ("n0", "n1")


def test_a_set_whose_xml_lies_beside_it(one_channel):
    files = sorted(one_channel.iterdir())
    xml = re.sub('UUID="[^"]*"', 'UUID="urn:uuid:companion"', str(tifffile.TiffFile(files[0]).ome_metadata), count=1)
    (one_channel / "s.companion.ome").write_text(xml, encoding="utf-8")
    other = '<OME><BinaryOnly MetadataFile="s.companion.ome" UUID="urn:uuid:x"/></OME>'
    for z, path in enumerate(files):
        tifffile.imwrite(path, PLANES[0, z], description=other, metadata=None, photometric="minisblack")

    (source,) = find_sources([one_channel])
    (image,) = open_images(files[1])

    np.testing.assert_array_equal(source.open()[0].data, PLANES[0])
    np.testing.assert_array_equal(image.data, PLANES[0])
