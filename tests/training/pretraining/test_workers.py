"""Two processes that share a run get the losses of one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from training.pretraining.workers import Workers

_RECIPE = """
name = "mini"
version = "1"
licence = "CC0-1.0"
training_data = "noise"
steps = 3
accumulate = 2
presence_steps = 0
log_every = 1
score_every = 100
crop = 64
tile_batch = 2
whole_batch = 2
[model]
embedding = 16
dense = 8
tile = 64
overlap = 16
whole = 64
image_encoder = { hidden = 16, layers = 1, heads = 2, grid = 4, stem = [8, 8, 8, 16] }
unet = { channels = [8, 8, 8, 8], groups = 4, tokens = 4, text = 8 }
"""


def _run(launcher, recipe, data, out):
    command = [*launcher, "-m", "training.pretrain", str(recipe), "--data", str(data), "--out", str(out)]
    root = Path(__file__).parents[3]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    done = subprocess.run(
        [*command, "--device", "cpu"], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    records = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [r for r in records if "segmentation" in r]


@pytest.mark.slow
def test_two_processes_get_the_losses_of_one(shared_data, tmp_path):
    recipe = tmp_path / "mini.toml"
    recipe.write_text(_RECIPE)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    alone = _run([sys.executable], recipe, shared_data, tmp_path / "one")
    shared = _run(launcher, recipe, shared_data, tmp_path / "two")

    assert [r["step"] for r in alone] == [r["step"] for r in shared] == [1, 2, 3]
    for one, two in zip(alone, shared, strict=True):
        for name in set(one) - {"seconds"}:
            assert two[name] == pytest.approx(one[name], rel=2e-3, abs=2e-4), name


@pytest.mark.slow
def test_batches_that_cannot_be_shared_are_told(shared_data, tmp_path):
    recipe = tmp_path / "odd.toml"
    recipe.write_text(_RECIPE.replace("accumulate = 2", "accumulate = 3"))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]

    with pytest.raises(AssertionError, match="3 batches a step cannot be shared by 2 processes; set `accumulate`"):
        _run(launcher, recipe, shared_data, tmp_path / "out")


def test_one_process_takes_all_batches():
    workers = Workers(3, torch.device("cpu"))

    assert list(workers.share(3)) == [0, 1, 2]
    assert workers.leads
