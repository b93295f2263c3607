"""`napari-amvlm export` of a small project."""

import json

import numpy as np
import pytest

from napari_amvlm.project import Answer, Project


@pytest.fixture
def project(binary_folder, tmp_path):
    root = tmp_path / "tissue.amvlm"
    with Project.create(root) as opened:
        record = opened.images.add_file(binary_folder / "img" / "a.png")
        mask = np.zeros((72, 80), bool)
        mask[5:20, 5:20] = True
        opened.corrections.accept(record.id, "nuclei", Answer(mask))
    return root


@pytest.mark.parametrize(
    ("kind", "written"), [("tiff", "labelcol/a.tif"), ("png", "labelcol/a.png"), ("geojson", "a.geojson")]
)
def test_formats_that_are_folders(run, project, tmp_path, kind, written):
    outcome = run("export", project, "--format", kind, "-o", tmp_path / "out")

    assert outcome.code == 0
    assert (tmp_path / "out" / written).is_file()
    assert outcome.out == f"1 image -> {tmp_path / 'out'}\n"


def test_coco_is_one_file(run, project, tmp_path):
    outcome = run("export", project, "--format", "coco", "-o", tmp_path / "masks.json")

    content = json.loads((tmp_path / "masks.json").read_text(encoding="utf-8"))
    assert outcome.code == 0
    assert [annotation["area"] for annotation in content["annotations"]] == [225]


def test_an_earlier_coco_export_is_replaced_and_said_so_and_another_file_is_not(run, project, tmp_path):
    output = tmp_path / "masks.json"
    output.touch()
    first = run("export", project, "--format", "coco", "-o", output)
    again = run("export", project, "--format", "coco", "-o", output)
    output.write_text("[]", encoding="utf-8")
    refused = run("export", project, "--format", "coco", "-o", output)

    assert (first.code, first.err) == (0, "")
    assert (again.code, again.err) == (0, f"{output} is of an earlier export; it is replaced.\n")
    assert (refused.code, refused.err) == (
        2,
        f"napari-amvlm: {output} was not made by export; give another -o, or move it away.\n",
    )
    assert output.read_text(encoding="utf-8") == "[]"


def test_an_export_with_images_can_be_evaluated(run, project, tiny_checkpoint, tmp_path):
    run("export", project, "--format", "tiff", "-o", tmp_path / "out", "--images")

    outcome = run("evaluate", tmp_path / "out", "--model", tiny_checkpoint, "--json")

    assert outcome.code == 0
    assert list(json.loads(outcome.out)["prompts"]) == ["nuclei"]


def test_an_image_that_is_left_out_is_named_and_the_others_are_done(run, binary_folder, tmp_path):
    root = tmp_path / "tissue.amvlm"
    run("import", root, binary_folder, "--images", binary_folder / "img", "--prompt", "nuclei")
    with Project.open(root) as opened:
        lost = opened.corrections.select()[0]
    (root / lost.mask_file).write_bytes(b"no mask any more")

    exported = run("export", root, "--format", "png", "-o", tmp_path / "out")
    measured = run("measure", root, "-o", tmp_path / "t.csv")
    reported = run("report", root, "-o", tmp_path / "r.html")

    assert (exported.code, measured.code, reported.code) == (1, 1, 1)
    assert exported.out == f"2 images -> {tmp_path / 'out'}\n"
    assert all(outcome.err.startswith("Left out: ") for outcome in (exported, measured, reported))


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        (".", ["--format", "png", "-o", "out"], "is not a project"),
        ("none.amvlm", ["--format", "png", "-o", "out"], "none.amvlm"),
        ("new.amvlm", ["--format", "png", "-o", "out"], "accept at least one"),
        ("tissue.amvlm", ["--format", "coco", "-o", "."], "masks.json"),
        ("tissue.amvlm", ["--format", "geojson", "-o", "out", "--images"], "--images"),
        ("tissue.amvlm", ["--format", "coco", "-o", "x.json", "--objects"], "--objects"),
        ("tissue.amvlm", ["--format", "png", "-o", "x", "--segmentation", "rle"], "--segmentation"),
    ],
)
def test_what_cannot_be_exported_is_named(run, project, monkeypatch, source, options, words):
    Project.create(project.with_name("new.amvlm")).close()
    monkeypatch.chdir(project.parent)

    outcome = run("export", source, *options)

    assert outcome.code == 2
    assert words in outcome.err
    assert outcome.err.count("\n") == 1
    assert not project.with_name("none.amvlm").exists()
