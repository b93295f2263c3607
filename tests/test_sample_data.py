"""The sample images: complete, paired, licensed, small, and all of them held out of training."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_amvlm import _sample_data
from napari_amvlm.errors import DatasetError

ROOT = Path(__file__).resolve().parent.parent
EXPECTED = {"nuclei": (12, (256, 320, 3)), "lungs": (4, None), "spine": (3, (640, 512))}


def masks_of(name):
    folder = _sample_data.sample_folder(name)
    masks = folder / ("instances" if name == "nuclei" else "labelcol")
    return {path.stem: np.asarray(Image.open(path)) for path in masks.glob("*.png")}


@pytest.mark.parametrize("name", _sample_data.SAMPLES)
def test_layers_show_every_image_beside_the_others(name):
    count, shape = EXPECTED[name]

    layers = getattr(_sample_data, name)()

    assert len(layers) == count
    assert {kind for _, _, kind in layers} == {"image"}
    boxes = [(*options["translate"], *data.shape[:2]) for data, options, _ in layers]
    for index, (y, x, height, width) in enumerate(boxes):
        assert all(
            y + height <= other_y or other_y + other_height <= y or x + width <= other_x or other_x + other_width <= x
            for other_y, other_x, other_height, other_width in boxes[index + 1 :]
        )
    assert shape is None or all(data.shape == shape for data, _, _ in layers)
    assert all(options["rgb"] == (data.ndim == 3) for data, options, _ in layers)


@pytest.mark.parametrize("name", _sample_data.SAMPLES)
def test_every_image_has_a_mask_of_its_shape(name):
    images = {path.stem: Image.open(path) for path in (_sample_data.sample_folder(name) / "img").glob("*.png")}

    masks = masks_of(name)

    assert images.keys() == masks.keys()
    assert all(masks[stem].shape == (image.height, image.width) for stem, image in images.items())
    assert all(mask.any() for mask in masks.values())


@pytest.mark.parametrize("name", ["lungs", "spine"])
def test_classes_name_exactly_the_values_of_the_masks(name):
    with (_sample_data.sample_folder(name) / "classes.csv").open(newline="", encoding="utf-8") as stream:
        named = {int(row["value"]) for row in csv.DictReader(stream)}

    for mask in masks_of(name).values():
        assert set(np.unique(mask)) == named | {0}


def test_the_right_lung_lies_left_in_the_image():
    for mask in masks_of("lungs").values():
        assert np.nonzero(mask == 1)[1].mean() < np.nonzero(mask == 2)[1].mean()


def test_every_image_is_held_out_of_training():
    with (_sample_data.sample_root() / "held_out.csv").open(newline="", encoding="utf-8") as stream:
        held_out = tuple(row["stem"] for row in csv.DictReader(stream))

    stems = [stem for name in _sample_data.SAMPLES for stem in masks_of(name)]

    assert len(stems) == 19
    assert all(stem.startswith(held_out) for stem in stems)


def test_the_samples_are_small_and_say_where_they_are_from():
    root = _sample_data.sample_root()

    assert sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) < 4_000_000
    text = (root / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}/`" in text for name in _sample_data.SAMPLES)
    assert "CC0 1.0" in text
    assert "CC BY 4.0" in text


def test_unknown_sample_is_a_data_error_that_lists_the_known_ones():
    with pytest.raises(DatasetError, match=r"one of nuclei, lungs, spine, but got 'liver'"):
        _sample_data.sample_folder("liver")


def test_without_the_installed_copy_the_source_tree_serves(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    assert _sample_data.sample_root() == ROOT / "sample_data"


def test_missing_samples_are_a_data_error_that_names_the_folder(monkeypatch):
    monkeypatch.setattr(_sample_data, "_MARKER", "no_such_file.csv")

    with pytest.raises(DatasetError, match=r"missing from .*sample_data; install napari-amvlm again"):
        _sample_data.sample_root()


def test_the_installed_samples_are_those_of_the_source_tree():
    def contents(root):
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    assert contents(_sample_data.sample_root()) == contents(ROOT / "sample_data")
