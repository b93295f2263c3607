"""Small data sets in the layouts that the recipes read."""

import shutil

import numpy as np
import pytest
import typer
from skimage.io import imsave
from typer.testing import CliRunner


@pytest.fixture
def invoke():
    """Return a function that runs the `main` of a command with arguments, and returns its result."""

    def call(main, *arguments):
        app = typer.Typer()
        app.command()(main)
        return CliRunner().invoke(app, [*map(str, arguments)])

    return call


@pytest.fixture(scope="session")
def _shared_data(tmp_path_factory):
    folder, chance = tmp_path_factory.mktemp("shared"), np.random.default_rng(0)
    for source, masks, shape in (
        ("DSB2018", "instances", (80, 96, 3)),
        ("TNBC", "labelcol", (96, 96, 3)),
        ("CXR-Lungs", "labelcol", (90, 100)),
        ("SPIDER-Spine", "labelcol", (100, 80)),
    ):
        for part in ("img", masks):
            (folder / source / part).mkdir(parents=True)
        for index in range(4):
            name = f"{index}_t2_slice1" if source == "SPIDER-Spine" else f"image{index}"
            imsave(
                folder / source / "img" / f"{name}.png",
                chance.integers(0, 255, shape, dtype=np.uint8),
                check_contrast=False,
            )
            labels = np.zeros(shape[:2], np.uint16 if masks == "instances" else np.uint8)
            labels[20:60, 10:35] = 1 if source == "SPIDER-Spine" else 255
            labels[20:60, 50:75] = 2 if source in ("SPIDER-Spine", "DSB2018") else 255
            imsave(folder / source / masks / f"{name}.png", labels, check_contrast=False)
        if source == "SPIDER-Spine":
            (folder / source / "classes.csv").write_text(
                "value,prompt\n1,vertebrae\n2,intervertebral discs\n3,spinal canal\n"
            )
    return folder


@pytest.fixture
def shared_data(_shared_data, tmp_path):
    """Return a folder, for this test alone, with four tiny data sets of four images each."""
    return shutil.copytree(_shared_data, tmp_path, dirs_exist_ok=True)


def _discs(folder, names, seed, *, masks=True):
    """Write pictures of dark discs on a light ground into a folder in LViT layout."""
    chance = np.random.default_rng(seed)
    rows, columns = np.mgrid[:80, :72]
    for part in ("img", "labelcol") if masks else ("img",):
        (folder / part).mkdir(parents=True)
    for name in names:
        mask = np.zeros((80, 72), np.bool_)
        for row, column in chance.integers(8, 64, (5, 2)):
            mask |= (rows - row) ** 2 + (columns - column) ** 2 < 64
        noise = chance.integers(0, 20, (80, 72, 3), dtype=np.uint8)
        image = np.where(mask[..., None], (90, 40, 120), (220, 180, 215)).astype(np.uint8) + noise
        imsave(folder / "img" / f"{name}.png", image, check_contrast=False)
        if masks:
            imsave(folder / "labelcol" / f"{name}.png", mask.astype(np.uint8) * 255, check_contrast=False)


def _captions(folder, captions):
    lines = ["Image,Description", *(f'{name}.png,"{caption}"' for name, caption in captions.items())]
    (folder / "Data_text.csv").write_text("\n".join(lines))


@pytest.fixture(scope="session")
def _discs_data(tmp_path_factory):
    root = tmp_path_factory.mktemp("discs") / "data" / "MoNuSeg"
    train, held_out = [f"TCGA-AA-000{i}" for i in range(8)], [f"TCGA-BB-000{i}" for i in range(2)]
    _discs(root / "Train_Folder", train, 1)
    _discs(root / "Val_Folder", held_out, 2)
    _discs(root / "Unlabelled_Folder", ["TCGA-AA-0000"], 3, masks=False)
    _captions(root / "Train_Folder", {name: f"dark discs, picture {i}" for i, name in enumerate(train)})
    _captions(root / "Val_Folder", {name: f"dark discs, held out {i}" for i, name in enumerate(held_out)})
    return root.parent


@pytest.fixture
def discs_data(_discs_data, tmp_path):
    """Return a folder that holds a data set laid out as MoNuSeg: 8 training, 2 validation, 1 unlabelled image."""
    return shutil.copytree(_discs_data, tmp_path / "data")


@pytest.fixture
def spine_data(tmp_path):
    """Return a data set laid out as SPIDER-Spine: 3 subjects with 2 slices each, masks with values 1 and 2."""
    root = tmp_path / "spine"
    for part in ("img", "labelcol"):
        (root / part).mkdir(parents=True)
    for subject in range(3):
        for number in range(2):
            labels = np.zeros((60, 50), np.uint8)
            labels[10:30, 10 + subject : 30], labels[35:50, 10:30] = 1, 2
            name = f"{subject}_t2_SPACE_slice{number}.png"
            imsave(root / "labelcol" / name, labels, check_contrast=False)
            imsave(root / "img" / name, (labels * 90 + subject * 5 + number).astype(np.uint8), check_contrast=False)
    (root / "classes.csv").write_text("value,prompt\n1,vertebrae\n2,intervertebral discs\n")
    return root


@pytest.fixture
def tiny_recipe(tiny_checkpoint):
    """Return the values of a recipe of a few small steps on the discs, from random weights."""
    return {
        "name": "tiny",
        "dataset": "MoNuSeg",
        "labels": 2,
        "steps": 3,
        "start": str(tiny_checkpoint),
        "learning": {"crop": 64, "labelled_batch": 1, "unlabelled_batch": 1, "validations": 2},
    }
