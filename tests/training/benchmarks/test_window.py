"""The parts of the benchmark that learn and open windows, each on a tiny case; times are looked at by hand."""

import os
import subprocess
import sys

import numpy as np
import pytest

from napari_amvlm.learning import StepReport, ValidationReport
from napari_amvlm.project import Project
from training.benchmarks.conditions import SAMPLES
from training.benchmarks.docks.learning import FirstBetter, first_better_row, learn, make_project
from training.benchmarks.docks.slide_window import predict_in_window
from training.benchmarks.docks.window import beat_rows, beats, open_window
from training.benchmarks.pyramid import Mosaic, read_tissue


def _heard(*scores):
    heard = FirstBetter()
    for step, dice in enumerate(scores):
        heard.note(ValidationReport(step, 0.1 * step, dice, {"a": dice}, best=True))
        heard.note(StepReport(step, 0.1 * step, 1.0, 9.0, 0.5, 0.4, 0.1, 1e-3))
    return heard


def test_the_first_better_model_is_the_first_above_the_start():
    better = _heard(0.5, 0.4, 0.5, 0.6, 0.7).better()

    assert better is not None
    assert better[1] == 0.6
    assert _heard(0.5, 0.5, 0.4).better() is None
    assert _heard(0.5).better() is None


def test_the_table_says_when_no_better_model_came():
    none, some = (first_better_row(_heard(*scores), 1.0, "how") for scores in ((0.8, 0.7, 0.75), (0.8, 0.9)))

    assert none.measured == "none came"
    assert none.how == "how; Dice 0.8000 at the start, at best 0.7500 after"
    assert none.ratio is None
    assert some.measured.endswith(" s")
    assert some.how == "how; Dice 0.8000 at the start, 0.9000 then"


def test_a_project_out_of_the_sample_images(tmp_path):
    counts = make_project(tmp_path / "bench.amvlm", SAMPLES / "nuclei", "nuclei")

    assert counts == {"labelled": 4, "held_out": 4, "unlabelled": 4}
    with Project.open(tmp_path / "bench.amvlm") as project:
        found = project.images.counts()
        assert (found.accepted, found.held_out, found.unlabelled) == (8, 4, 4)


def test_lines_of_the_event_loop():
    rows = list(
        beat_rows(
            "learning",
            {"p50_ms": 16.0, "p99_ms": 66.0, "longest_ms": 80.0, "ticks": 300},
            {"p50_ms": 16.0, "p99_ms": 17.0, "longest_ms": 20.0, "ticks": 300},
            "how",
        )
    )

    assert [row.ratio for row in rows] == [2.0, 1.0, 4.0]
    assert rows[0].met is False
    assert "300 ticks" in rows[0].how


@pytest.mark.slow
def test_the_real_window_learns_and_predicts_a_slide(qtbot, tiny_checkpoint, tmp_path):
    make_project(tmp_path / "bench.amvlm", SAMPLES / "nuclei", "nuclei")
    mosaic = Mosaic(1100, read_tissue(SAMPLES / "nuclei"))

    with open_window(str(tiny_checkpoint)) as window:
        quiet = beats(0.5)
        heard, found = learn(window, tmp_path / "bench.amvlm", 0.05)
        idle, busy, memory, blocks = predict_in_window(window, mosaic, tmp_path, "nuclei", 60.0)

    assert len(heard.scores) >= 2
    assert all(0 <= dice <= 1 for _, dice in heard.scores)
    assert min(each["ticks"] for each in (quiet, found, idle)) > 0
    assert blocks == 9
    assert busy["longest_ms"] >= busy["p99_ms"] >= busy["p50_ms"] > 0
    assert np.isfinite(memory.megabytes)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bare", "docks"])
def test_a_process_tells_when_its_window_answers(name, tiny_checkpoint, qtbot):
    command = [sys.executable, "-m", "training.benchmarks.docks.start_up", name, str(tiny_checkpoint)]

    ended = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), check=True)

    keys = [line.partition("=")[0] for line in ended.stdout.split()]
    assert keys == (["usable"] if name == "bare" else ["usable", "model"])
    assert all(float(line.partition("=")[2]) > 0 for line in ended.stdout.split())
