"""A project with masks of every kind, and an empty one with the same image files."""

import numpy as np
import pytest
from PIL import Image
from skimage.draw import disk

from napari_amvlm.project import Answer, Project

SHAPE = (60, 48)


def discs(*places):
    """Return discs (row, column, radius), numbered from 1 on; later ones lie on top."""
    labels = np.zeros(SHAPE, np.int32)
    for number, (row, column, radius) in enumerate(places, start=1):
        rows, columns = disk((row, column), radius, shape=SHAPE)
        labels[rows, columns] = number
    return labels


@pytest.fixture
def image_files(tmp_path):
    """Return three images; two in different folders have the same name."""
    files = []
    for number, name in enumerate(("a/chest.png", "b/chest.png", "b/other.png")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, SHAPE, dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        files.append(path)
    return files


@pytest.fixture
def source(tmp_path, image_files):
    """Return a project: overlapping prompts, touching objects, a ring, an empty answer, a part that was reviewed."""
    touching = discs((14, 14, 10), (14, 30, 9), (44, 20, 6))
    ring = touching.copy()
    ring[12:17, 12:17] = 0
    half = np.zeros(SHAPE, bool)
    half[:30] = True
    with Project.create(tmp_path / "source.amvlm") as project:
        first, second, third = [project.images.add_file(path) for path in image_files]
        project.corrections.accept(first.id, "nuclei", Answer(ring > 0, objects=ring))
        project.corrections.accept(first.id, "left lung", Answer(discs((20, 20, 12)) > 0))
        part = (discs((10, 30, 7)) > 0) & half
        project.corrections.accept(second.id, "nuclei", Answer(part, reviewed=half))
        project.corrections.accept(third.id, "nuclei", Answer(np.zeros(SHAPE, bool)))
        project.corrections.accept(third.id, "left lung", Answer(discs((30, 30, 4)) > 0))
        yield project


@pytest.fixture
def target(tmp_path, image_files):
    with Project.create(tmp_path / "target.amvlm") as project:
        for path in image_files:
            project.images.add_file(path)
        yield project
