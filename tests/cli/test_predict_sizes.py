"""`napari-amvlm predict` looks at images at the pixel size that the model was taught at."""

import numpy as np
import pytest
import tifffile
from PIL import Image

PIXELS = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)


@pytest.fixture
def command(tiny_checkpoint, tmp_path):
    model = ["--model", tiny_checkpoint, "--probabilities", "-o", tmp_path / "out"]
    return ["predict", "--prompt", "nuclei", "--scale", "tiles", *model]


def _write(path, micrometers, unit):
    per_unit = {"CENTIMETER": 10_000, "INCH": 25_400}[unit] / micrometers
    tifffile.imwrite(
        path, PIXELS, photometric="rgb", resolution=(per_unit, per_unit), resolutionunit=unit, metadata=None
    )
    return path


@pytest.mark.parametrize("unit", ["CENTIMETER", "INCH"])
def test_the_pixel_size_of_a_file_sets_the_magnification(run, command, tmp_path, unit):
    sized = _write(tmp_path / "sized.tif", 0.125, unit)
    plain = tmp_path / "plain.tif"
    tifffile.imwrite(plain, PIXELS, photometric="rgb")

    by_size = run(*command, sized)
    by_hand = run(*command, plain, "--magnification", 0.5)
    wanted = tifffile.imread(tmp_path / "out" / "plain_probability.tif")
    native = run(*command, plain, "--magnification", 1)

    assert (by_size.code, by_hand.code, native.code) == (0, 0, 0), by_size.err
    assert "sized.tif: its pixels have 0.125 um, and the model was taught at 0.25 um; it is looked at" in by_size.err
    assert "um" not in by_hand.err
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "sized_probability.tif"), wanted)
    assert not np.array_equal(tifffile.imread(tmp_path / "out" / "plain_probability.tif"), wanted)


def test_a_magnification_by_hand_comes_first(run, command, tmp_path):
    outcome = run(*command, _write(tmp_path / "a.tif", 0.125, "CENTIMETER"), "--magnification", 1)

    assert (outcome.code, outcome.err) == (0, "")


def test_without_a_size_nothing_changes(run, command, tmp_path):
    printed = _write(tmp_path / "printed.tif", 25_400 / 300, "INCH")
    Image.fromarray(PIXELS).save(tmp_path / "photo.png", dpi=(300, 300))

    outcome = run(*command, printed, tmp_path / "photo.png")

    assert (outcome.code, outcome.err) == (0, "")
    np.testing.assert_array_equal(
        *(tifffile.imread(tmp_path / "out" / f"{name}_probability.tif") for name in ("printed", "photo"))
    )


def test_what_is_seen_whole_has_no_magnification(run, command, tmp_path):
    outcome = run(*command, _write(tmp_path / "a.tif", 0.125, "CENTIMETER"), "--scale", "whole")

    assert (outcome.code, outcome.err) == (0, "")


def test_an_estimate_is_offered_where_it_is_wanted_and_nothing_changes(run, command, tmp_path):
    coarse = np.random.default_rng(1).integers(0, 255, (5, 6, 3), np.uint8).repeat(40, 0).repeat(40, 1)
    Image.fromarray(coarse).save(tmp_path / "a.png")

    offered = run(*command, tmp_path / "a.png", "--estimate")
    found = tifffile.imread(tmp_path / "out" / "a_probability.tif")
    by_hand = run(*command, tmp_path / "a.png", "--magnification", 1)

    assert "a.png gives no pixel size; by the size of its structures, --magnification 0." in offered.err
    assert by_hand.err == ""
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "a_probability.tif"), found)
