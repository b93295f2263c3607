"""Small data sets in the layouts that the recipes read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from skimage.io import imsave

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def shared_data(tmp_path: Path) -> Path:
    """Return a folder with four tiny data sets of four images each."""
    chance = np.random.default_rng(0)
    for source, masks, shape in (
        ("DSB2018", "instances", (80, 96, 3)),
        ("TNBC", "labelcol", (96, 96, 3)),
        ("CXR-Lungs", "labelcol", (90, 100)),
        ("SPIDER-Spine", "labelcol", (100, 80)),
    ):
        for folder in ("img", masks):
            (tmp_path / source / folder).mkdir(parents=True)
        for index in range(4):
            name = f"{index}_t2_slice1" if source == "SPIDER-Spine" else f"image{index}"
            imsave(
                tmp_path / source / "img" / f"{name}.png",
                chance.integers(0, 255, shape, dtype=np.uint8),
                check_contrast=False,
            )
            labels = np.zeros(shape[:2], np.uint16 if masks == "instances" else np.uint8)
            labels[20:60, 10:35] = 1 if source == "SPIDER-Spine" else 255
            labels[20:60, 50:75] = 2 if source in ("SPIDER-Spine", "DSB2018") else 255
            imsave(tmp_path / source / masks / f"{name}.png", labels, check_contrast=False)
        if source == "SPIDER-Spine":
            (tmp_path / source / "classes.csv").write_text(
                "value,prompt\n1,vertebrae\n2,intervertebral discs\n3,spinal canal\n"
            )
    return tmp_path
