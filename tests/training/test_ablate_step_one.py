"""A grid of short pretraining runs that differ in the parts of step 1."""

import json
from pathlib import Path

import pytest
import torch

from napari_amvlm.errors import InputError
from training.ablate_step_one import StepOneGrid, main, run_grid
from training.pages import rendered
from training.pretraining.step_one_table import markdown, tables
from training.runs.folder import RunFolder
from training.runs.kept import begin_grid, keep
from training.runs.recipe import read_recipe, read_toml, validated

_GRID = """
held_out = 2
[recipe]
version = "0"
licence = "CC0-1.0"
training_data = "noise"
sources = ["DSB2018", "CXR-Lungs"]
steps = 2
presence_steps = 0
crop = 64
tile_batch = 2
whole_batch = 2
score_every = 2
log_every = 1
[recipe.model]
embedding = 16
dense = 8
tile = 64
overlap = 16
whole = 64
image_encoder = { hidden = 16, layers = 1, heads = 2, grid = 4, stem = [8, 8, 8, 16] }
unet = { channels = [8, 8, 8, 8], groups = 4, tokens = 4, text = 8 }
[[rows]]
name = "L_ITA alone"
step_one = { css = 0, icl = 0 }
[[rows]]
name = "with PDT"
step_one = { ambiguity = "exponential" }
"""


@pytest.fixture
def grid(shared_data, tmp_path):
    """Return the file of a grid of two rows, and leave images enough for some to be held out."""
    for source, masks in (("CXR-Lungs", "labelcol"), ("DSB2018", "instances")):
        for index in range(24):
            for folder in ("img", masks):
                place = shared_data / source / folder
                (place / f"more{index}.png").write_bytes((place / "image0.png").read_bytes())
    path = tmp_path / "grid.toml"
    path.write_text(_GRID)
    return path


def test_a_grid_goes_on_where_it_stopped_and_ends_with_its_tables(invoke, grid, shared_data, tmp_path):
    out = tmp_path / "out"
    command = [str(grid), "--data", str(shared_data), "--out", str(out), "--device", "cpu"]

    first = invoke(main, *command, "--row", "L_ITA alone")
    before = (out / "l-ita-alone" / "seed-0" / "alignment.json").stat().st_mtime_ns
    second = invoke(main, *command)
    otherwise = invoke(main, *command, "--set", "recipe.steps=3")

    assert first.exit_code == 0, first.output
    assert "1 of 1 runs are finished" in first.output
    assert "2 of 2 runs are finished" in second.output
    assert "holds a run with another recipe" in str(otherwise.exception)
    assert (out / "l-ita-alone" / "seed-0" / "alignment.json").stat().st_mtime_ns == before
    found = json.loads((out / "step-one.json").read_text())
    alone, full = found["rows"]["L_ITA alone"], found["rows"]["with PDT"]
    assert alone["ratio"] is None
    assert full["ratio"] > 1
    assert all(0 <= row["retrieval"] <= 1 for row in (alone, full))
    assert {test["row"] for test in found["tests"]} == {"with PDT"}
    logged = (out / "with-pdt" / "seed-0" / "log.jsonl").read_text()
    assert '"css"' in logged
    assert '"css"' not in (out / "l-ita-alone" / "seed-0" / "log.jsonl").read_text()


def test_kept_runs_count_as_finished_elsewhere_and_make_the_tables_of_a_page(invoke, grid, shared_data, tmp_path):
    command = [str(grid), "--data", str(shared_data), "--device", "cpu"]
    first, second, kept = tmp_path / "first", tmp_path / "second", tmp_path / "kept.json"
    invoke(main, *command, "--out", first, "--row", "with PDT")
    assert keep(first, kept) == 1

    idle = invoke(main, *command, "--out", second, "--kept", kept, "--minutes", "0")
    rest = invoke(main, *command, "--out", second)

    assert "1 of 2 runs are finished" in idle.output
    assert "2 of 2 runs are finished" in rest.output
    assert not (second / "with-pdt" / "seed-0" / "log.jsonl").exists()
    assert list(json.loads((second / "step-one.json").read_text())["rows"]) == ["L_ITA alone", "with PDT"]
    assert keep(second, kept) == 2
    page = tmp_path / "page.md"
    page.write_text("<!-- tables: kept.json, step-one -->\n<!-- end of tables -->\n")
    means, tests = (second / "step-one.md").read_text().split("\n\n")
    assert means in rendered(page)
    assert all(line in rendered(page) for line in tests.splitlines()[:2])


def test_an_interrupted_run_keeps_its_steps(grid, shared_data, tmp_path, text_encoder):
    wanted = read_recipe(StepOneGrid, grid)
    runs = list(wanted.only(["with PDT"]).runs("grid"))
    how = {"device": torch.device("cpu"), "start": tmp_path, "text_encoder": text_encoder}
    asked = iter([False, True])

    left = run_grid(wanted, runs, shared_data, tmp_path / "out", should_stop=lambda: next(asked), **how)
    rest = run_grid(wanted, runs, shared_data, tmp_path / "out", **how)

    assert (left, rest) == (1, 0)
    steps = [r["step"] for r in RunFolder(tmp_path / "out" / runs[0].folder).logged() if "css" in r]
    assert steps == [1, 2]


def test_the_grid_that_comes_along_has_rows_that_differ_in_step_one_alone():
    path = Path(__file__).parents[2] / "training" / "recipes" / "ablation-step-one.toml"

    runs = list(validated(StepOneGrid, read_toml(path), str(path)).runs(str(path)))

    told = [recipe.model_dump(exclude={"name", "step_one"}) for _, _, recipe in runs]
    assert all(other == told[0] for other in told)
    forms = [(r.step_one.ambiguity, r.step_one.most_ambiguous > 0) for _, _, r in runs[1:]]
    assert forms[:3] == [("none", False), ("sigmoid", False), ("exponential", False)]
    assert forms[3:] == [("sigmoid", True), ("exponential", True), ("dusss", False)]
    assert (runs[0][2].step_one.css, runs[0][2].step_one.icl) == (0, 0)


def _write_run(folder, text_mask, spread, retrieval):
    folder.mkdir(parents=True)
    groups = {f"{s} captions": {"cosine": 0.1, "spread": 0.2, "ratio": None, "sigma": None} for s in ("right", "wrong")}
    scores = {
        "scores": {"lungs": 0.9, "absent": 0.0},
        "text_mask": {"lungs": 0.5},
        "per_image": {f"i{k}": {"text_mask": {"lungs": v}} for k, v in enumerate(text_mask)},
    }
    aligned = {
        "groups": groups,
        "right_nearer": {"captions": 0.8, "prompts": 0.9},
        "retrieval": retrieval,
        "spread_per_image": {f"i{k}": v for k, v in enumerate(spread)},
    }
    (folder / "scores.json").write_text(json.dumps(scores))
    (folder / "alignment.json").write_text(json.dumps(aligned))


def test_rows_are_compared_with_the_first_on_the_same_images(tmp_path):
    _write_run(tmp_path / "a" / "seed-0", [0.4, 0.5, 0.6], [0.1, 0.2, 0.3], 0.5)
    _write_run(tmp_path / "b" / "seed-0", [0.5, 0.7, 0.9], [0.1, 0.1, 0.1], 0.75)
    _write_run(tmp_path / "b" / "seed-1", [0.5, 0.7, 0.9], [0.1, 0.1, 0.1], 0.25)
    (tmp_path / "grid.json").write_text('{"rows": ["A", "B", "C"]}')

    found = tables(tmp_path)

    assert list(found["rows"]) == ["A", "B"]
    assert (found["rows"]["B"]["seeds"], found["rows"]["B"]["retrieval"]) == (2, 0.5)
    of_mask, of_spread = found["tests"]
    assert (of_mask["of"], of_mask["images"], of_mask["difference"]) == ("text_mask", 3, pytest.approx(0.2))
    assert of_spread["difference"] == pytest.approx(-0.1)
    assert "| B | 2 | 0.5000 | 0.9000 | 0.5000 |" in markdown(found)
    with pytest.raises(InputError, match="holds no finished run of a grid of step 1"):
        tables(tmp_path / "a")


_WORDS = (
    _GRID.split("sources =", maxsplit=1)[0]
    + """
steps = 2
warmup = 1
batch = 2
crop = 32
loaders = 0
step_one_weight = 1
held_out_wordings = true
held_out_words = ["spinal canal"]
log_every = 1
"""
    + _GRID[_GRID.index("[recipe.model]") : _GRID.index("[[rows]]")]
    + """
[[recipe.sets]]
name = "spine"
kind = "whole"
modality = "lumbar spine MRI"
subject = '_(slice\\d+)$'
[[recipe.sets]]
name = "nuclei"
kind = "tiles"
modality = "H&E histology"
prompts = ["nuclei"]
[[step_two]]
dataset = "lungs"
scale = "whole"
labels = 2
steps = 1
holding_out = "seed"
validation_share = 0.3
learning = { crop = 64, labelled_batch = 1, unlabelled_batch = 0, consistency = 0, validations = 1 }
"""
    + _GRID[_GRID.index("[[rows]]") :]
)


def test_a_grid_on_words_is_scored_on_what_was_held_out_and_after_step_two(tmp_path, text_encoder):
    path, out, samples = tmp_path / "grid.toml", tmp_path / "out", Path(__file__).parents[2] / "sample_data"
    path.write_text(_WORDS)
    wanted = read_recipe(StepOneGrid, path)
    runs = list(wanted.runs("grid"))
    how = {"device": torch.device("cpu"), "start": tmp_path, "text_encoder": text_encoder}
    asked = iter([False, True])
    begin_grid(wanted, out, None)

    stopped = run_grid(wanted, runs, samples, out, should_stop=lambda: next(asked), **how)
    left = run_grid(wanted, runs, samples, out, **how)
    again = run_grid(wanted, runs, samples, out, should_stop=lambda: True, **how)

    assert (stopped, left, again) == (2, 0, 0)
    steps = [r["step"] for r in RunFolder(out / runs[0].folder).logged() if "ita" in r]
    assert steps == [1, 2]
    found = tables(out)
    alone, full = found["rows"]["L_ITA alone"], found["rows"]["with PDT"]
    assert alone.keys() == full.keys()
    for name in ("text_mask", "new_wordings", "new_words", "image_to_caption", "caption_to_image", "step 2, lungs"):
        assert 0 <= full[name] <= 1
    assert (alone["r"], alone["w"]) == (None, None)
    assert full["r"] >= 1 >= full["w"] > 0
    assert {test["of"] for test in found["tests"]} >= {"text_mask", "new_wordings", "spread", "step_two"}
    assert "| with PDT | 1 |" in markdown(found)
    kept = tmp_path / "kept.json"
    assert keep(out, kept) == 2
    assert "step-2" not in kept.read_text().replace('"step 2', "")
    assert tables(kept)["rows"].keys() == found["rows"].keys()


def test_step_two_is_of_sets_that_the_grid_does_not_teach(tmp_path, text_encoder):
    path, samples = tmp_path / "grid.toml", Path(__file__).parents[2] / "sample_data"
    path.write_text(_WORDS.replace('dataset = "lungs"', 'dataset = "spine"'))
    wanted = read_recipe(StepOneGrid, path)

    with pytest.raises(InputError, match="The recipe teaches spine, a task of step_two"):
        run_grid(wanted, list(wanted.runs("g")), samples, tmp_path, torch.device("cpu"), start=tmp_path)
    path.write_text(_WORDS.replace("labels = 2", "labels = 0"))
    with pytest.raises(InputError, match="expected at least 1 labelled image"):
        read_recipe(StepOneGrid, path)
