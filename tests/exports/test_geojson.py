"""GeoJSON files out of a project."""

import json

import numpy as np
import pytest
from skimage.measure import points_in_poly

from napari_amvlm.errors import InputError
from napari_amvlm.exports import export_geojson
from napari_amvlm.project import Answer, Project


def test_polygons_cover_the_masks(project, masks, tmp_path):
    export_geojson(project, tmp_path / "out")

    collection = json.loads((tmp_path / "out" / "chest.geojson").read_text(encoding="utf-8"))
    rows, columns = np.indices((60, 48))
    centres = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], axis=1)
    found = {prompt: np.zeros((60, 48), bool) for prompt in masks}
    for feature in collection["features"]:
        inside = [points_in_poly(centres, ring) for ring in feature["geometry"]["coordinates"]]
        found[feature["properties"]["classification"]["name"]] |= np.logical_xor.reduce(inside).reshape(60, 48)
    assert collection["type"] == "FeatureCollection"
    assert np.array_equal(found["lungs"], masks["lungs"])
    assert np.array_equal(found["left lung"], masks["left lung"])


def test_a_ring_has_a_hole_and_every_prompt_a_colour(project, tmp_path):
    export_geojson(project, tmp_path / "out")

    features = json.loads((tmp_path / "out" / "chest.geojson").read_text(encoding="utf-8"))["features"]
    assert sorted(len(feature["geometry"]["coordinates"]) for feature in features) == [1, 1, 1, 2]
    assert {feature["properties"]["objectType"] for feature in features} == {"annotation"}
    colours = {tuple(feature["properties"]["classification"]["color"]) for feature in features}
    assert len(colours) == 2


def test_one_file_for_each_accepted_image(project, tmp_path):
    notes = export_geojson(project, tmp_path / "out")

    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["chest-2.geojson", "chest.geojson"]
    assert any("50 %" in note for note in notes)


def test_an_earlier_export_is_replaced_as_a_whole_and_nothing_else(project, tmp_path):
    out, (first, second) = tmp_path / "out", project.images.accepted()
    export_geojson(project, out)
    for name in ("mine", "damaged"):
        (out / f"{name}.geojson").write_bytes((out / "chest.geojson").read_bytes()[: 30 if name == "mine" else -9])
    (lost,) = project.corrections.select(second.id)
    (project.root / lost.mask_file).write_bytes(b"no mask any more")

    notes = export_geojson(project, out)

    assert any(note.startswith("Left out: ") for note in notes)
    assert sorted(path.stem for path in out.iterdir()) == ["chest", "damaged", "mine"]

    (out / "chest.geojson").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match=r"chest\.geojson was not made by export"):
        export_geojson(project, out)
    assert (out / "chest.geojson").read_text(encoding="utf-8") == "{}"
    assert first.name == "chest.png"


def test_the_file_of_an_image_that_is_accepted_no_more_goes_with_the_next_export(project, tmp_path):
    export_geojson(project, tmp_path / "out")
    project.corrections.reject(project.images.accepted()[1].id, "lungs")

    export_geojson(project, tmp_path / "out")

    assert [path.name for path in (tmp_path / "out").iterdir()] == ["chest.geojson"]


@pytest.mark.timeout(60)  # a scan of the whole image for each part took minutes
def test_an_object_of_many_parts(tmp_path):
    mask = np.zeros((1500, 1500), np.bool_)
    mask[:1480:32, :1300:32] = True
    with Project.create(tmp_path / "many.amvlm") as project:
        image = project.images.add_array(np.zeros(mask.shape, np.uint8), name="many")
        project.corrections.accept(image.id, "dots", Answer(mask, objects=mask.astype(np.uint8)))
        export_geojson(project, tmp_path / "out")

    (feature,) = json.loads((tmp_path / "out" / "many.geojson").read_text(encoding="utf-8"))["features"]
    corners = [rings[0][0] for rings in feature["geometry"]["coordinates"]]
    assert sorted(corners) == sorted([int(x), int(y)] for y, x in np.argwhere(mask))


def test_prompts_have_the_colours_of_the_project(project, tmp_path):
    project.prompts.set_colour("left lung", "#0a141e")

    export_geojson(project, tmp_path / "out")

    features = json.loads((tmp_path / "out" / "chest.geojson").read_text(encoding="utf-8"))["features"]
    classes = {f["properties"]["classification"]["name"]: f["properties"]["classification"]["color"] for f in features}
    assert classes["left lung"] == [10, 20, 30]
