"""`napari-amvlm import` into small projects."""

import json

import numpy as np
import pytest
from PIL import Image

from napari_amvlm.project import Answer, Project


@pytest.fixture
def project(binary_folder, tmp_path):
    """Return a project of two images, the first of which has a mask of two touching objects."""
    root = tmp_path / "tissue.amvlm"
    objects = np.zeros((72, 80), np.uint8)
    objects[5:20, 5:20], objects[5:20, 20:30] = 1, 2
    with Project.create(root) as opened:
        records = [opened.images.add_file(binary_folder / "img" / f"{name}.png") for name in "ab"]
        opened.corrections.accept(records[0].id, "nuclei", Answer(objects > 0, objects=objects))
    return root


@pytest.fixture
def empty(binary_folder, tmp_path):
    root = tmp_path / "empty.amvlm"
    with Project.create(root) as opened:
        for name in "ab":
            opened.images.add_file(binary_folder / "img" / f"{name}.png")
    return root


@pytest.mark.parametrize(
    ("options", "file"),
    [
        (["--format", "coco"], "out.json"),
        (["--format", "coco", "--segmentation", "polygons"], "out.json"),
        (["--format", "geojson"], "out/a.geojson"),
        (["--format", "tiff", "--objects"], "out"),
        (["--format", "png", "--objects"], "out/labelcol/a.png"),
    ],
)
def test_what_was_exported_is_imported(run, project, empty, tmp_path, options, file):
    exported = run("export", project, *options, "-o", tmp_path / file.partition("/")[0])
    outcome = run("import", empty, tmp_path / file)

    assert (exported.code, outcome.code, outcome.err) == (0, 0, "")
    assert outcome.out == f"1 mask -> {empty}\n"
    with Project.open(empty, read_only=True) as opened:
        (correction,) = opened.corrections.select()
        assert correction.prompt == "nuclei"
        assert np.unique(opened.corrections.objects(correction)[6, [6, 25, 40]]).size == 3
        assert opened.corrections.mask(correction).sum() == 375


def test_a_folder_of_images_and_masks_becomes_a_project(run, class_folder, tmp_path):
    root = tmp_path / "new.amvlm"

    outcome = run("import", root, class_folder, "--images", class_folder / "img")

    assert outcome.code == 0, outcome.err
    with Project.open(root, read_only=True) as opened:
        assert {c.prompt for c in opened.corrections.select()} == {"nuclei", "left lung"}
        assert opened.images.counts().accepted == 3


def test_a_project_is_not_made_by_a_slip(run, class_folder, tmp_path):
    outcome = run("import", tmp_path / "slip.amvlm", class_folder)

    assert outcome.code == 2
    assert "slip.amvlm" in outcome.err
    assert not (tmp_path / "slip.amvlm").exists()


def test_a_file_that_is_not_there(run, empty, tmp_path):
    outcome = run("import", empty, tmp_path / "gone.json")

    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    assert "gone.json" in outcome.err


def test_what_is_left_out_is_told_and_the_rest_is_entered(run, empty, tmp_path):
    for name in ("a", "stranger"):
        Image.fromarray(np.eye(72, 80).astype(np.uint8)).save(tmp_path / f"{name}.png")

    outcome = run("import", empty, tmp_path / "stranger.png", tmp_path / "a.png", "--prompt", "nuclei")

    assert outcome.code == 1
    assert outcome.err.startswith("Left out: no image of")
    assert outcome.err.count("\n") == 1
    assert outcome.out == f"1 mask -> {empty}\n"


def test_an_accepted_mask_is_kept_unless_told_otherwise(run, project, tmp_path):
    Image.fromarray(np.eye(72, 80).astype(np.uint8)).save(tmp_path / "a.png")
    arguments = ("import", project, tmp_path / "a.png", "--prompt", "nuclei")

    kept, replaced, again = run(*arguments), run(*arguments, "--replace"), run(*arguments)

    assert [outcome.code for outcome in (kept, replaced, again)] == [1, 0, 0]
    assert "--replace" in kept.err
    assert again.out == f"0 masks -> {project}, 1 were there already\n"
    with Project.open(project, read_only=True) as opened:
        assert [c.state for c in opened.corrections.select(history=True)] == ["superseded", "current"]


def test_a_project_that_is_open_elsewhere(run, empty, tmp_path):
    Image.fromarray(np.eye(72, 80).astype(np.uint8)).save(tmp_path / "a.png")

    with Project.open(empty):
        outcome = run("import", empty, tmp_path / "a.png", "--prompt", "nuclei")

    assert outcome.code == 1
    assert "open for writing" in outcome.err
    assert outcome.err.count("\n") == 1


def test_coco_as_polygons(run, project, tmp_path):
    run("export", project, "--format", "coco", "--segmentation", "polygons", "-o", tmp_path / "masks.json")

    content = json.loads((tmp_path / "masks.json").read_text(encoding="utf-8"))
    assert [a["segmentation"] for a in content["annotations"]] == [
        [[5, 5, 20, 5, 20, 20, 5, 20]],
        [[20, 5, 30, 5, 30, 20, 20, 20]],
    ]
