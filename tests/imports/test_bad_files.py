"""Files that cannot be used: one sentence, the rest is entered, and nothing is overwritten."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from napari_amvlm.exports import export_coco, export_labels
from napari_amvlm.imports import import_files
from napari_amvlm.project import Answer, Project


@pytest.fixture
def coco(source, tmp_path):
    path = tmp_path / "out" / "masks.json"
    export_coco(source, path)
    return path


def _edit(path, change):
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def test_an_annotation_of_an_unknown_category_is_left_out(target, coco):
    _edit(coco, lambda c: c["annotations"][0].update(category_id=77))

    report = import_files(target, [coco])

    assert len(report.problems) == 1
    assert "annotation 1 of chest.png is left out: its category 77 is not listed" in report.problems[0]
    assert sorted(c.image_id for c in target.corrections.select()) == [1, 1, 2, 3, 3]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.pop("annotations"), "at annotations"),
        (lambda c: c.pop("categories"), "at categories"),
        (lambda c: c.update(images={}), "at images"),
        (lambda c: (c.clear(), c.update(shapes=[], imagePath="a.png")), "at images, but it has shapes, imagePath"),
        (lambda c: c["annotations"][0].update(segments_info=[]), "panoptic segments"),
    ],
)
def test_a_file_that_is_no_coco_enters_nothing(target, coco, change, said):
    _edit(coco, change)

    report = import_files(target, [coco])

    assert len(report.problems) == 1
    assert said in report.problems[0]
    assert str(coco) in report.problems[0]
    assert target.corrections.select(history=True) == []


@pytest.mark.parametrize(
    "segmentation",
    [
        {"size": [60, 48], "counts": [10, 5]},
        {"size": [60, 48], "counts": [-1, 2881]},
        {"size": [60, 40], "counts": [2400]},
        {"size": [60, 48], "counts": "~~"},
        [[1, 2, 3]],
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, float("nan"), 6]],
        None,
        [],
        "no",
    ],
)
def test_a_mask_that_cannot_be_is_left_out_and_the_others_enter(source, target, coco, segmentation):
    _edit(coco, lambda c: c["annotations"][0].update(segmentation=segmentation, bbox=[1, 2, 3, 4]))

    report = import_files(target, [coco])

    assert len(report.problems) == 1
    assert "annotation 1 of chest.png is left out: " in report.problems[0]
    assert sorted(c.image_id for c in target.corrections.select()) == [1, 1, 2, 3, 3]
    nuclei = target.corrections.select(1, "nuclei")[0]
    every = source.corrections.objects(source.corrections.select(1, "nuclei")[0])
    assert np.array_equal(target.corrections.mask(nuclei), every > 1)
    # Nobody knows which pixels of its box show it.
    unknown = ~target.corrections.reviewed(nuclei)
    assert unknown.any()
    assert not unknown[6:].any()


def test_accepted_masks_are_kept_unless_they_are_to_be_replaced(target, coco):
    mine = np.eye(60, 48, dtype=bool)
    kept = target.corrections.accept(1, "nuclei", Answer(mine))

    report = import_files(target, [coco])

    assert "kept" in report.problems[0]
    assert np.array_equal(target.corrections.mask(target.corrections.select(1, "nuclei")[0]), mine)
    assert len(report.accepted) == 4
    assert import_files(target, [coco], replace=True).problems == []
    assert not np.array_equal(target.corrections.mask(target.corrections.select(1, "nuclei")[0]), mine)
    assert np.array_equal(target.corrections.mask(target.corrections.get(kept.id)), mine)


def test_a_changed_image_is_told_and_the_rest_is_entered(target, coco, image_files):
    Image.fromarray(np.zeros((60, 48), np.uint8)).save(image_files[0])

    report = import_files(target, [coco])

    assert len(report.problems) == 1
    assert "was changed" in report.problems[0]
    assert [c.image_id for c in target.corrections.select()] == [2, 3, 3]


def test_an_image_of_another_size_is_told(target, coco):
    def change(content):
        content["images"][2].update(width=20)
        del content["images"][2]["sha256"]

    _edit(coco, change)

    report = import_files(target, [coco])

    assert len(report.problems) == 1
    assert "60x20" in report.problems[0]
    assert "60x48" in report.problems[0]


def test_another_image_of_the_same_name_is_told(coco, tmp_path):
    (tmp_path / "c").mkdir()
    Image.fromarray(np.full((60, 48), 9, np.uint8)).save(tmp_path / "c" / "other.png")
    with Project.create(tmp_path / "c.amvlm") as project:
        project.images.add_file(tmp_path / "c" / "other.png")

        report = import_files(project, [coco])

        assert project.corrections.select() == []
        assert any("another image than" in problem for problem in report.problems)


def test_images_are_added_from_a_folder(coco, image_files, tmp_path):
    with Project.create(tmp_path / "new.amvlm") as project:
        report = import_files(project, [coco], images=image_files[2].parent)

        assert {record.name for record in project.images.all()} == {"chest.png", "other.png"}
        assert {project.images.get(c.image_id).name for c in project.corrections.select()} >= {"other.png"}
        assert len(report.problems) == 1


def test_a_missing_file_and_a_strange_one_do_not_stop_the_others(target, coco, tmp_path):
    strange = tmp_path / "notes.txt"
    strange.write_text("x", encoding="utf-8")
    broken = tmp_path / "broken.geojson"
    broken.write_text("{", encoding="utf-8")

    report = import_files(target, [tmp_path / "gone.json", strange, broken, coco])

    assert [p.split(":")[0] for p in report.problems[:1]] == [f"there is no file {tmp_path / 'gone.json'}"]
    assert "notes.txt" in report.problems[1]
    assert "no JSON" in report.problems[2]
    assert len(report.accepted) == 5


def test_label_values_that_classes_do_not_name_are_told(source, target, tmp_path):
    export_labels(source, tmp_path / "out", "png")
    (tmp_path / "out" / "classes.csv").write_text("value,prompt\n1,nuclei\n", encoding="utf-8")

    report = import_files(target, [tmp_path / "out"])

    assert len(report.problems) == 2
    assert all("[2]" in problem for problem in report.problems)
    assert [c.image_id for c in target.corrections.select()] == [2]


def test_a_label_image_without_meaning_is_told(target, tmp_path):
    path = tmp_path / "other.png"
    Image.fromarray(np.eye(60, 48).astype(np.uint8)).save(path)

    assert "--prompt" in import_files(target, [path]).problems[0]
    assert len(import_files(target, [path], prompt="nuclei").accepted) == 1


def test_a_name_that_two_images_have_is_told(target, tmp_path):
    path = tmp_path / "chest.tif"
    Image.fromarray(np.eye(60, 48).astype(np.uint8)).save(path)

    report = import_files(target, [path], prompt="nuclei")

    assert "2 images" in report.problems[0]
    assert target.corrections.select() == []


def test_two_label_images_of_one_stem_are_told(source, target, tmp_path):
    export_labels(source, tmp_path / "out", "png")
    labels = tmp_path / "out" / "labelcol"
    Image.open(labels / "other.png").save(labels / "other.tif")

    report = import_files(target, [tmp_path / "out"], replace=True)

    assert "other.tif have the same stem" in report.problems[0]
    assert target.corrections.select() == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "no features"),
        ({"type": "Topology"}, "no GeoJSON"),
        ([{"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}}], "Point"),
        ([{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, "x"], [3, 3]]]}}], "points"),
        ([{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": 3}}], "rings"),
        ([{"type": "Feature", "geometry": None}], "no outline"),
    ],
)
def test_geojson_that_cannot_be_used(target, tmp_path, content, said):
    path = tmp_path / "other.geojson"
    path.write_text(json.dumps(content), encoding="utf-8")

    report = import_files(target, [path], prompt="nuclei")

    assert len(report.problems) == 1
    assert said in report.problems[0]
    assert target.corrections.select() == []


def test_geojson_of_qupath_is_read(target, tmp_path):
    square = {"type": "Polygon", "coordinates": [[[2, 3], [12, 3], [12, 9], [2, 9], [2, 3]]]}
    features = [
        {"type": "Feature", "geometry": square, "properties": {"classification": {"names": ["Tumor", "Ki67"]}}},
        {"type": "Feature", "geometry": square, "properties": {"classification": {"name": "nuclei", "colorRGB": -1}}},
        {"type": "Feature", "geometry": square, "properties": {}},
    ]
    path = tmp_path / "other.geojson"
    path.write_text(json.dumps(features), encoding="utf-8")

    report = import_files(target, [path], prompt="cells")

    assert report.problems == []
    assert {c.prompt for c in target.corrections.select()} == {"Tumor: Ki67", "nuclei", "cells"}
    for correction in target.corrections.select():
        mask = target.corrections.mask(correction)
        assert mask[3:9, 2:12].all()
        assert mask.sum() == 60


def test_a_lost_mask_can_be_brought_back_by_an_import(source, target, coco):
    import_files(target, [coco])
    lost = target.corrections.select(1, "nuclei")[0]
    (target.root / lost.mask_file).unlink()

    report = import_files(target, [coco], replace=True)

    assert len(report.accepted) == 1
    wanted = source.corrections.mask(source.corrections.select(1, "nuclei")[0])
    assert np.array_equal(target.corrections.mask(target.corrections.select(1, "nuclei")[0]), wanted)
    shutil.rmtree(target.root / "masks")
    assert len(target.corrections.select()) == 5


@pytest.mark.parametrize("segmentation", [[], [[500.0, 500.0, 520.0, 500.0, 520.0, 520.0]]])
def test_boxes_and_outlines_of_another_image_are_no_empty_masks(target, coco, segmentation):
    def boxes(content):
        first = content["annotations"][0]
        for annotation in content["annotations"]:
            if (annotation["image_id"], annotation["category_id"]) == (first["image_id"], first["category_id"]):
                annotation["segmentation"] = segmentation

    _edit(coco, boxes)

    report = import_files(target, [coco])

    assert report.problems
    assert all("left out" in problem for problem in report.problems)
    assert target.corrections.select(1, "nuclei") == []
    assert len(report.accepted) == 4
