"""OME-Zarr folders written by zarr, and folders that must not be believed."""

import json
import os

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_amvlm.errors import ImageError
from napari_amvlm.imaging import open_images, read_image

VOLUME = np.random.default_rng(0).integers(0, 60000, (3, 2, 4, 64, 80), np.uint16)
COLOUR = np.random.default_rng(1).integers(0, 256, (3, 64, 80), np.uint8)
KINDS = {"t": "time", "c": "channel"}
UNITS = {"t": "second", "z": "micrometer", "y": "micrometer", "x": "nanometer"}
SIZES = {"t": 1.5, "c": 1.0, "z": 2.0, "y": 0.25, "x": 500.0}


def _write(folder, pixels, axes, version, *, omero=(), levels=2, **array):
    """Write an image with levels of every second pixel."""
    group = zarr.open_group(folder, mode="w", zarr_format=2 if version == "0.4" else 3)
    datasets = []
    for level in range(levels):
        step = 2**level
        data = pixels[..., ::step, ::step]
        stored = group.create_array(
            f"s{level}", shape=data.shape, dtype=data.dtype, chunks=(1,) * (data.ndim - 2) + (32, 32), **array
        )
        stored[...] = data
        scale = [SIZES[axis] * (step if axis in "yx" else 1) for axis in axes]
        datasets.append({"path": f"s{level}", "coordinateTransformations": [{"type": "scale", "scale": scale}]})
    described = [{"name": axis, "type": KINDS.get(axis, "space"), "unit": UNITS.get(axis, "")} for axis in axes]
    image = {"multiscales": [{"version": version, "axes": described, "datasets": datasets}]}
    if omero:
        image["omero"] = {"channels": list(omero)}
    group.attrs.update(image if version == "0.4" else {"ome": image | {"version": version}})
    return folder


def _edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def _one(path):
    (image,) = open_images(path)
    return image


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_axes_levels_sizes_and_channels(tmp_path, version):
    names = [{"label": name, "color": "FFFFFF"} for name in ("DNA", "actin")]

    image = _one(_write(tmp_path / "cells.ome.zarr", VOLUME, "tczyx", version, omero=names))

    assert (image.name, image.axes, image.rgb, image.channels) == ("cells", "TCZYX", False, ("DNA", "actin"))
    assert [level.shape for level in image.levels] == [(3, 2, 4, 64, 80), (3, 2, 4, 32, 40)]
    assert all(isinstance(level, da.Array) for level in image.levels)
    assert image.scale == (1.5, 1, 2, 0.25, 500)
    assert image.units == ("second", "pixel", "micrometer", "micrometer", "nanometer")
    np.testing.assert_array_equal(image.data, VOLUME)
    np.testing.assert_array_equal(image.of_channel(1).smaller[0], VOLUME[:, 1, :, ::2, ::2])


def test_shards_are_read(tmp_path):
    image = _one(_write(tmp_path / "a.zarr", VOLUME[0, 0], "zyx", "0.5", levels=1, shards=(2, 64, 96)))

    np.testing.assert_array_equal(image.data, VOLUME[0, 0])


@pytest.mark.parametrize("omero", [(), [{"color": color} for color in ("#FF0000", "00FF00", "0000ff")]])
def test_red_green_and_blue_are_colours(tmp_path, omero):
    path = _write(tmp_path / "a.zarr", COLOUR[:, None], "czyx", "0.4", omero=omero)

    image = _one(path)

    assert (image.axes, image.rgb) == ("YX", True)
    np.testing.assert_array_equal(image.data, COLOUR.transpose(1, 2, 0))
    np.testing.assert_array_equal(read_image(path).data, COLOUR.transpose(1, 2, 0))


def test_a_single_channel_is_shown_by_its_window(tmp_path):
    omero = [{"label": "DNA", "color": "0000FF", "window": {"start": 100, "end": 900, "min": 0, "max": 65535}}]

    assert _one(_write(tmp_path / "a.zarr", VOLUME[0, :1], "czyx", "0.5", omero=omero)).window == (100, 900)


def test_a_volume_is_no_plane(tmp_path):
    with pytest.raises(ImageError, match=r"a\.zarr: expected one image, but it is a stack, Z4xY64xX80"):
        read_image(_write(tmp_path / "a.zarr", VOLUME[0, 0], "zyx", "0.5"))


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"plate": {"wells": []}}, "it says nothing of one"),
        ({"plate": {"wells": [{"path": "../b"}]}}, "expected its levels to lie in it"),
        ({"bioformats2raw.layout": 3}, "it says nothing of one"),
        ({}, "it says nothing of one"),
        ({"multiscales": [{"version": "0.1", "datasets": []}]}, "version 0.4 or 0.5, but got '0.1'"),
    ],
)
def test_other_zarr_groups_are_refused(tmp_path, attributes, said):
    zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2).attrs.update(attributes)

    with pytest.raises(ImageError, match=rf"a\.zarr: .*{said}"):
        open_images(tmp_path / "a.zarr")


def _dtype_of_objects(array):
    array |= {"dtype": "|O", "filters": [{"id": "pickle", "protocol": 5}]}


def _pickles(array):
    array["filters"] = [{"id": "pickle", "protocol": 5}]


def _huge_pieces(array):
    array |= {"shape": [4, 10**6, 10**6], "chunks": [1, 10**6, 10**6]}


def _huge(array):
    array["shape"] = [4, 10**12, 10**12]


def _negative(array):
    array["shape"] = [4, -1, 80]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_dtype_of_objects, "an array of numbers, but it is one of '|O'"),
        (_pickles, "a compression out of .*but got 'pickle'"),
        (_huge_pieces, "pieces of at most 512 MB"),
        (_huge, "its header says"),
        (_negative, "lengths of at least 1"),
    ],
)
def test_arrays_that_must_not_be_opened(tmp_path, change, said):
    path = _write(tmp_path / "a.zarr", VOLUME[0, 0], "zyx", "0.4")
    _edit(path / "s0" / ".zarray", change)

    with pytest.raises(ImageError, match=said):
        open_images(path)


@pytest.mark.parametrize(
    "codecs", [[{"name": "numcodecs.pickle"}], [{"name": "bytes"}, {"name": "https://example.org/codec"}]]
)
def test_unknown_codecs_of_version_3_are_refused(tmp_path, codecs):
    path = _write(tmp_path / "a.zarr", VOLUME[0, 0], "zyx", "0.5")
    _edit(path / "s0" / "zarr.json", lambda array: array.update(codecs=codecs))

    with pytest.raises(ImageError, match="a compression out of"):
        open_images(path)


@pytest.mark.parametrize("away", ["../secret", "/etc", "link", 7, None])
def test_levels_never_lead_out_of_the_folder(tmp_path, away):
    _write(tmp_path / "secret", VOLUME[0, 0], "zyx", "0.4", levels=1)
    path = _write(tmp_path / "a.zarr", VOLUME[0, 0], "zyx", "0.4", levels=1)
    if away == "link":
        os.symlink(tmp_path / "secret" / "s0", path / "link")
    _edit(path / ".zattrs", lambda attributes: attributes["multiscales"][0]["datasets"][0].update(path=away))

    with pytest.raises(ImageError, match="expected its levels to lie in it"):
        open_images(path)


def test_json_of_absurd_depth_or_length_is_refused(tmp_path):
    path = _write(tmp_path / "a.zarr", VOLUME[0, 0], "zyx", "0.4")

    (path / ".zattrs").write_text('{"a":' * 100_000)
    with pytest.raises(ImageError, match="at most 64 levels of brackets"):
        open_images(path)
    (path / ".zattrs").write_text(" " * (1 << 24) + "{}")
    with pytest.raises(ImageError, match="at most 16 MB of metadata"):
        open_images(path)


def test_a_piece_that_is_damaged_is_told_where_it_is_looked_at(tmp_path):
    path = _write(tmp_path / "a.zarr", VOLUME[0, 0], "zyx", "0.5", levels=1)
    piece = path / "s0" / "c" / "0" / "0" / "0"
    piece.write_bytes(b"damage" + piece.read_bytes()[6:])

    image = _one(path)

    np.testing.assert_array_equal(image.data[1].compute(), VOLUME[0, 0, 1])
    with pytest.raises(ImageError, match=r"a\.zarr.* is damaged and cannot be read"):
        image.data[0].compute()


def test_a_converters_root_is_its_image(tmp_path):
    root = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    root.attrs["bioformats2raw.layout"] = 3
    _write(tmp_path / "a.zarr" / "0", VOLUME[0, 0], "zyx", "0.4")

    image = _one(tmp_path / "a.zarr")

    assert image.name == "a"
    np.testing.assert_array_equal(image.data, VOLUME[0, 0])


def test_an_image_within_a_group_that_says_nothing_of_it_is_found(tmp_path):
    zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2).create_group("tables")
    _write(tmp_path / "a.zarr" / "scan", VOLUME[0, 0], "zyx", "0.4")

    np.testing.assert_array_equal(_one(tmp_path / "a.zarr").data, VOLUME[0, 0])


def test_a_converters_series_are_images_in_their_order(tmp_path):
    root = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    root.attrs["bioformats2raw.layout"] = 3
    for number in (0, 1, 10):
        _write(tmp_path / "a.zarr" / str(number), VOLUME[0, 0] + number, "zyx", "0.4")

    images = open_images(tmp_path / "a.zarr")

    assert [image.name for image in images] == ["a 0", "a 1", "a 10"]
    np.testing.assert_array_equal(images[2].data, VOLUME[0, 0] + 10)
    zarr.open_group(tmp_path / "a.zarr" / "OME", mode="w", zarr_format=2).attrs["series"] = ["10", "0"]
    assert [image.name for image in open_images(tmp_path / "a.zarr")] == ["a 10", "a 0"]


def test_the_fields_of_a_plate_are_images(tmp_path):
    plate = zarr.open_group(tmp_path / "p.zarr", mode="w", zarr_format=2)
    plate.attrs["plate"] = {"wells": [{"path": "A/1"}, {"path": "B/2"}]}
    for number, well in enumerate(("A/1", "B/2")):
        group = zarr.open_group(tmp_path / "p.zarr" / well, mode="w", zarr_format=2)
        group.attrs["well"] = {"images": [{"path": "0"}]}
        _write(tmp_path / "p.zarr" / well / "0", VOLUME[0, 0] + number, "zyx", "0.4")

    images = open_images(tmp_path / "p.zarr")

    assert [image.name for image in images] == ["p A/1/0", "p B/2/0"]
    np.testing.assert_array_equal(images[1].data, VOLUME[0, 0] + 1)
    assert _one(tmp_path / "p.zarr" / "B" / "2").name == "2"


def test_levels_of_equal_size_are_one(tmp_path):
    path = _write(tmp_path / "a.zarr", VOLUME[0, 0], "zyx", "0.4")
    group = zarr.open_group(path, mode="r+")
    multiscales = group.attrs["multiscales"]
    group.create_array("twice", data=VOLUME[0, 0])
    multiscales[0]["datasets"].insert(1, {"path": "twice"})
    group.attrs["multiscales"] = multiscales

    image = _one(path)

    assert [level.shape for level in image.levels] == [(4, 64, 80), (4, 32, 40)][: len(image.levels)]
    np.testing.assert_array_equal(image.data, VOLUME[0, 0])


def test_a_scale_of_y_and_x_only(tmp_path):
    path = _write(tmp_path / "a.zarr", VOLUME[0, 0], "zyx", "0.4")
    group = zarr.open_group(path, mode="r+")
    multiscales = group.attrs["multiscales"]
    multiscales[0]["datasets"][0]["coordinateTransformations"] = [{"type": "scale", "scale": [0.5, 0.25]}]
    group.attrs["multiscales"] = multiscales

    assert (_one(path).scale, _one(path).units[0]) == ((1.0, 0.5, 0.25), "pixel")
