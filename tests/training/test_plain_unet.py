"""The baseline learns, and is scored like everything else."""

import json

import numpy as np
import pytest
import torch
from skimage.io import imsave

from napari_amvlm.config import LearningConfig
from napari_amvlm.errors import DatasetError
from napari_amvlm.evaluation import evaluate_folder
from napari_amvlm.learning.crop_source import CropSource
from training.methods import train as training_loop
from training.methods.backbone import PlainUNet
from training.methods.teachers import UNetMethod
from training.methods.train import train
from training.plain_unet import load_labelled, main
from training.runs.plain_unet import PlainPredictor

_CPU = torch.device("cpu")


@pytest.fixture
def discs(tmp_path):
    """Return a folder with two images of dark discs on a bright ground; their sides are no multiple of 16."""
    rows, columns = np.mgrid[:90, :101]
    for folder in ("img", "labelcol"):
        (tmp_path / folder).mkdir()
    for index in range(2):
        mask = ((rows % 30 - 15) ** 2 + (columns % 30 - 15) ** 2) < (8 + index) ** 2
        image = np.where(mask[..., None], (90, 40, 120), (230, 190, 220)).astype(np.uint8)
        imsave(tmp_path / "img" / f"{index}.png", image, check_contrast=False)
        imsave(tmp_path / "labelcol" / f"{index}.png", mask.astype(np.uint8) * 255, check_contrast=False)
    return tmp_path


def test_it_has_the_size_it_is_known_for():
    assert sum(p.numel() for p in PlainUNet().parameters()) == pytest.approx(1.96e6, rel=0.01)


def test_it_learns_discs_from_two_images(discs):
    config = LearningConfig(
        minutes=None, steps=40, crop=64, labelled_batch=2, learning_rate=5e-3, ema_decay=0.8, strong_views=False
    )

    network, steps = train(UNetMethod(), load_labelled(discs, "discs"), config, _CPU)

    assert steps == 40
    assert evaluate_folder(PlainPredictor(network, _CPU), discs, "discs")["dice"] > 0.8


def test_it_takes_labelled_crops_alone_and_its_rate_falls_once(discs, monkeypatch):
    rates = []
    crops = []

    class Watched(torch.optim.AdamW):
        def step(self, closure=None):
            rates.append(self.param_groups[0]["lr"])
            super().step(closure)

    class Source(CropSource):
        def draw(self, *, labelled_alone=False):
            views = super().draw(labelled_alone=labelled_alone)
            crops.append(len(views.prompts))
            return views

    monkeypatch.setattr(torch.optim, "AdamW", Watched)
    monkeypatch.setattr(training_loop, "CropSource", Source)
    config = LearningConfig(minutes=None, steps=20, crop=64, labelled_batch=2, unlabelled_batch=3, warmup=0.05)

    train(UNetMethod(), load_labelled(discs, "discs"), config, _CPU)

    assert set(crops) == {2}
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert rates[-1] < 0.1 * max(rates)


def test_one_command_prints_scores_of_every_image(invoke, discs):
    result = invoke(main, discs, discs, "--minutes", "0.0001", "--device", "cpu")

    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout.splitlines()[-1])
    assert set(report["per_image"]) == {"0", "1"}
    assert report["steps"] >= 1
    assert report["protocol"] == "native"


def test_an_image_without_a_mask_is_named(discs):
    (discs / "labelcol" / "1.png").unlink()

    with pytest.raises(DatasetError, match=r"images without a mask .*: 1\.png; add the masks"):
        load_labelled(discs, "discs")
