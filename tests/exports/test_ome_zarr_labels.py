"""Labels beside OME-Zarr images, read by zarr alone and by this program."""

import json

import numpy as np
import pytest
import zarr

from napari_amvlm.errors import DatasetError
from napari_amvlm.exports import export_as
from napari_amvlm.imaging import open_images
from napari_amvlm.project import Answer, Project
from tests.exports.scans import annotate, write_zarr

RNG = np.random.default_rng(2)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_of_a_volume_lie_beside_it(tmp_path, version):
    root = write_zarr(tmp_path / "cells.zarr", RNG.integers(0, 255, (2, 4, 64, 80), np.uint8), "czyx", version)
    image = open_images(root)[0].of_channel(1)
    with Project.create(tmp_path / "p.amvlm") as project:
        wanted = annotate(project, image)

        assert export_as(project, "ome-zarr", root) == []

    group = zarr.open_group(root / "labels", mode="r")
    listed = group.attrs["labels"] if version == "0.4" else group.attrs["ome"]["labels"]
    assert listed == ["vertebrae", "spinal-canal"]
    for name, prompt in zip(listed, wanted, strict=True):
        np.testing.assert_array_equal(group[f"{name}/0"][...] > 0, wanted[prompt])
        (read,) = open_images(root / "labels" / name)
        assert (read.axes, read.scale) == ("ZYX", (2.0, 0.5, 0.5))
        attributes = group[name].attrs.asdict()
        ome = attributes if version == "0.4" else attributes["ome"]
        assert ome["image-label"]["source"]["image"] == "../../"
        assert [axis["name"] for axis in ome["multiscales"][0]["axes"]] == ["z", "y", "x"]


def test_large_labels_have_levels(tmp_path):
    pixels = RNG.integers(0, 255, (1100, 700), np.uint8)
    root = write_zarr(tmp_path / "tissue.zarr", pixels, "yx", "0.5")
    mask = RNG.random(pixels.shape) > 0.5
    with Project.create(tmp_path / "p.amvlm") as project:
        record = project.images.add_array(pixels)
        project.corrections.accept(record.id, "tumor", Answer(mask))
        export_as(project, "ome-zarr", tmp_path)

    group = zarr.open_group(root / "labels" / "tumor", mode="r")
    for level in range(3):
        np.testing.assert_array_equal(group[str(level)][...] > 0, mask[:: 1 << level, :: 1 << level])
    assert open_images(root / "labels" / "tumor")[0].data.shape == pixels.shape


def test_labels_that_are_there_stay_as_they_are(tmp_path):
    root = write_zarr(tmp_path / "cells.zarr", RNG.integers(0, 255, (4, 64, 80), np.uint8), "zyx", "0.4")
    with Project.create(tmp_path / "p.amvlm") as project:
        annotate(project, open_images(root)[0])
        export_as(project, "ome-zarr", root)
        before = {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}

        with pytest.raises(DatasetError, match="labels called vertebrae already, and nothing was overwritten"):
            export_as(project, "ome-zarr", root)

    assert before == {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_labels_of_another_program_stay_listed(tmp_path):
    root = write_zarr(tmp_path / "cells.zarr", RNG.integers(0, 255, (4, 64, 80), np.uint8), "zyx", "0.4")
    (root / "labels").mkdir()
    (root / "labels" / ".zattrs").write_text(json.dumps({"labels": ["theirs"]}), encoding="utf-8")
    with Project.create(tmp_path / "p.amvlm") as project:
        annotate(project, open_images(root)[0])
        export_as(project, "ome-zarr", root)

    listed = json.loads((root / "labels" / ".zattrs").read_text(encoding="utf-8"))["labels"]
    assert listed == ["theirs", "vertebrae", "spinal-canal"]
