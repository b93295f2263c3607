"""`napari-amvlm evaluate` with the tiny model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Run


@pytest.mark.parametrize("protocol", ["native", "224"])
def test_one_json_object(run: Run, binary_folder: Path, tiny_checkpoint: Path, protocol: str) -> None:
    outcome = run(
        "evaluate", binary_folder, "--prompt", "nuclei", "--model", tiny_checkpoint, "--protocol", protocol, "--json"
    )

    report = json.loads(outcome.out)
    values = [image["dice"] for image in report["per_image"].values()]
    assert outcome.code == 0
    assert set(report) == {"n", "protocol", "prompt", "dice", "iou", "per_image"}
    assert (report["n"], report["protocol"], report["prompt"]) == (3, protocol, "nuclei")
    assert report["dice"] == pytest.approx(sum(values) / 3)
    assert 0 <= report["iou"] <= report["dice"] <= 1


def test_classes_are_scored_one_by_one(run: Run, class_folder: Path, tiny_checkpoint: Path) -> None:
    outcome = run("evaluate", class_folder, "--model", tiny_checkpoint, "--json")

    report = json.loads(outcome.out)
    prompts = report["prompts"]
    assert list(prompts) == ["nuclei", "left lung"]
    assert report["dice"] == pytest.approx((prompts["nuclei"]["dice"] + prompts["left lung"]["dice"]) / 2)


def test_a_class_alone(run: Run, class_folder: Path, tiny_checkpoint: Path) -> None:
    outcome = run("evaluate", class_folder, "--prompt", "left lung", "--model", tiny_checkpoint, "--json")

    report = json.loads(outcome.out)
    assert report["prompt"] == "left lung"
    assert "prompts" not in report


def test_lines_for_people(run: Run, class_folder: Path, tiny_checkpoint: Path) -> None:
    outcome = run("evaluate", class_folder, "--model", tiny_checkpoint)

    lines = outcome.out.splitlines()
    images, means = lines[:-3], lines[-3:]
    assert [line.split(" in ")[0] for line in images] == ["nuclei"] * 3 + ["left lung"] * 3
    assert [line.split(":")[0] for line in means] == ["nuclei", "left lung", "mean of prompts"]
    assert all("(3 images, native)" in line for line in means)


@pytest.mark.parametrize("arguments", [["--prompt", "vertebrae"], ["--prompt", " "]])
def test_a_prompt_that_is_no_class(run: Run, class_folder: Path, arguments: list[str]) -> None:
    outcome = run("evaluate", class_folder, *arguments, "--json")

    assert outcome.code == 2
    assert "classes.csv" in outcome.err
    assert outcome.out == ""


def test_a_folder_that_is_not_there(run: Run, tmp_path: Path) -> None:
    outcome = run("evaluate", tmp_path / "none", "--prompt", "nuclei", "--json")

    assert outcome.code == 2
    assert "none" in outcome.err
    assert outcome.err.count("\n") == 1
