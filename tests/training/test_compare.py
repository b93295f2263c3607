"""AMVLM beside its rivals: a grid that can be stopped, says what it leaves out, and writes one page."""

import itertools
import json
from pathlib import Path

import pytest
import torch

from napari_amvlm.errors import InputError
from training.compare import Comparison, compare, main, write_page
from training.runs.folder import RunFolder
from training.runs.kept import keep, restore
from training.runs.recipe import read_recipe, validated

_CPU = torch.device("cpu")
_RECIPE = Path(__file__).parents[2] / "training" / "recipes" / "compare-monuseg.toml"


@pytest.fixture
def values(tiny_config, tmp_path):
    learning = {"square": 64, "crop": 64, "labelled_batch": 1, "unlabelled_batch": 1, "validations": 1}
    return {
        "fractions": [2],
        "recipe": {"dataset": "MoNuSeg", "steps": 1, "published": True, "learning": learning},
        "pairs": {"model": tiny_config.model_dump(), "batch": 4, "crop": 64, "steps": 1, "step_one_weight": 1},
        "rows": [
            {"name": "MT", "method": "mean-teacher"},
            {"name": "LViT", "method": "lvit"},
            {"name": "MGCA", "objective": "mgca", "prompts": "captions"},
            {"name": "SemiSAM", "method": "semisam", "settings": {"sam": str(tmp_path)}},
        ],
    }


def _compare(grid, data, out, encoder, over=lambda: False):
    runs = list(grid.runs("grid"))
    return compare(grid, runs, data, out, device=_CPU, over=over, text_encoder=lambda: encoder)


def test_rows_run_and_the_page_says_what_departs_and_what_is_left_out(values, discs_data, text_encoder, tmp_path):
    grid, out = validated(Comparison, values, "grid"), tmp_path / "out"

    assert _compare(grid, discs_data, out, text_encoder, over=iter([False, False, True]).__next__) == 4
    left = _compare(grid, discs_data, out, text_encoder)
    first = {path: path.stat().st_mtime_ns for path in out.rglob("model.safetensors")}
    page = write_page(grid, out).read_text()

    assert left == 1
    assert "| MGCA | Wang et al., NeurIPS 2022 |" in page
    assert "no source of the method is known" in page
    assert "needs the weights of SAM" in page
    assert "*published: CCT*" in page
    assert (out / "losses.png").is_file()
    scores = json.loads((out / "lvit" / "labels-2" / "seed-0" / "scores.json").read_text())
    assert list(scores["scores"]) == ["captions"]
    assert _compare(grid, discs_data, out, text_encoder) == 1
    assert {path: path.stat().st_mtime_ns for path in first} == first


def test_kept_runs_stay_finished_beside_new_ones_of_their_step_one(values, discs_data, text_encoder, tmp_path):
    first, values = tmp_path / "first", values | {"rows": values["rows"][2:3]}
    assert _compare(validated(Comparison, values, "grid"), discs_data, first, text_encoder) == 0
    keep(first, tmp_path / "kept.json")
    assert str(tmp_path) not in (tmp_path / "kept.json").read_text()
    restore(tmp_path / "kept.json", tmp_path / "second")
    grid = validated(Comparison, values | {"fractions": [2, 1]}, "grid")

    assert _compare(grid, discs_data, tmp_path / "second", text_encoder) == 0
    assert _compare(grid, discs_data, tmp_path / "second", text_encoder) == 0

    assert {path.parent.parent.name for path in (tmp_path / "second" / "mgca").rglob("model.safetensors")} == {
        "labels-1"
    }


def test_rows_with_parts_of_step_1_make_one_of_their_own_and_others_share_theirs(
    values, discs_data, text_encoder, tmp_path
):
    ours = {"objective": "amvlm", "prompts": "captions"}
    without = {**ours, "learning": {"text_guidance": 0}}
    rows = [
        {"name": "MT + CSS", "step_one": {"icl": 0}, **without},
        {"name": "All", **without},
        {"name": "AMVLM", **ours},
    ]
    pairs = values["pairs"] | {"log_every": 1}
    grid = validated(Comparison, values | {"pairs": pairs, "rows": rows}, "grid")

    assert _compare(grid, discs_data, tmp_path, text_encoder) == 0

    made = {path.parent.parent.name: path.parent for path in tmp_path.glob("step-one/*/*/scores.json")}
    assert set(made) == {"mt-css", "amvlm"}
    told = {name: json.loads((folder / "config.json").read_text())["recipe"] for name, folder in made.items()}
    assert [told[name]["step_one"]["icl"] for name in ("mt-css", "amvlm")] == [0, 0.1]
    assert all(recipe["step_one"]["ambiguity"] == "sigmoid" for recipe in told.values())
    assert (made["mt-css"] / "ambiguity.png").is_file()
    starts = {
        path.parent.parent.parent.name: json.loads(path.read_text())["recipe"]["start"]
        for path in tmp_path.glob("*/labels-2/seed-0/config.json")
    }
    assert starts["all"] == starts["amvlm"] != starts["mt-css"]


def test_neighbouring_rows_of_the_published_parts_differ_in_what_they_minimise():
    grid = read_recipe(Comparison, _RECIPE.with_name("published-parts-monuseg.toml"))

    rows = [(grid.aligned(row, run.recipe), run.recipe) for row, run in zip(grid.rows, grid.runs("grid"), strict=False)]

    assert all(recipe.learning_config().square == 224 for _, recipe in rows)
    told = [(both.step_one(24).step_one, recipe.objective()) for both, recipe in rows]
    assert all(one != other for one, other in itertools.pairwise(told))


def test_without_captions_rows_that_read_them_are_left_out(values, discs_data, text_encoder, tmp_path):
    (discs_data / "MoNuSeg" / "Train_Folder" / "Data_text.csv").unlink()
    grid = validated(Comparison, values | {"rows": values["rows"][:2]}, "grid")

    assert _compare(grid, discs_data, tmp_path / "out", text_encoder) == 1

    page = write_page(grid, tmp_path / "out").read_text()
    assert "have no caption" in page
    assert "| MT | Tarvainen and Valpola" in page


def test_a_grid_of_which_no_row_can_be_run_fails_with_the_reason(discs_data, tmp_path):
    grid, out = tmp_path / "grid.toml", tmp_path / "out"
    grid.write_text(
        'fractions = [2]\nrecipe = { dataset = "MoNuSeg", steps = 1 }\n[[rows]]\nname = "SemiSAM"\n'
        f'method = "semisam"\nsettings = {{ sam = "{tmp_path.as_posix()}" }}\n'
    )

    with pytest.raises(InputError, match=r"No row of .*grid\.toml can be run, .*'SemiSAM': SemiSAM needs the weights"):
        main(grid, discs_data, out, device="cpu")

    assert "needs the weights of SAM" in (out / "compare.md").read_text()


def test_two_processes_do_not_share_a_grid(values, discs_data, text_encoder, tmp_path):
    with RunFolder(tmp_path).held(), pytest.raises(InputError, match="Another process works on"):
        _compare(validated(Comparison, values, "grid"), discs_data, tmp_path, text_encoder)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"method": "mean-teacher", "settings": {"grid": 4}},
            r"row 'x'.*has no setting 'grid', which belongs to ucmt; its own are: [a-z, ]+\.$",
        ),
        ({"settings": {"decay": 0.9}}, "settings belong to rivals"),
        ({"method": "nn-unet"}, "There is no method 'nn-unet'"),
        ({"method": "mean-teacher", "prompts": "captions"}, "MT reads no text"),
    ],
)
def test_a_row_with_another_methods_key_is_refused(values, row, message):
    grid = validated(Comparison, values | {"rows": [{"name": "x"} | row]}, "grid")

    with pytest.raises(InputError, match=message):
        list(grid.runs("grid"))


def test_parts_of_step_1_without_an_objective_are_refused(values):
    with pytest.raises(InputError, match="row 'x' has no step 1; set its objective"):
        validated(Comparison, values | {"rows": [{"name": "x", "step_one": {"icl": 0}}]}, "grid")


def test_the_recipe_has_a_row_for_each_rival():
    grid = read_recipe(Comparison, _RECIPE)

    runs = list(grid.runs("grid"))

    assert len(runs) == 20 * 2 * 3
    assert {run.recipe.learning_config().steps for run in runs} == {500}
