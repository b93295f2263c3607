"""Grids of runs: their order, stopping and going on, and scoring what they left."""

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_amvlm.cli import main as amvlm
from napari_amvlm.errors import InputError, ModelFileError
from training.ablate import ablate, main, start_files
from training.command import sitting
from training.evaluate import evaluate, run_recipe
from training.runs.folder import RunFolder
from training.runs.grid import Grid
from training.runs.kept import keep, restore
from training.runs.recipe import RunRecipe, read_recipe, validated
from training.runs.results import read_runs
from training.runs.weights import AveragedPredictor

_CPU = torch.device("cpu")


@pytest.fixture
def grid(tiny_recipe):
    shared = {key: value for key, value in tiny_recipe.items() if key not in ("name", "labels")} | {"steps": 1}
    rows = [
        {"name": "plain U-Net", "kind": "plain-unet"},
        {"name": "supervised only", "learning": {"unlabelled_batch": 0, "consistency": 0}},
    ]
    return validated(Grid, {"recipe": shared, "fractions": [2], "seeds": [0], "rows": rows}, "grid")


def test_stopped_it_goes_on_and_skips_what_is_finished(grid, discs_data, tmp_path):
    runs = list(grid.runs({}, "grid"))
    out = tmp_path / "runs"
    first = RunFolder(out / runs[0].folder)

    left = ablate(runs, discs_data, out, device=_CPU, should_stop=lambda: first.finished)
    written = first.weights.stat().st_mtime_ns
    rest = ablate(runs, discs_data, out, device=_CPU)

    assert (left, rest) == (1, 0)
    assert first.weights.stat().st_mtime_ns == written
    assert {run.row for run in read_runs(out)} == {"plain U-Net", "supervised only"}
    keep(out, tmp_path / "kept.json")
    restore(tmp_path / "kept.json", tmp_path / "elsewhere")
    assert ablate(runs, discs_data, tmp_path / "elsewhere", device=_CPU, should_stop=lambda: True) == 0
    folder = str(out / runs[1].folder)
    report = evaluate(folder, run_recipe(folder, None, ["none"]), discs_data, device=_CPU, protocols=("native",))
    assert (report["dataset"], report["n"], list(report["scores"])) == ("MoNuSeg", 2, ["none"])
    again = evaluate(folder, run_recipe(folder, None, ()), discs_data, device=_CPU)
    assert again["scores"] == (RunFolder(out / runs[1].folder).read("scores.json") or {})["scores"]
    other = str(out / runs[0].folder)
    for share, alone in ((0.0, folder), (1.0, other)):
        recipe = run_recipe(alone, None, ["fixed"])
        expected = evaluate(alone, recipe, discs_data, device=_CPU, protocols=("native",))["scores"]
        together = evaluate(folder, recipe, discs_data, device=_CPU, protocols=("native",), beside=other, share=share)
        assert together["scores"] == expected
        assert (together["beside"], together["share"]) == (other, share)


def test_a_run_that_another_process_makes_is_left_alone(grid, discs_data, tmp_path):
    first, second = grid.runs({}, "grid")
    with RunFolder(tmp_path / first.folder).held():
        with pytest.raises(InputError, match=r"Another process works on .*plain-u-net.*; wait until it is done"):
            ablate([first], discs_data, tmp_path, device=_CPU)
        assert ablate([second], discs_data, tmp_path, device=_CPU) == 0

    assert ablate([first], discs_data, tmp_path, device=_CPU) == 0


def test_two_models_answer_with_the_mean_of_their_logits():
    class Sure:
        def __init__(self, probability):
            self.probability = np.full((2, 2), probability, np.float32)

        def set_image(self, image, *, key=None):
            """Take any image."""

        def predict(self, prompt, *, scale="auto", magnification=1.0):
            """Give the same answer each time."""
            return self

    both = AveragedPredictor(Sure(0.9), Sure(0.1), 0.25)
    both.set_image(np.zeros((2, 2, 3), np.uint8))

    odds = 9**0.75 * (1 / 9) ** 0.25
    np.testing.assert_allclose(both.predict("nuclei").probability, odds / (1 + odds), rtol=1e-5)
    with pytest.raises(InputError, match=r"share to lie between 0 and 1, but got 1\.5"):
        evaluate("x", run_recipe("x", "MoNuSeg", ()), Path(), device=_CPU, beside="y", share=1.5)
    with pytest.raises(InputError, match=r"--share is of a second model"):
        evaluate("x", run_recipe("x", "MoNuSeg", ()), Path(), device=_CPU, share=0.3)


def test_tasks_are_folders_of_their_own_with_all_rows_for_each_seed(grid):
    tasks = ({"dataset": "Words/Polyps", "scale": "whole"}, {"dataset": "MoNuSeg"})
    several = validated(Grid, grid.model_dump() | {"tasks": tasks, "seeds": (0, 1)}, "grid")

    runs = list(several.runs({}, "grid"))

    assert [run.folder for run in runs[:5]] == [
        "words-polyps/plain-u-net/labels-2/seed-0",
        "words-polyps/supervised-only/labels-2/seed-0",
        "monuseg/plain-u-net/labels-2/seed-0",
        "monuseg/supervised-only/labels-2/seed-0",
        "words-polyps/plain-u-net/labels-2/seed-1",
    ]
    assert [run.recipe.spec().name for run in runs[:4:2]] == ["Words/Polyps", "MoNuSeg"]


@pytest.mark.parametrize("tasks", [({"scale": "whole"},), ({"dataset": "MoNuSeg"}, {"dataset": "MoNuSeg"})])
def test_a_task_needs_a_data_set_of_its_own(grid, tasks):
    with pytest.raises(InputError, match="every task needs a dataset of its own"):
        validated(Grid, grid.model_dump() | {"tasks": tasks}, "grid")


def test_a_run_learns_from_any_folder_that_says_what_its_masks_show(grid, discs_data, tmp_path):
    root = tmp_path / "Words" / "Discs"
    root.mkdir(parents=True)
    for part in ("img", "labelcol"):
        shutil.copytree(discs_data / "MoNuSeg" / "Train_Folder" / part, root / part)
    (root / "classes.csv").write_text("value,prompt\n255,bright discs\n", encoding="utf-8")
    task = {"dataset": "Words/Discs", "scale": "whole"}
    several = grid.only(["supervised only"]).model_copy(update={"tasks": (task,)})

    left = ablate(list(several.runs({}, "grid")), tmp_path, tmp_path / "runs", device=_CPU)

    assert left == 0
    (run,) = [run for run in read_runs(tmp_path / "runs") if run.protocol == "native"]
    assert (run.dataset, run.labelled) == ("Words/Discs", 2)


def test_a_sitting_without_time_does_nothing(grid, discs_data, tmp_path):
    with sitting(0) as over:
        left = ablate(list(grid.runs({}, "grid")), discs_data, tmp_path / "runs", device=_CPU, should_stop=over)

    assert left == 2
    assert not (tmp_path / "runs").exists()


def test_missing_start_weights_are_told_before_the_first_run(grid, discs_data, tmp_path):
    row = grid.rows[1].model_copy(update={"start": "css-icl"})
    runs = list(grid.model_copy(update={"rows": (grid.rows[0], row)}).runs({}, "grid"))

    with pytest.raises(ModelFileError, match="no model 'css-icl'"):
        ablate(runs, discs_data, tmp_path / "runs", device=_CPU)

    assert not (tmp_path / "runs").exists()


def test_all_cells_of_a_seed_come_before_the_next(grid):
    larger = grid.model_copy(update={"fractions": (2, "50%"), "seeds": (0, 1)})

    folders = [run.folder for run in larger.runs({}, "grid")]

    assert folders[:3] == [
        "plain-u-net/labels-2/seed-0",
        "supervised-only/labels-2/seed-0",
        "plain-u-net/labels-50-percent/seed-0",
    ]
    assert [folder.endswith("seed-0") for folder in folders] == [True] * 4 + [False] * 4


def test_rows_are_chosen_by_name_and_others_are_listed(grid):
    assert [row.name for row in grid.only(["Plain U-Net"]).rows] == ["plain U-Net"]
    with pytest.raises(InputError, match="There is no row css; choose from: plain-u-net, supervised-only"):
        grid.only(["css"])


def test_rows_of_one_name_are_refused(grid):
    values = grid.model_dump()
    values["rows"] = [{"name": "a b"}, {"name": "A+B"}]

    with pytest.raises(InputError, match="but a-b comes twice"):
        validated(Grid, values, "grid")


def test_start_weights_that_no_row_names_are_refused(tmp_path):
    path = Path(__file__).parents[2] / "training" / "recipes" / "unlabelled.toml"

    with pytest.raises(InputError, match=r"No row of .*unlabelled\.toml starts from css-icl; take that --start out"):
        main(path, tmp_path, tmp_path / "out", start=["css-icl=x.safetensors"])

    assert not (tmp_path / "out").exists()


def test_start_weights_are_given_as_name_and_file():
    assert str(start_files(["full=x/y.safetensors"])["full"]).endswith("y.safetensors")
    with pytest.raises(InputError, match="must look like NAME=FILE"):
        start_files(["full"])


def test_a_model_that_is_no_run_needs_a_data_set(tmp_path):
    with pytest.raises(InputError, match="give --dataset NAME"):
        run_recipe("amvlm-open", None, ())


@pytest.mark.parametrize("protocol", ["native", "224"])
def test_the_installed_command_gives_the_scores_of_experiments(discs_data, tiny_checkpoint, capsys, protocol):
    recipe = run_recipe(str(tiny_checkpoint), "MoNuSeg", ())
    ours = evaluate(str(tiny_checkpoint), recipe, discs_data, device=_CPU, protocols=(protocol,))["scores"]["fixed"]
    folder = str(discs_data / "MoNuSeg" / "Val_Folder")
    options = ["--prompt", "nuclei", "--scale", "tiles", "--protocol", protocol, "--device", "cpu", "--json"]

    assert amvlm(["evaluate", folder, "--model", str(tiny_checkpoint), *options]) == 0

    assert json.loads(capsys.readouterr().out)["per_image"] == ours[protocol]["per_image"]


@pytest.mark.parametrize("name", ["ablation-monuseg", "ablation-monuseg-short", "unlabelled-monuseg"])
def test_rows_that_stand_beside_each_other_differ_in_what_they_minimise(name):
    path = Path(__file__).parents[2] / "training" / "recipes" / f"{name}.toml"

    runs = [run for run in read_recipe(Grid, path).runs({}, name) if run.recipe.seed == 0]

    for one, other in itertools.pairwise(runs):
        if one.recipe.labels == other.recipe.labels:
            assert one.recipe.objective() != other.recipe.objective(), (one.row, other.row)


def test_a_weight_of_l_tg_changes_nothing_where_one_text_is_asked():
    recipe = {"name": "row", "dataset": "MoNuSeg", "steps": 3}

    with_it, without = (RunRecipe.model_validate(recipe | {"learning": {"text_guidance": w}}) for w in (0.1, 0.0))
    asked = [r.model_copy(update={"prompts": "captions"}) for r in (with_it, without)]

    assert with_it.objective() == without.objective()
    assert asked[0].objective() != asked[1].objective()
