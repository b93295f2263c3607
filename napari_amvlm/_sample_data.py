"""The sample images: where they lie in an installation or a source tree, and the layers that napari opens.

Each sample is a data folder in LViT layout (`img/` with `labelcol/` or `instances/`); sources and licences are in
`sample_data/README.md`. Training recipes leave all of these images out.
"""

from __future__ import annotations

import csv
import importlib.util
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_amvlm.errors import DatasetError
from napari_amvlm.imaging import read_image

if TYPE_CHECKING:
    import numpy as np

    LayerData = tuple[np.ndarray, dict[str, Any], str]

SAMPLES = ("nuclei", "lungs", "spine")
"""Names of the samples; each is a folder below `sample_root()`."""

_MARKER = "held_out.csv"
_GAP = 16
_TREE = Path(__file__).resolve().parent.parent


def sample_root() -> Path:
    """Return the folder that holds the samples: the installed one, else that of the source tree.

    Raises
    ------
    DatasetError
        Neither is there: the installation is incomplete.
    """
    places = [*_installed("sample_data"), _TREE / "sample_data"]
    for place in places:
        if (place / _MARKER).is_file():
            return place
    raise DatasetError(f"The sample images are missing from {places[0]}; install napari-amvlm again.")


def word_pictures() -> dict[str, Path]:
    """Return a small picture of each word that has one; their sources are in `credits.csv` beside them."""
    for place in (*_installed("words"), _TREE / "docs" / "pictures" / "words"):
        if (place / "credits.csv").is_file():
            with (place / "credits.csv").open(newline="", encoding="utf-8") as file:
                return {row["word"]: place / row["file"] for row in csv.DictReader(file)}
    return {}


def _installed(name: str) -> list[Path]:
    spec = importlib.util.find_spec("napari_amvlm_resources")
    return [Path(place) / name for place in (spec and spec.submodule_search_locations) or ()]


def sample_folder(name: str) -> Path:
    """Return the data folder of the sample called `name`.

    Raises
    ------
    DatasetError
        There is no such sample; the message lists those there are.
    """
    if name not in SAMPLES:
        raise DatasetError(f"Expected the name of a sample, one of {', '.join(SAMPLES)}, but got {name!r}.")
    return sample_root() / name


def nuclei() -> list[LayerData]:
    """Return the stained tissue tiles as napari layers, side by side."""
    return _layers("nuclei")


def lungs() -> list[LayerData]:
    """Return the chest X-rays as napari layers, side by side."""
    return _layers("lungs")


def spine() -> list[LayerData]:
    """Return the spine MR slices as napari layers, side by side."""
    return _layers("spine")


def _layers(name: str) -> list[LayerData]:
    """Read a sample's images and lay them out in rows, so that each can be seen and clicked on its own."""
    paths = sorted((sample_folder(name) / "img").glob("*.png"))
    images = [read_image(path) for path in paths]
    height = max(image.data.shape[0] for image in images) + _GAP
    width = max(image.data.shape[1] for image in images) + _GAP
    columns = math.ceil(math.sqrt(len(images)))
    layers = []
    for index, (path, image) in enumerate(zip(paths, images, strict=True)):
        row, column = divmod(index, columns)
        options = {
            "name": image.name,
            "rgb": image.rgb,
            "translate": (row * height, column * width),
            "metadata": {"path": str(path)},
        }
        layers.append((image.data, options, "image"))
    return layers
