"""`napari-amvlm export` of a small project."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_amvlm.project import Answer, Project

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Run


@pytest.fixture
def project(binary_folder: Path, tmp_path: Path) -> Path:
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
def test_formats_that_are_folders(run: Run, project: Path, tmp_path: Path, kind: str, written: str) -> None:
    outcome = run("export", project, "--format", kind, "-o", tmp_path / "out")

    assert outcome.code == 0
    assert (tmp_path / "out" / written).is_file()
    assert outcome.out == f"1 images -> {tmp_path / 'out'}\n"


def test_coco_is_one_file(run: Run, project: Path, tmp_path: Path) -> None:
    outcome = run("export", project, "--format", "coco", "-o", tmp_path / "masks.json")

    content = json.loads((tmp_path / "masks.json").read_text(encoding="utf-8"))
    assert outcome.code == 0
    assert [annotation["area"] for annotation in content["annotations"]] == [225]


def test_an_export_with_images_can_be_evaluated(run: Run, project: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    run("export", project, "--format", "tiff", "-o", tmp_path / "out", "--images")

    outcome = run("evaluate", tmp_path / "out", "--model", tiny_checkpoint, "--json")

    assert outcome.code == 0
    assert list(json.loads(outcome.out)["prompts"]) == ["nuclei"]


def test_a_folder_that_is_no_project(run: Run, tmp_path: Path) -> None:
    outcome = run("export", tmp_path, "--format", "png", "-o", tmp_path / "out")

    assert outcome.code == 2
    assert str(tmp_path) in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_project_that_is_not_there(run: Run, tmp_path: Path) -> None:
    outcome = run("export", tmp_path / "none.amvlm", "--format", "png", "-o", tmp_path / "out")

    assert outcome.code == 2
    assert "none.amvlm" in outcome.err
    assert not (tmp_path / "none.amvlm").exists()


def test_a_project_without_accepted_masks(run: Run, tmp_path: Path) -> None:
    Project.create(tmp_path / "new.amvlm").close()

    outcome = run("export", tmp_path / "new.amvlm", "--format", "png", "-o", tmp_path / "out")

    assert outcome.code == 2
    assert "accept at least one" in outcome.err


def test_coco_into_a_folder(run: Run, project: Path, tmp_path: Path) -> None:
    outcome = run("export", project, "--format", "coco", "-o", tmp_path)

    assert outcome.code == 2
    assert "masks.json" in outcome.err


def test_images_go_with_label_images_alone(run: Run, project: Path, tmp_path: Path) -> None:
    outcome = run("export", project, "--format", "geojson", "-o", tmp_path / "out", "--images")

    assert outcome.code == 2
    assert "--images" in outcome.err
