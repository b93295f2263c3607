"""Folds hold every image once, and what is released says where it comes from."""

import json
from pathlib import Path

import pytest

from napari_amvlm.errors import DatasetError, InputError
from napari_amvlm.imaging import ImagePair
from napari_amvlm.models.model_info import read_info
from training.cross_validate import ReleaseRecipe, folds_of, main
from training.runs.recipe import validated


def test_folds_hold_every_image_once_and_depend_on_the_seed():
    pairs = [ImagePair(f"i{k}", Path(f"i{k}.png"), None, None) for k in range(7)]
    parts = folds_of(pairs, 3, seed=0)

    assert sorted(p.name for part in parts for p in part) == [p.name for p in pairs]
    assert sorted(len(part) for part in parts) == [2, 2, 3]
    assert parts == folds_of(list(reversed(pairs)), 3, seed=0)
    assert parts != folds_of(pairs, 3, seed=1)


def test_images_of_one_subject_are_in_one_fold():
    pairs = [ImagePair(f"{subject}_{k}", Path(f"{k}.png"), None, None) for subject in "abcd" for k in range(3)]

    parts = folds_of(pairs, 2, seed=0, subject_of=lambda name: name[0])

    assert [len({p.name[0] for p in part}) for part in parts] == [2, 2]
    assert not {p.name[0] for p in parts[0]} & {p.name[0] for p in parts[1]}
    with pytest.raises(DatasetError, match=r"5 folds are wanted, but there are 4 subjects"):
        folds_of(pairs, 5, seed=0, subject_of=lambda name: name[0])


def test_keys_that_would_be_ignored_are_refused():
    values = {"name": "n", "version": "1", "licence": "l", "training_data": "t", "dataset": "MoNuSeg", "steps": 1}

    with pytest.raises(InputError, match=r"labels has no meaning in a cross-validation; leave it out"):
        validated(ReleaseRecipe, values | {"labels": "25%"}, "recipe.toml")


def test_one_command_scores_every_training_image_and_writes_the_weights(
    invoke, discs_data, tiny_checkpoint, tmp_path, monkeypatch
):
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
    arguments = [str(recipe), "--data", str(discs_data), "--out", str(tmp_path / "out"), "--device", "cpu"]

    result = invoke(main, *arguments)

    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "out" / "cross-validation.json").read_text())
    trained = {p.stem for p in (discs_data / "MoNuSeg" / "Train_Folder" / "img").iterdir()}
    assert set(found["per_image"]["native"]) == trained
    other = recipe.read_text().replace("steps = 1", "steps = 2")
    recipe.write_text(other)
    changed = invoke(main, *arguments)
    assert isinstance(changed.exception, InputError)
    assert "holds a run with another learning, recipe" in str(changed.exception)
    info = read_info(tmp_path / "out" / "mine.safetensors")
    assert info.licence == "CC0-1.0"
    assert set(info.scores) == {"MoNuSeg cross-validation, native", "MoNuSeg cross-validation, 224"}
