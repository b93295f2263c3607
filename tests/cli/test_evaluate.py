"""`napari-amvlm evaluate` with the tiny model."""

import json

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage.measure import label

from napari_amvlm.errors import LabelsError
from napari_amvlm.evaluation import object_numbers
from napari_amvlm.imaging import read_mask
from napari_amvlm.imaging.folder import ImagePair


@pytest.mark.parametrize("protocol", ["native", "224"])
def test_one_json_object(run, binary_folder, tiny_checkpoint, protocol):
    outcome = run(
        "evaluate", binary_folder, "--prompt", "nuclei", "--model", tiny_checkpoint, "--protocol", protocol, "--json"
    )

    report = json.loads(outcome.out)
    values = [image["dice"] for image in report["per_image"].values()]
    assert outcome.code == 0
    assert set(report) == {"n", "protocol", "prompt", "dice", "iou", "per_image"}
    assert (report["n"], report["protocol"], report["prompt"]) == (3, protocol, "nuclei")
    assert report["dice"] == pytest.approx(sum(values) / 3)
    assert 0 <= report["iou"] <= report["dice"] <= 1


def test_classes_are_scored_one_by_one(run, class_folder, tiny_checkpoint):
    outcome = run("evaluate", class_folder, "--model", tiny_checkpoint, "--json")

    report = json.loads(outcome.out)
    prompts = report["prompts"]
    assert list(prompts) == ["nuclei", "left lung"]
    assert report["dice"] == pytest.approx((prompts["nuclei"]["dice"] + prompts["left lung"]["dice"]) / 2)


def test_a_word_that_was_not_taught_is_called_so(run, binary_folder, tiny_checkpoint):
    outcome = run("evaluate", binary_folder, "--prompt", "heart", "--model", tiny_checkpoint, "--json")

    assert json.loads(outcome.out)["prompt"] == "heart"
    assert outcome.err.startswith("heart is not taught yet; nearest known: ")
    assert outcome.err.endswith("Its scores are those of a guess; predict draws nothing.\n")


def test_a_class_alone(run, class_folder, tiny_checkpoint):
    outcome = run("evaluate", class_folder, "--prompt", "left lung", "--model", tiny_checkpoint, "--json")

    report = json.loads(outcome.out)
    assert report["prompt"] == "left lung"
    assert "prompts" not in report


def test_lines_for_people(run, class_folder, tiny_checkpoint):
    outcome = run("evaluate", class_folder, "--model", tiny_checkpoint)

    lines = outcome.out.splitlines()
    images, means = lines[:-3], lines[-3:]
    assert [line.split(" in ")[0] for line in images] == ["nuclei"] * 3 + ["left lung"] * 3
    assert [line.split(":")[0] for line in means] == ["nuclei", "left lung", "mean of prompts"]
    assert all("(3 images, native)" in line for line in means)


@pytest.mark.parametrize("arguments", [["--prompt", "vertebrae"], ["--prompt", " "]])
def test_a_prompt_that_is_no_class(run, class_folder, arguments):
    outcome = run("evaluate", class_folder, *arguments, "--json")

    assert outcome.code == 2
    assert "classes.csv" in outcome.err
    assert outcome.out == ""


def test_objects_are_scored_where_they_have_numbers(run, binary_folder, tiny_checkpoint):
    command = ["evaluate", binary_folder, "--prompt", "nuclei", "--model", tiny_checkpoint, "--objects"]
    for path in (binary_folder / "labelcol").iterdir():
        mask = np.array(Image.open(path))
        mask[50:60, 50:60] = 255
        Image.fromarray(mask).save(path)
    refused = run(*command)
    (binary_folder / "instances").mkdir()
    for mask in (binary_folder / "labelcol").iterdir():
        numbers = label(read_mask(mask) > 0, connectivity=1).astype(np.uint32)
        tifffile.imwrite(binary_folder / "instances" / f"{mask.stem}.tif", np.where(numbers, numbers + 70_000, 0))

    report = json.loads(run(*command, "--json").out)
    lines = run(*command).out.splitlines()
    small = run(*command, "--protocol", "224")

    each = [image["objects"] for image in report["per_image"].values()]
    assert refused.code == 2
    assert "has one value for all objects" in refused.err
    assert set(report["objects"]) == {"aji", "pq", "f1", "count_error"}
    assert report["objects"]["pq"] == pytest.approx(np.mean([one["pq"] for one in each]))
    assert all("count error" in line for line in lines)
    assert small.code == 2
    assert "own size" in small.err


def test_the_numbers_of_objects_may_be_values_of_the_mask(tmp_path):
    labels = np.array([[1, 1, 0, 2], [0, 0, 0, 2]], np.uint8)
    pair = ImagePair("a", tmp_path / "a.png", tmp_path / "labelcol" / "a.png", None)

    assert np.array_equal(object_numbers(pair, labels), labels)
    assert object_numbers(pair, np.zeros((3, 3), np.uint8)).max() == 0
    with pytest.raises(LabelsError, match=r"a\.png has one value for all objects"):
        object_numbers(pair, np.array([[1, 0, 1]], np.uint8))
    with pytest.raises(LabelsError, match=r"a\.png has 2 values for all objects"):
        object_numbers(pair, np.array([[1, 0, 1, 0, 2, 0, 2, 0, 1]], np.uint8))
    with pytest.raises(LabelsError, match=r"a\.png has values below 0"):
        object_numbers(pair, np.array([[1, 0, -1]], np.int16))


def test_an_object_may_lie_in_two_pieces(tmp_path):
    labels = np.array([[1, 2, 1, 0, 3]], np.uint8)

    assert np.array_equal(object_numbers(ImagePair("a", tmp_path / "a.png", None, None), labels), labels)
