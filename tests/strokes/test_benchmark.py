import json

import numpy as np
import pytest
import typer
from skimage.io import imsave
from typer.testing import CliRunner

from training.benchmarks.strokes import measure
from training.simulation.strokes import next_stroke


@pytest.fixture
def command():
    app = typer.Typer()
    app.command()(measure)
    return app


def test_the_stroke_lies_in_the_largest_error_and_leaves_what_is_right():
    truth = np.zeros((60, 80), np.bool_)
    truth[20:40, 5:75] = True
    mask = truth.copy()
    mask[20:40, 30:75] = False
    mask[:3, :3] = True

    stroke = next_stroke(mask, truth)

    assert stroke is not None
    assert stroke.positive
    assert truth[stroke.rows, stroke.columns].all()
    assert (~mask[stroke.rows, stroke.columns]).mean() > 0.9
    assert len(stroke.rows) >= 30 * 3


def test_what_is_right_needs_no_stroke():
    truth = np.eye(20, dtype=np.bool_)

    assert next_stroke(truth, truth) is None
    erase = next_stroke(np.ones_like(truth), truth)
    assert erase is not None
    assert not erase.positive


def test_the_benchmark_prints_one_object(command, tiny_checkpoint, tmp_path):
    rng = np.random.default_rng(0)
    for folder in ("img", "labelcol"):
        (tmp_path / folder).mkdir()
    for name in ("a", "b"):
        mask = np.zeros((96, 64), np.uint8)
        mask[30:60, 20:50] = 255
        image = np.clip(rng.normal(60, 10, mask.shape) + mask / 2, 0, 255).astype(np.uint8)
        imsave(tmp_path / "img" / f"{name}.png", image, check_contrast=False)
        imsave(tmp_path / "labelcol" / f"{name}.png", mask, check_contrast=False)
    options = [str(tmp_path), "--prompt", "left lung", "--strokes", "4", "--model", str(tiny_checkpoint)]

    result = CliRunner().invoke(command, [*options, "--json"])
    for_people = CliRunner().invoke(command, [*options, "--reach", "off"])

    report = json.loads(result.stdout)
    assert set(report) == {"dice", "per_image", "seconds_p95"}
    assert len(report["dice"]) == 5
    assert set(report["per_image"]) == {"a", "b"}
    assert report["dice"][4] > max(report["dice"][0], 0.8)
    assert report["seconds_p95"] > 0
    assert "4 strokes: Dice" in for_people.stdout
