"""Folds hold every image once, and what is released says where it comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from typer.testing import CliRunner

from napari_amvlm.imaging import ImagePair
from napari_amvlm.models.model_info import read_info
from training.cross_validate import folds_of, main

if TYPE_CHECKING:
    import pytest


def test_folds_hold_every_image_once_and_depend_on_the_seed() -> None:
    pairs = [ImagePair(f"i{k}", Path(f"i{k}.png"), None, None) for k in range(7)]
    parts = folds_of(pairs, 3, seed=0)

    assert sorted(p.name for part in parts for p in part) == [p.name for p in pairs]
    assert sorted(len(part) for part in parts) == [2, 2, 3]
    assert parts == folds_of(list(reversed(pairs)), 3, seed=0)
    assert parts != folds_of(pairs, 3, seed=1)


def test_one_command_scores_every_training_image_and_writes_the_weights(
    discs_data: Path, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tmp_path / "release.toml"
    recipe.write_text(
        f"""
name = "mine"
version = "1"
licence = "CC0-1.0"
training_data = "noise"
dataset = "MoNuSeg"
folds = 2
steps = 1
start = "{tiny_checkpoint}"
[learning]
crop = 64
unlabelled_batch = 0
consistency = 0
"""
    )
    app = typer.Typer()
    app.command()(main)
    arguments = [str(recipe), "--data", str(discs_data), "--out", str(tmp_path / "out"), "--device", "cpu"]

    result = CliRunner().invoke(app, arguments)

    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "out" / "cross-validation.json").read_text())
    trained = {p.stem for p in (discs_data / "MoNuSeg" / "Train_Folder" / "img").iterdir()}
    assert set(found["per_image"]["native"]) == trained
    info = read_info(tmp_path / "out" / "mine.safetensors")
    assert info.licence == "CC0-1.0"
    assert set(info.scores) == {"MoNuSeg cross-validation, native", "MoNuSeg cross-validation, 224"}
