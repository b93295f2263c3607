"""Single runs: what they leave, that they go on after a kill, and that ways of asking reach the model."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from napari_amvlm.device import bounded_threads
from napari_amvlm.errors import Cancelled, DatasetError, InputError
from napari_amvlm.models.model_info import read_info
from training.runs.folder import RunFolder, StateFile
from training.runs.plain_unet import PlainPredictor
from training.runs.recipe import RunRecipe
from training.runs.weights import load_predictor
from training.semi_supervised import execute, main

_CPU = torch.device("cpu")
_RUN = """
import json, sys
from pathlib import Path
import torch
from training.runs.recipe import RunRecipe
from training.semi_supervised import execute

torch.set_num_threads(1)
recipe = RunRecipe.model_validate(json.loads(sys.argv[1]))
tell = lambda fraction, note: print(note, flush=True)
execute(recipe, Path(sys.argv[2]), Path(sys.argv[3]), device=torch.device("cpu"), show=tell)
"""


@pytest.fixture(autouse=True)
def _one_thread():
    """Let sums be taken in one order."""
    with bounded_threads(1):
        yield


def _run(values, data, out, encoder, **how):
    return execute(RunRecipe.model_validate(values), data, out, device=_CPU, text_encoder=encoder, **how)


def test_a_run_leaves_all_that_it_was_and_did(discs_data, tiny_recipe, text_encoder, tmp_path):
    out = tmp_path / "run"
    values = tiny_recipe | {"prompts": "captions", "score_prompts": ["fixed", "shuffled captions", "none"]}

    scores = _run(values, discs_data, out, text_encoder)

    names = {path.name for path in out.iterdir()}
    assert names >= {"config.json", "data.json", "log.jsonl", "scores.json", "model.safetensors"}
    assert names >= {"report.md", "curve.png", "overlay-1.png", "overlay-2.png"}
    assert "state.safetensors" not in names
    assert json.loads((out / "scores.json").read_text()) == scores
    assert list(scores["scores"]) == ["captions", "fixed", "shuffled captions", "none"]
    for protocols in scores["scores"].values():
        assert list(protocols) == ["native", "224"]
        assert all(set(r["per_image"]) == {"TCGA-BB-0000", "TCGA-BB-0001"} for r in protocols.values())
    told = json.loads((out / "config.json").read_text())
    assert told["start"] == read_info(Path(tiny_recipe["start"])).sha256
    assert told["learning"]["keep"] == "last"
    used = json.loads((out / "data.json").read_text())
    assert len(used["split"]["labelled"]) == 2
    assert len(used["sha256"]) == 2 * 2 + 2 * 2 + 6
    events = [json.loads(line)["event"] for line in (out / "log.jsonl").read_text().splitlines()]
    assert (events.count("step"), events[0], events[-1]) == (3, "validation", "learnt")
    assert "Dice" in (out / "report.md").read_text()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")
def test_a_run_that_was_killed_ends_with_the_same_weights(discs_data, tiny_recipe, text_encoder, tmp_path):
    values = tiny_recipe | {"steps": 30, "save_every_seconds": 0}
    command = [sys.executable, "-c", _RUN, json.dumps(values), str(discs_data), str(tmp_path / "killed")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == "step 11":
                process.kill()
                break
        process.stdout.read()
    assert process.returncode == -9
    with safe_open(tmp_path / "killed" / "state.safetensors", "pt") as file:
        reached = json.loads(file.metadata()["progress"])["step"]
    assert 10 <= reached < 30

    whole = _run(values, discs_data, tmp_path / "whole", text_encoder)
    resumed = _run(values, discs_data, tmp_path / "killed", text_encoder)

    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "killed"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert resumed["scores"] == whole["scores"]
    logs = [_log(tmp_path / name) for name in ("whole", "killed")]
    assert logs[0] == logs[1]


def _log(folder):
    records = RunFolder(folder).logged()
    return [(r["event"], r["step"], r.get("loss", r.get("dice", 0.0))) for r in records]


def test_a_stopped_run_keeps_its_state_and_a_finished_one_is_not_repeated(
    discs_data, tiny_recipe, text_encoder, tmp_path
):
    out = tmp_path / "run"
    notes = []

    with pytest.raises(Cancelled, match="Stopped after 1 steps; the same command goes on"):
        _run(
            tiny_recipe,
            discs_data,
            out,
            text_encoder,
            should_stop=lambda: "step 1" in notes,
            show=lambda fraction, note: notes.append(note),
        )
    kept = StateFile(RunFolder(out), 60).load()
    assert kept is not None
    assert kept.progress.step == 1
    first = _run(tiny_recipe, discs_data, out, text_encoder)
    written = (out / "model.safetensors").stat().st_mtime_ns

    assert _run(tiny_recipe, discs_data, out, text_encoder) == first
    assert (out / "model.safetensors").stat().st_mtime_ns == written


def test_a_plain_unet_that_was_stopped_ends_with_the_same_weights(discs_data, tiny_recipe, text_encoder, tmp_path):
    values = tiny_recipe | {"method": "plain-unet", "steps": 6}
    notes = []

    with pytest.raises(Cancelled, match="Stopped after 3 steps; the same command goes on"):
        _run(
            values,
            discs_data,
            tmp_path / "stopped",
            text_encoder,
            should_stop=lambda: "step 3" in notes,
            show=lambda fraction, note: notes.append(note),
        )
    for name in ("whole", "stopped"):
        _run(values, discs_data, tmp_path / name, text_encoder)

    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "stopped"))
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert _log(tmp_path / "whole") == _log(tmp_path / "stopped")


def test_a_run_does_not_go_on_under_other_settings(discs_data, tiny_recipe, text_encoder, tmp_path):
    _run(tiny_recipe | {"steps": 1}, discs_data, tmp_path / "run", text_encoder)

    with pytest.raises(InputError, match="holds a run with another learning, recipe; choose another --out"):
        _run(tiny_recipe | {"steps": 2}, discs_data, tmp_path / "run", text_encoder)


def test_a_damaged_state_is_told(tmp_path):
    (tmp_path / "state.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00broken")

    with pytest.raises(InputError, match=r"state\.safetensors cannot be read .*; remove it to begin the run anew"):
        StateFile(RunFolder(tmp_path), 60).load()


def test_several_things_are_scored_each_and_a_plain_unet_learns_them_too(
    spine_data, tiny_recipe, text_encoder, tmp_path
):
    values = tiny_recipe | {"dataset": "SPIDER-Spine", "steps": 1}
    plain = values | {"method": "plain-unet"}

    scores = _run(values, spine_data, tmp_path / "ours", text_encoder)
    baseline = _run(plain, spine_data, tmp_path / "plain", text_encoder)

    for found in (scores, baseline):
        report = found["scores"]["fixed"]["native"]
        assert list(report["prompts"]) == ["vertebrae", "intervertebral discs"]
        assert report["dice"] == pytest.approx(sum(p["dice"] for p in report["prompts"].values()) / 2)
        assert found["labelled"] == 2
    assert baseline["unlabelled"] == 0
    assert isinstance(load_predictor(tmp_path / "plain", _CPU), PlainPredictor)
    with pytest.raises(InputError, match="looks at an image in one view"):
        load_predictor(tmp_path / "plain", _CPU, views=8)


def test_without_unlabelled_crops_no_unlabelled_image_is_used(discs_data, tiny_recipe, text_encoder, tmp_path):
    values = tiny_recipe | {"steps": 1}
    values["learning"] = values["learning"] | {"unlabelled_batch": 0, "consistency": 0}

    assert _run(values, discs_data, tmp_path / "run", text_encoder)["unlabelled"] == 0


def test_random_weights_are_a_start_of_their_own(discs_data, tiny_recipe, text_encoder, tmp_path):
    values = tiny_recipe | {"steps": 1, "start": "random"}

    for name, seed in (("a", 0), ("again", 0), ("b", 1)):
        _run(values | {"seed": seed}, discs_data, tmp_path / name, text_encoder)

    assert RunFolder(tmp_path / "a").read("config.json")["start"] == "random"
    a, again, b = (load_file(tmp_path / name / "model.safetensors") for name in ("a", "again", "b"))
    frozen = [key for key in a if key.startswith("image_encoder.") and key.endswith("weight")]
    assert frozen
    assert all(torch.equal(a[key], again[key]) for key in a)
    assert any(not torch.equal(a[key], b[key]) for key in frozen)


def test_a_validation_image_among_the_labelled_is_refused(discs_data, tiny_recipe, text_encoder, tmp_path):
    root = discs_data / "MoNuSeg"
    for part in ("img", "labelcol"):
        same = (root / "Train_Folder" / part / "TCGA-AA-0000.png").read_bytes()
        (root / "Val_Folder" / part / "TCGA-BB-0000.png").write_bytes(same)

    with pytest.raises(DatasetError, match="TCGA-BB-0000 is the labelled image TCGA-AA-0000, byte by byte"):
        _run(tiny_recipe | {"labels": "100%"}, discs_data, tmp_path / "run", text_encoder)


def test_one_command_runs_a_recipe_with_settings(invoke, discs_data, tiny_checkpoint, tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('name = "tiny"\ndataset = "MoNuSeg"\nlabels = "25%"\nminutes = 20\n')
    settings = ["steps=1", f"start={tiny_checkpoint}", "labels=2", "learning.crop=64"]
    settings += ["learning.labelled_batch=1", "learning.unlabelled_batch=0"]
    given = [part for setting in settings for part in ("--set", setting)]

    refused = invoke(main, recipe, "--data", discs_data, "--out", tmp_path / "a", *given)
    recipe.write_text('name = "tiny"\ndataset = "MoNuSeg"\nlabels = "25%"\n')
    result = invoke(main, recipe, "--data", discs_data, "--out", tmp_path / "b", "--device", "cpu", *given)

    assert isinstance(refused.exception, InputError)
    assert "either minutes or steps" in str(refused.exception)
    assert result.exit_code == 0, result.output
    assert "fixed, native: Dice" in result.stdout
