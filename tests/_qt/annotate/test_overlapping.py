"""Prompts that cover one another: what is stored of each is all that was shown of it, whatever the order."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from napari_amvlm._qt.widgets.scale_choice import ScaleSettings
from napari_amvlm.imaging import read_mask
from napari_amvlm.imaging.folder import prompt_folders
from napari_amvlm.imaging.scale import WorkingScale
from napari_amvlm.prediction import Prediction
from napari_amvlm.session.export import export_project
from tests._qt.conftest import picture

PROMPTS = ("lungs", "left lung", "right lung", "infection")
SIDE = 64


def _proposals(seed):
    """Return probabilities of lungs, both of their parts, and an infection inside of one, (H, W)."""
    rng = np.random.default_rng(seed)
    left, right, infection = (np.zeros((SIDE, SIDE), bool) for _ in range(3))
    top = int(rng.integers(4, 12))
    right[top : top + 40, 6:26] = True
    left[top : top + 40, 36:58] = True
    infection[top + 20 : top + 30, 40:50] = True
    masks = dict(zip(PROMPTS, (left | right, left, right, infection), strict=True))
    return {prompt: np.where(mask, 0.9, 0.1).astype(np.float32) for prompt, mask in masks.items()}


def _show(bench, name, seed):
    """Open an image, and let the model have found all of the prompts."""
    layer = bench.viewer.add_image(picture(seed, SIDE), name=name)
    annotation = bench.workspace.annotation(layer)
    found = [
        Prediction(prompt, field, field, 0.9, WorkingScale("tiles", 1.0), 0.0)
        for prompt, field in _proposals(seed).items()
    ]
    annotation.keep(found, ScaleSettings(), "a model")
    bench.workspace.prompts[:] = PROMPTS
    bench.annotate.prompts.predicted.emit(annotation)
    bench.idle()
    return annotation


def _paint(bench, prompt, seed):
    """Paint and erase a little, across the borders of the others; return the mask as it is shown then."""
    bench.annotate.panel.prompts.setCurrent(prompt)
    layer = bench.layer(prompt)
    rng = np.random.default_rng(seed)
    row, column = rng.integers(6, SIDE - 6, 2)
    value = layer.selected_label if rng.random() < 0.5 else 0
    layer.brush_size = 7
    layer.paint((row, column), value)
    return np.array(layer.data > 0)


@pytest.mark.parametrize("every", [24, pytest.param(1, marks=pytest.mark.slow)], ids=["one order", "all 24 orders"])
def test_each_mask_is_stored_whole_in_every_order(bench, tmp_path, every):
    root = tmp_path / "lungs.amvlm"
    bench.workspace.open_project(root)
    bench.idle()
    shown = {}

    for number, order in list(enumerate(itertools.permutations(PROMPTS)))[::every]:
        name = f"x-ray {number}"
        annotation = _show(bench, name, number)
        shown[name] = {}
        for place, prompt in enumerate(order):
            shown[name][prompt] = _paint(bench, prompt, 10 * number + place)
            bench.annotate.accept()
        bench.idle()
        for prompt in PROMPTS:  # nothing that came later has changed it
            np.testing.assert_array_equal(annotation.mask(prompt), shown[name][prompt])
        bench.viewer.layers.remove(name)

    _check_project(bench.workspace.project, shown)
    _check_exports(bench.workspace.project, tmp_path, shown)
    _check_reopened(bench, root, shown)


def _check_project(project, shown):
    names = {record.id: record.name for record in project.images.all()}
    corrections = project.corrections.select()
    assert len(corrections) == len(shown) * len(PROMPTS)
    for correction in corrections:
        expected = shown[names[correction.image_id]][correction.prompt]
        np.testing.assert_array_equal(project.corrections.mask(correction), expected)


def _check_exports(project, folder, shown):
    """Compare the exports that can hold overlaps: run lengths, and a label image for each prompt."""
    export_project(project, "coco", folder / "masks.json")
    export_project(project, "tiff", folder / "labels")
    coco = json.loads((folder / "masks.json").read_text(encoding="utf-8"))
    names = {image["id"]: image["file_name"] for image in coco["images"]}
    prompts = {category["id"]: category["name"] for category in coco["categories"]}
    decoded = {(name, prompt): np.zeros((SIDE, SIDE), bool) for name in names.values() for prompt in PROMPTS}
    for each in coco["annotations"]:
        counts = each["segmentation"]["counts"]
        pixels = np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(SIDE, SIDE, order="F")
        decoded[names[each["image_id"]], prompts[each["category_id"]]] |= pixels
    folders = prompt_folders(PROMPTS)
    for (name, prompt), mask in decoded.items():
        expected = shown[Path(name).stem][prompt]
        np.testing.assert_array_equal(mask, expected)
        [file] = (folder / "labels" / "masks" / folders[prompt]).glob(f"{Path(name).stem}.*")
        np.testing.assert_array_equal(read_mask(file) > 0, expected)


def _check_reopened(bench, root, shown):
    bench.workspace.open_project(root.with_name("other.amvlm"))
    bench.idle()
    bench.workspace.open_project(root)
    bench.idle()
    for item in list(bench.annotate.queue.items())[::8]:
        bench.annotate.queue.go(item.id)
        bench.idle()
        annotation = bench.annotate.annotation()
        assert annotation.image_id == item.image_id
        for prompt in PROMPTS:
            np.testing.assert_array_equal(annotation.mask(prompt), shown[annotation.image.name][prompt])
            assert annotation.layers[prompt] in bench.viewer.layers


def test_the_chosen_mask_lies_on_top_and_the_others_are_outlines(bench):
    _show(bench, "x-ray", 0)

    for chosen in PROMPTS:
        bench.annotate.panel.prompts.setCurrent(chosen)
        layers = list(bench.viewer.layers)
        assert layers[-1] is bench.layer(chosen) is bench.viewer.layers.selection.active
        assert {layer.prompt for layer in layers if hasattr(layer, "prompt")} == set(PROMPTS)
        assert {p: bench.layer(p).contour > 0 for p in PROMPTS} == {p: p != chosen for p in PROMPTS}

    bench.annotate.toggle_outlines()
    assert all(bench.layer(prompt).contour for prompt in PROMPTS)


def test_a_layer_that_is_selected_chooses_its_prompt(bench):
    _show(bench, "x-ray", 0)

    bench.viewer.layers.selection.active = bench.layer("left lung")

    assert bench.annotate.panel.prompts.current() == "left lung"


def test_the_brush_stays_in_hand(bench):
    _show(bench, "x-ray", 0)
    bench.annotate.panel.prompts.setCurrent("lungs")
    bench.layer("lungs").mode = "paint"
    bench.layer("lungs").brush_size = 23

    bench.annotate.panel.prompts.setCurrent("infection")
    other = _show(bench, "another", 1)
    bench.viewer.layers.selection.active = other.image

    for layer in (bench.layer("infection"), other.layers["infection"]):
        assert (layer.mode, layer.brush_size) == ("paint", 23)


def test_every_prompt_keeps_its_colour_and_value_on_every_image(bench):
    first = _show(bench, "x-ray", 0)
    values = {p: set(np.unique(bench.layer(p).data).tolist()) - {0} for p in PROMPTS}
    colours = {p: tuple(bench.layer(p).get_color(1)) for p in PROMPTS}
    bench.workspace.prompts[:] = PROMPTS[::-1]
    second = _show(bench, "another", 1)

    assert len({tuple(each) for each in values.values()}) == len(set(colours.values())) == len(PROMPTS)
    for prompt in PROMPTS:
        assert tuple(second.layers[prompt].get_color(1)) == colours[prompt]
        assert set(np.unique(second.plane(prompt)).tolist()) - {0} == values[prompt]
    bench.workspace.styles.set_colour("lungs", "#123456")
    assert first.layers["lungs"].get_color(1)[2] == second.layers["lungs"].get_color(1)[2]
    assert tuple(first.layers["lungs"].get_color(1)) != colours["lungs"]


def test_a_look_that_was_chosen_before_there_was_a_project_is_the_projects(bench, tmp_path):
    _show(bench, "x-ray", 0)
    bench.annotate.panel.prompts.setCurrent("infection")
    bench.annotate.panel.instances.setChecked(True)
    bench.workspace.styles.set_colour("lungs", "#123456")
    before = {prompt: bench.workspace.styles.of(prompt) for prompt in PROMPTS}

    bench.workspace.open_project(tmp_path / "new.amvlm")
    bench.idle()

    assert {prompt: bench.workspace.styles.of(prompt) for prompt in PROMPTS} == before
    assert {record.text: record.style for record in bench.workspace.project.prompts.all()} == before
