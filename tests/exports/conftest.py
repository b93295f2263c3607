"""A project with accepted masks."""

import numpy as np
import pytest
from PIL import Image

from napari_amvlm.project import Answer, Project


def disc(shape, row, column, radius):
    y, x = np.ogrid[: shape[0], : shape[1]]
    return (y - row) ** 2 + (x - column) ** 2 <= radius**2


@pytest.fixture
def masks():
    """Return a ring and two discs for "lungs", and one of the discs alone for "left lung"."""
    shape = (60, 48)
    ring = disc(shape, 14, 14, 10) & ~disc(shape, 14, 14, 4)
    left = disc(shape, 40, 34, 9)
    return {"lungs": ring | left | disc(shape, 50, 8, 3), "left lung": left}


@pytest.fixture
def project(tmp_path, masks):
    """Return a project of three images: one with two prompts, one reviewed in part, and one that nobody annotated."""
    rng = np.random.default_rng(1)
    paths = []
    for name in ("a/chest.png", "b/chest.png", "b/other.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (60, 48), dtype=np.uint8)).save(path)
        paths.append(path)
    with Project.create(tmp_path / "chest.amvlm") as opened:
        first, second, _ = [opened.images.add_file(path) for path in paths]
        for prompt, mask in masks.items():
            opened.corrections.accept(first.id, prompt, Answer(mask))
        half = np.zeros((60, 48), bool)
        half[:30] = True
        opened.corrections.accept(second.id, "lungs", Answer(masks["lungs"] & half, reviewed=half))
        yield opened
