"""What captions add: Dice by way of asking, and whether captions fit their images."""

import json

import pytest
import torch

from napari_amvlm.errors import InputError
from napari_amvlm.evaluation import evaluate_pairs
from napari_amvlm.predictor import Predictor
from training.benchmarks.captions import Asked, asked_images, contribution, main, matching
from training.datasets import SplitConfig, dataset_called, open_dataset


def _asked(name, caption, v_cls, **dice):
    modes = {"fixed": 0.5, "captions": 0.5, "shuffled captions": 0.5, "none": 0.0} | dice
    return Asked(name, caption, modes, modes, v_cls)


def test_each_image_is_asked_its_own_caption_and_another_ones(tiny_model, discs_data):
    split = open_dataset(dataset_called("MoNuSeg"), discs_data, SplitConfig(), seed=0)

    rows = asked_images(tiny_model, split, split.validation, seed=0)

    captions = {pair.name: pair.caption for pair in split.validation}
    exchanged = dict(zip(captions, [*captions.values()][::-1], strict=True))
    for mode, said in (("captions", captions), ("shuffled captions", exchanged)):
        report = evaluate_pairs(
            Predictor(tiny_model),
            split.validation,
            {"nuclei": None},
            wording=lambda name, thing, said=said: said[name],
            one=True,
            scale="tiles",
        )
        for row in rows:
            assert row.dice[mode] == pytest.approx(report["per_image"][row.name]["dice"], abs=1e-6)
    assert [row.caption for row in rows] == [*captions.values()]


def test_ways_of_asking_are_tested_against_one_another():
    rows = [_asked(f"i{k}", f"c{k}", torch.eye(4)[k], captions=0.6 + 0.1 * k) for k in range(3)]

    found = contribution(rows)

    assert found["dice"]["captions"] == pytest.approx(0.7)
    test = next(t for t in found["dice_tests"] if (t["first"], t["second"]) == ("captions", "shuffled captions"))
    assert test["difference"] == pytest.approx(0.2)


def test_own_captions_are_ranked_among_all(tiny_model):
    captions = ["left lung", "nuclei", "a dog"]
    with torch.inference_mode():
        t_cls = tiny_model.encode_text(captions).t_cls
    right = [_asked(c, c, t) for c, t in zip(captions, t_cls, strict=True)]
    opposite = [_asked(c, c, -t) for c, t in zip(captions, t_cls, strict=True)]

    best, worst = matching(tiny_model, right), matching(tiny_model, opposite)

    assert (best["captions"], best["nearer"], best["first"], best["place"]) == (3, 1.0, 1.0, 1.0)
    assert best["own"] == pytest.approx(1, abs=1e-4)
    assert (worst["nearer"], worst["first"], worst["place"]) == (0.0, 0.0, 3.0)
    with pytest.raises(InputError, match="All images have one caption"):
        matching(tiny_model, right[:1])


def test_one_command_writes_tables(invoke, tiny_checkpoint, discs_data, tmp_path):
    arguments = ["--data", str(discs_data), "--model", str(tiny_checkpoint), "--dataset", "MoNuSeg"]

    result = invoke(main, *arguments, "--part", "validation", "--out", tmp_path / "out")

    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "out" / "captions.json").read_text())["datasets"]["MoNuSeg"]
    assert (report["n"], report["matching"]["captions"]) == (2, 2)
    assert "| MoNuSeg | 2 | segmentation |" in (tmp_path / "out" / "captions.md").read_text()
    (discs_data / "MoNuSeg" / "Val_Folder" / "Data_text.csv").unlink()
    without = invoke(main, *arguments, "--part", "validation")
    assert "No image of MoNuSeg (validation) has a caption" in str(without.exception)
