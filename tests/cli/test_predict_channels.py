"""`napari-amvlm predict` with channels, and with files of several images."""

import numpy as np
import pytest
import tifffile

RANDOM = np.random.default_rng(0)
DIM = RANDOM.integers(100, 300, (64, 80), np.uint16)
BRIGHT = RANDOM.integers(30000, 60000, (64, 80), np.uint16)


@pytest.fixture
def command(tiny_checkpoint, tmp_path):
    return ["predict", "--prompt", "nuclei", "--model", tiny_checkpoint, "--threshold", 0.3, "-o", tmp_path / "out"]


@pytest.fixture
def alone(run, command, tmp_path):
    """Return the labels of the dim channel in a file of its own."""
    tifffile.imwrite(tmp_path / "alone.tif", DIM)
    assert run(*command, tmp_path / "alone.tif").code == 0
    labels = tifffile.imread(tmp_path / "out" / "alone.tif")
    assert 0 < labels.mean() < 1
    return labels


def test_a_dim_channel_is_seen_beside_a_bright_one(run, command, alone, tmp_path):
    names = {"axes": "CYX", "Channel": {"Name": ["DAPI", "actin"]}}
    tifffile.imwrite(tmp_path / "two.ome.tif", np.stack([DIM, BRIGHT]), metadata=names)

    every = run(*command, tmp_path / "two.ome.tif", "--instances", "--probabilities")
    labels = tifffile.imread(tmp_path / "out" / "two.tif")
    chosen = run(*command, tmp_path / "two.ome.tif", "--channel", "dapi")

    assert (every.code, chosen.code) == (0, 0), every.err + chosen.err
    assert labels.shape == (2, 64, 80)
    np.testing.assert_array_equal(labels[0], alone)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "two.tif"), alone)
    assert tifffile.imread(tmp_path / "out" / "two_probability.tif").shape[-3:] == (2, 64, 80)
    assert "nuclei in DAPI" in every.out


def test_channels_of_a_volume(run, command, tmp_path):
    volume = np.stack([[DIM, BRIGHT], [DIM[::-1], BRIGHT]])
    tifffile.imwrite(tmp_path / "zc.tif", volume, imagej=True, metadata={"axes": "ZCYX"})
    tifffile.imwrite(tmp_path / "z.tif", volume[:, 0], imagej=True, metadata={"axes": "ZYX"})

    outcome = run(*command, tmp_path / "zc.tif", tmp_path / "z.tif")

    assert outcome.code == 0, outcome.err
    labels = tifffile.imread(tmp_path / "out" / "zc.tif")
    np.testing.assert_array_equal(labels[0], tifffile.imread(tmp_path / "out" / "z.tif"))
    assert labels.shape == (2, 2, 64, 80)


def test_a_channel_that_is_not_there(run, command, tmp_path):
    tifffile.imwrite(tmp_path / "two.tif", np.stack([DIM, BRIGHT]), imagej=True, metadata={"axes": "CYX"})

    outcome = run(*command, tmp_path / "two.tif", "--channel", "GFP")

    assert outcome.code == 2
    assert "has no channel 'GFP'; choose one of 1 channel 1, 2 channel 2, or composite" in outcome.err


def test_every_image_of_a_file_has_its_results(run, command, alone, tmp_path):
    with tifffile.TiffWriter(tmp_path / "two.ome.tif") as file:
        file.write(BRIGHT, metadata={"axes": "YX", "Name": "over/view"})
        file.write(DIM, metadata={"axes": "YX", "Name": "cells"})

    every = run(*command, tmp_path / "two.ome.tif")
    by_number = run(*command, tmp_path / "two.ome.tif", "--image", "2", "--overwrite")
    missing = run(*command, tmp_path / "two.ome.tif", "--image", "nuclei")

    assert (every.code, by_number.code, missing.code) == (0, 0, 2), every.err + by_number.err
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "two cells.tif"), alone)
    assert (tmp_path / "out" / "two over_view.tif").is_file()
    assert "choose one of 1 over/view, 2 cells with --image" in missing.err


def test_channels_and_images_of_one_name_are_told_apart(run, command, alone, tmp_path):
    names = {"axes": "CYX", "Channel": {"Name": ["DAPI", "DAPI"]}}
    tifffile.imwrite(tmp_path / "channels.ome.tif", np.stack([DIM[::-1], DIM]), metadata=names)
    with tifffile.TiffWriter(tmp_path / "images.ome.tif", ome=True) as file:
        for pixels, name in ((DIM[::-1], "a:1"), (DIM, "A/1"), (DIM, "b")):
            file.write(pixels, metadata={"axes": "YX", "Name": name})

    outcome = run(*command, tmp_path / "channels.ome.tif", tmp_path / "images.ome.tif")

    assert outcome.code == 0, outcome.err
    assert "nuclei in DAPI 1" in outcome.out
    assert "nuclei in DAPI 2" in outcome.out
    files = ("channels", "images a_1 1", "images A_1 2", "images b")
    both, *single = (tifffile.imread(tmp_path / "out" / f"{name}.tif") for name in files)
    for found, other in zip(single, (False, True, True), strict=True):
        assert np.array_equal(found, alone) == other
    assert [np.array_equal(found, alone) for found in both] == [False, True]
