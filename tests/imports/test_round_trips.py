"""What goes out comes in again: to another project, to pycocotools, to shapely."""

import json

import numpy as np
import pytest
import shapely
from PIL import Image
from pycocotools.coco import COCO
from scipy.ndimage import binary_dilation, binary_erosion
from shapely.geometry import shape as as_geometry

from napari_amvlm.exports import export_coco, export_geojson, export_labels
from napari_amvlm.imaging import read_mask
from napari_amvlm.imports import import_files
from napari_amvlm.project import Answer


def _same_partition(one, other):
    pairs = {(int(a), int(b)) for a, b in zip(one.ravel(), other.ravel(), strict=True)}
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def _by_key(project):
    return {(project.images.get(c.image_id).sha256, c.prompt): c for c in project.corrections.select()}


def assert_equal(source, target, *, objects):
    ours, theirs = _by_key(source), _by_key(target)
    assert ours.keys() == theirs.keys()
    for key, correction in ours.items():
        copy = theirs[key]
        assert np.array_equal(source.corrections.mask(correction), target.corrections.mask(copy)), key
        assert np.array_equal(source.corrections.reviewed(correction), target.corrections.reviewed(copy)), key
        if objects:
            assert _same_partition(source.corrections.objects(correction), target.corrections.objects(copy)), key


@pytest.mark.parametrize("segmentation", ["rle", "polygons"])
def test_coco_gives_everything_back(source, target, tmp_path, segmentation):
    export_coco(source, tmp_path / "masks.json", segmentation=segmentation)

    report = import_files(target, [tmp_path / "masks.json"])

    assert report.problems == []
    assert_equal(source, target, objects=True)
    assert {c.origin for c in target.corrections.select()} == {str(tmp_path / "masks.json")}


def test_geojson_gives_everything_back(source, target, tmp_path):
    export_geojson(source, tmp_path / "out")

    report = import_files(target, sorted((tmp_path / "out").iterdir()))

    assert report.problems == []
    assert_equal(source, target, objects=True)


@pytest.mark.parametrize("kind", ["tiff", "png"])
def test_label_images_with_objects_give_everything_back(source, target, tmp_path, kind):
    export_labels(source, tmp_path / "out", kind, objects=True)

    report = import_files(target, [tmp_path / "out"])

    assert report.problems == []
    assert_equal(source, target, objects=True)


@pytest.mark.parametrize("kind", ["tiff", "png"])
def test_label_images_come_back_value_by_value(source, target, tmp_path, kind):
    export_labels(source, tmp_path / "out", kind)
    import_files(target, [tmp_path / "out"])

    export_labels(target, tmp_path / "again", kind)

    files = sorted(path.name for path in (tmp_path / "out" / "labelcol").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "again" / "labelcol").iterdir())
    for folder in ("labelcol", "reviewed"):
        for path in (tmp_path / "out" / folder).iterdir():
            assert path.read_bytes() == (tmp_path / "again" / folder / path.name).read_bytes()


def test_masks_that_overlap_come_back_whole(source, target, tmp_path):
    export_labels(source, tmp_path / "out", "png")

    report = import_files(target, [tmp_path / "out"])

    assert report.problems == []
    assert_equal(source, target, objects=False)


def test_a_label_image_that_was_edited_counts_more_than_the_masks_beside_it(source, target, tmp_path):
    export_labels(source, tmp_path / "out", "png")
    path = next(iter(sorted((tmp_path / "out" / "labelcol").iterdir())))
    edited = np.zeros_like(read_mask(path))
    edited[:5, :5] = 1
    Image.fromarray(edited).save(path)

    import_files(target, [path])

    (found,) = target.corrections.select()
    assert np.array_equal(target.corrections.mask(found), edited > 0)


def test_importing_twice_changes_nothing(source, target, tmp_path):
    export_coco(source, tmp_path / "masks.json")
    import_files(target, [tmp_path / "masks.json"])

    report = import_files(target, [tmp_path / "masks.json"])

    assert (report.accepted, report.unchanged, report.problems) == ([], 5, [])
    assert len(target.corrections.select(history=True)) == 5


@pytest.mark.parametrize("segmentation", ["rle", "polygons"])
def test_pycocotools_reads_the_masks(source, tmp_path, segmentation):
    path = tmp_path / "masks.json"
    export_coco(source, path, segmentation=segmentation)

    read = COCO(str(path))

    categories = {c["name"]: c["id"] for c in read.loadCats(read.getCatIds())}
    for correction in source.corrections.select():
        wanted = source.corrections.mask(correction)
        ids = read.getAnnIds(imgIds=[correction.image_id], catIds=[categories[correction.prompt]])
        assert len(ids) == len(np.unique(source.corrections.objects(correction)[wanted]))
        found = np.zeros(wanted.shape, bool)
        for annotation in read.loadAnns(ids):
            found |= read.annToMask(annotation).astype(bool)
        if segmentation == "rle":
            assert np.array_equal(found, wanted)
        else:  # pycocotools rounds polygons to pixels in its own way
            assert not (found & ~binary_dilation(wanted)).any()
            assert not (binary_erosion(wanted) & ~found).any()


def test_packed_run_lengths_of_pycocotools_are_read(source, target, tmp_path):
    from pycocotools import mask as coco_mask

    path = tmp_path / "masks.json"
    export_coco(source, path)
    content = json.loads(path.read_text(encoding="utf-8"))
    for annotation in content["annotations"]:
        packed = coco_mask.frPyObjects(annotation["segmentation"], *annotation["segmentation"]["size"])
        annotation["segmentation"] = {"size": packed["size"], "counts": packed["counts"].decode("ascii")}
    path.write_text(json.dumps(content), encoding="utf-8")

    assert import_files(target, [path]).problems == []

    assert_equal(source, target, objects=True)


def test_geometries_are_valid_and_have_the_area_they_say(source, tmp_path):
    export_geojson(source, tmp_path / "out")

    features = []
    for path in (tmp_path / "out").iterdir():
        features += json.loads(path.read_text(encoding="utf-8"))["features"]

    assert len(features) == 6
    for feature in features:
        geometry = as_geometry(feature["geometry"])
        measured = feature["properties"]["measurements"]
        assert shapely.is_valid(geometry), shapely.is_valid_reason(geometry)
        assert geometry.area == measured["Area px^2"]
        assert geometry.centroid.x == pytest.approx(measured["Centroid X px"], abs=1e-2)
        assert geometry.centroid.y == pytest.approx(measured["Centroid Y px"], abs=1e-2)
    assert sum(len(f["geometry"]["coordinates"]) > 1 for f in features) == 1
    assert len({f["id"] for f in features}) == len(features)


def test_an_unlocked_object_is_not_locked_in_qupath(source, tmp_path):
    correction = source.corrections.select(1, "nuclei")[0]
    source.locks.set(correction, [2], locked=False)

    export_geojson(source, tmp_path / "out")

    content = json.loads((tmp_path / "out" / "chest.geojson").read_text(encoding="utf-8"))
    nuclei = [f["properties"] for f in content["features"] if f["properties"]["classification"]["name"] == "nuclei"]
    assert [p["isLocked"] for p in nuclei] == [True, False, True]


def test_prompts_that_differ_in_capital_letters_alone_come_back(source, target, tmp_path):
    first = source.images.accepted()[0]
    source.corrections.accept(first.id, "Nuclei", Answer(np.eye(*first.shape, dtype=bool)))
    export_labels(source, tmp_path / "out", "tiff", objects=True)

    report = import_files(target, [tmp_path / "out"])

    assert report.problems == []
    assert_equal(source, target, objects=True)
