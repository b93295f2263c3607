"""COCO files out of a project."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_amvlm.exports import export_coco
from napari_amvlm.exports.coco import run_lengths


def decoded(counts, size):
    """Return the mask of an uncompressed RLE, as the COCO API defines it: column by column, background first."""
    values = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return np.pad(values, (0, size[0] * size[1] - len(values))).reshape(size[::-1]).T


@given(arrays(np.bool_, st.tuples(st.integers(1, 7), st.integers(1, 7))).filter(lambda mask: bool(mask.any())))
@settings(max_examples=150, deadline=None)
def test_run_lengths_give_the_mask_back(mask):
    counts = run_lengths(*np.nonzero(mask), mask.shape)

    assert np.array_equal(decoded(counts, list(mask.shape)), mask)
    assert all(count > 0 for count in counts[1:])


@pytest.fixture
def content(project, tmp_path):
    path = tmp_path / "out" / "masks.json"
    export_coco(project, path)
    read = json.loads(path.read_text(encoding="utf-8"))
    return read


def test_annotations_of_an_image_make_up_its_masks(content, masks):
    names = {category["id"]: category["name"] for category in content["categories"]}
    first = content["images"][0]
    assert (first["file_name"], first["height"], first["width"]) == ("chest.png", 60, 48)

    found = {name: np.zeros((60, 48), bool) for name in names.values()}
    for annotation in content["annotations"]:
        if annotation["image_id"] == first["id"]:
            found[names[annotation["category_id"]]] |= decoded(**annotation["segmentation"])

    assert np.array_equal(found["lungs"], masks["lungs"])
    assert np.array_equal(found["left lung"], masks["left lung"])


def test_every_piece_has_its_own_box_and_area(content):
    lungs = [a for a in content["annotations"] if (a["image_id"], a["category_id"]) == (1, 1)]

    assert len(lungs) == 3
    for annotation in lungs:
        mask = decoded(**annotation["segmentation"])
        left, top, width, height = annotation["bbox"]
        assert annotation["area"] == mask.sum()
        assert mask[top : top + height, left : left + width].sum() == mask.sum()
        assert mask[top].any()
        assert mask[:, left + width - 1].any()
        assert annotation["iscrowd"] == 0


def test_ids_are_unique_and_images_without_masks_are_left_out(content):
    ids = [annotation["id"] for annotation in content["annotations"]]

    assert len(set(ids)) == len(ids)
    assert [image["id"] for image in content["images"]] == [1, 2]
