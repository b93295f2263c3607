"""Runs commands in this process, as `napari-amvlm` does, and folders to run them on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from napari_amvlm.cli import main


@dataclass(frozen=True)
class Outcome:
    """What a command gave back."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys):
    def call(*arguments):
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture
def binary_folder(tmp_path):
    """Return a folder of three small colour images with 0/255 masks."""
    root = tmp_path / "tissue"
    rng = np.random.default_rng(2)
    for folder in ("img", "labelcol"):
        (root / folder).mkdir(parents=True)
    for name in ("a", "b", "c"):
        image = rng.integers(0, 255, (72, 80, 3), dtype=np.uint8)
        mask = np.zeros((72, 80), np.uint8)
        mask[10:40, 20:50] = 255
        Image.fromarray(image).save(root / "img" / f"{name}.png")
        Image.fromarray(mask).save(root / "labelcol" / f"{name}.png")
    return root


@pytest.fixture
def class_folder(binary_folder):
    """Return the same folder with masks of two classes."""
    for path in (binary_folder / "labelcol").iterdir():
        mask = np.zeros((72, 80), np.uint8)
        mask[10:40, 20:50] = 1
        mask[50:70, 5:30] = 2
        Image.fromarray(mask).save(path)
    (binary_folder / "classes.csv").write_text("value,prompt\n1,nuclei\n2,left lung\n", encoding="utf-8")
    return binary_folder
