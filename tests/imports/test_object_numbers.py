"""Objects of any number, size and count go into a project, out of it again, and are measured."""

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_amvlm.errors import DatasetError, LabelsError
from napari_amvlm.exports import export_coco, export_geojson, export_labels
from napari_amvlm.imports import import_files
from napari_amvlm.measure import measure
from napari_amvlm.measure.sources import masks_in_folder, masks_in_project
from napari_amvlm.metrics import object_scores
from napari_amvlm.project import Answer, Project

SHAPE = (60, 48)


def _numbers(offset):
    """Return two touching objects and one of one pixel."""
    numbers = np.zeros(SHAPE, np.uint32)
    numbers[5:15, 5:15], numbers[5:15, 15:25], numbers[40, 40] = 1, 2, 3
    return np.where(numbers > 0, numbers + np.uint32(offset), 0)


def _import(root, path, pixels=None):
    """Return the objects that a project has once `path` was imported."""
    shape = SHAPE if pixels is None else pixels
    image = path.parent / "img" / "a.png"
    image.parent.mkdir(exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)).save(image)
    with Project.create(root) as project:
        project.images.add_file(image)
        report = import_files(project, [path], prompt="nuclei")
        assert report.problems == []
        (correction,) = project.corrections.select()
        return project.corrections.objects(correction)


@pytest.mark.parametrize("offset", [0, 70_000, 2_000_000_000, 4_000_000_000])
def test_objects_of_any_number_come_in_go_out_and_are_measured(tmp_path, offset):
    numbers = _numbers(offset)
    tifffile.imwrite(tmp_path / "a.tif", numbers)

    stored = _import(tmp_path / "one.amvlm", tmp_path / "a.tif")

    assert object_scores(stored, numbers).pq == 1
    with Project.open(tmp_path / "one.amvlm") as project:
        export_labels(project, tmp_path / "tiff", "tiff", objects=True)
        export_coco(project, tmp_path / "a.json")
        export_geojson(project, tmp_path)
        ours = measure(masks_in_project(project, []))
    theirs = measure(masks_in_folder(tmp_path / "a.tif", None))
    assert object_scores(tifffile.imread(tmp_path / "tiff" / "objects" / "nuclei" / "a.tif"), numbers).pq == 1
    for name in ("a.json", "a.geojson"):
        assert object_scores(_import(tmp_path / f"{name}.amvlm", tmp_path / name), numbers).pq == 1
    assert ours.objects["area_px"].tolist() == theirs.objects["area_px"].tolist() == [100, 100, 1]
    assert theirs.objects["object"].tolist() == (offset + np.arange(1, 4)).tolist()


def test_png_does_not_hold_numbers_above_65535(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", _numbers(70_000))
    _import(tmp_path / "one.amvlm", tmp_path / "a.tif")

    with Project.open(tmp_path / "one.amvlm") as project, pytest.raises(DatasetError, match="export as tiff"):
        export_labels(project, tmp_path / "png", "png", objects=True)


def test_a_project_refuses_numbers_that_no_table_holds_and_bool_masks(source):
    image = source.images.all()[0]
    numbers = _numbers(2_000_000_000)

    for objects, said in ((numbers, "from 0 to 16777216, but go .* to 2000000003: renumber"), (numbers > 0, "bool")):
        with pytest.raises(LabelsError, match=said):
            source.corrections.accept(image.id, "nuclei", Answer(numbers > 0, objects=objects))


def test_masks_of_one_value_are_cut_into_pieces(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", (_numbers(0) > 0).astype(np.uint8) * 255)

    assert _import(tmp_path / "one.amvlm", tmp_path / "a.tif").max() == 2


def test_values_that_many_pieces_share_number_no_objects(tmp_path):
    classes = np.zeros((40, 50), np.uint8)
    classes[2::8, 2::8], classes[5::8, 2::8] = 1, 2
    for folder in ("labels", "images"):
        (tmp_path / folder).mkdir()
    Image.fromarray(classes).save(tmp_path / "labels" / "a.png")
    Image.fromarray(classes * 100).save(tmp_path / "images" / "a.png")

    with Project.create(tmp_path / "one.amvlm") as project:
        report = import_files(project, [tmp_path / "labels" / "a.png"], prompt="cells", images=tmp_path / "images")

        (correction,) = project.corrections.select()
        assert len(np.unique(project.corrections.objects(correction))) - 1 == np.count_nonzero(classes)
    assert ["2 values do not number objects" in problem for problem in report.problems] == [True]


@pytest.mark.slow
def test_a_hundred_thousand_objects(tmp_path):
    numbers = np.zeros((1300, 1300), np.uint32)
    numbers[1::4, 1::4] = numbers[1::4, 2::4] = np.arange(1, 325 * 325 + 1).reshape(325, 325)
    tifffile.imwrite(tmp_path / "a.tif", numbers)

    stored = _import(tmp_path / "one.amvlm", tmp_path / "a.tif", numbers.shape)

    assert np.array_equal(stored, numbers)
    with Project.open(tmp_path / "one.amvlm") as project:
        export_labels(project, tmp_path / "tiff", "tiff", objects=True)
        export_coco(project, tmp_path / "a.json")
        assert measure(masks_in_project(project, [])).objects["area_px"].tolist() == [2] * 325**2
    assert np.array_equal(tifffile.imread(tmp_path / "tiff" / "objects" / "nuclei" / "a.tif"), numbers)
    assert [one["area"] for one in json.loads((tmp_path / "a.json").read_text())["annotations"]] == [2] * 325**2
    assert object_scores(stored, numbers).pq == 1
