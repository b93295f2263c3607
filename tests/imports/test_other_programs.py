"""COCO and GeoJSON as other programs write them: what is good enters, what is not is listed by name."""

import gzip
import json
import shutil
import unicodedata
import zipfile

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_amvlm.imports import import_files
from napari_amvlm.project import Project

HEIGHT, WIDTH = 60, 48


@pytest.fixture
def photo(tmp_path):
    """Return a folder with one image."""
    pixels = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    (tmp_path / "img").mkdir()
    Image.fromarray(pixels).save(tmp_path / "img" / "a.png")
    return tmp_path / "img"


def _square(x, y, side):
    return [x, y, x + side, y, x + side, y + side, x, y + side]


def _ring(x, y, side):
    return [*np.reshape(_square(x, y, side), (4, 2)).tolist(), [x, y]]


def _note(number, segmentation, **more):
    return {"id": number, "image_id": 1, "category_id": 0, "segmentation": segmentation} | more


GOOD = [_note(1, [_square(2, 3, 10)]), _note(2, [_square(30, 40, 6)])]


def _coco(path, annotations, **image):
    images = [{"id": 1, "file_name": "a.png", "height": HEIGHT, "width": WIDTH} | image]
    content = {"images": images, "categories": [{"id": 0, "name": "nuclei"}], "annotations": annotations}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def _objects(project, prompt="nuclei"):
    (correction,) = project.corrections.select(prompt=prompt)
    return np.asarray(project.corrections.objects(correction))


def _expected(*squares):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    for x, y, side in squares:
        mask[y : y + side, x : x + side] = True
    return mask


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        (_note(7, [[20.0, 20.0]]), "fewer than three points"),
        (_note(7, [[10, 10, 30, 30]]), "fewer than three points"),
        (_note(7, None), "no outline, only a box or points"),
        (_note(7, []), "no outline, only a box or points"),
        (_note(7, [_square(500, 500, 9)]), "has no pixel in the image"),
        (_note(7, {"size": [3, 3], "counts": [9]}), "run lengths are for (3, 3) pixels"),
        (_note(7, {"counts": [9]}), "must have a size and counts"),
        (_note(7, [_square(2, 3, 9)], category_id=5), "its category 5 is not listed"),
        (_note(7, [_square(2, 3, 9)], image_id=5), "is of image 5, which is not listed"),
        (_note(7, [_square(2, 3, 9)], image_id=None), "image_id"),
    ],
)
def test_an_annotation_that_cannot_be_used_is_listed(project, photo, tmp_path, annotation, reason):
    report = import_files(project, [_coco(tmp_path / "a.json", [*GOOD, annotation])], images=photo)

    (problem,) = report.problems
    assert reason in problem
    assert "annotation 7" in problem or "annotation 3" in problem
    assert np.array_equal(_objects(project) > 0, _expected((2, 3, 10), (30, 40, 6)))


@pytest.mark.parametrize(
    ("annotation", "problems"),
    [
        pytest.param(_note(7, _square(20, 20, 5)), 0, id="flat"),
        pytest.param(_note("a7", [_square(20, 20, 5)]), 0, id="text as id"),
        pytest.param(_note(1, [_square(20, 20, 5)]), 0, id="an id twice"),
        pytest.param(_note(7, [_square(20, 20, 5), [9.0, 9.0]]), 1, id="one part without area"),
    ],
)
def test_unusual_annotations_are_objects(project, photo, tmp_path, annotation, problems):
    report = import_files(project, [_coco(tmp_path / "a.json", [*GOOD, annotation])], images=photo)

    assert len(report.problems) == problems
    assert np.array_equal(_objects(project) > 0, _expected((2, 3, 10), (30, 40, 6), (20, 20, 5)))
    assert len(np.unique(_objects(project))) == 4


def test_ids_may_be_texts(project, photo, tmp_path):
    path = _coco(tmp_path / "a.json", [note | {"image_id": "x", "category_id": "c"} for note in GOOD], id="x")
    path.write_text(path.read_text().replace('"id": 0', '"id": "c"'))

    assert import_files(project, [path], images=photo).problems == []
    assert len(project.corrections.select()) == 1


@pytest.mark.parametrize(
    ("change", "problems"),
    [
        pytest.param(lambda c: c["images"].append({"id": 2, "file_name": None}), 1, id="image without name"),
        pytest.param(lambda c: c["images"].append({"file_name": "b.png"}), 1, id="image without id"),
        pytest.param(
            lambda c: c["images"].extend([{"id": 2, "file_name": "b.png"}, {"id": 2, "file_name": "c.png"}]),
            1,
            id="two images of one id",
        ),
        pytest.param(lambda c: c["images"].append(c["images"][0]), 0, id="an image twice"),
        pytest.param(lambda c: c["images"][0].update(width=None, height=0), 0, id="no size"),
        pytest.param(lambda c: c["images"][0].update(file_name="https://x.org/d/a.png?v=1"), 0, id="address"),
        pytest.param(lambda c: c["images"][0].update(file_name="d\\img\\a.png"), 0, id="Windows"),
        pytest.param(lambda c: c["images"][0].update(file_name="A.PNG"), 0, id="capital letters"),
        pytest.param(
            lambda c: (
                c["images"].append(c["images"][0] | {"id": 2}),
                c["annotations"][1].update(image_id=2),
            ),
            0,
            id="an image with two ids",
        ),
        pytest.param(lambda c: c["categories"].append({"id": 1, "name": None}), 1, id="category without name"),
        pytest.param(lambda c: c["categories"].append({"id": 1, "name": 7}), 0, id="category called 7"),
        pytest.param(
            lambda c: c["categories"].extend([{"id": 1, "name": "x"}, {"id": 1, "name": "y"}]),
            1,
            id="two categories of one id",
        ),
        pytest.param(lambda c: c["annotations"][0].update(image_id="1", category_id="0"), 0, id="ids as texts"),
        pytest.param(lambda c: c["annotations"][0].update(image_id=1.0, iscrowd="0"), 0, id="ids as fractions"),
        pytest.param(lambda c: c["annotations"].append(None), 1, id="no annotation"),
        pytest.param(lambda c: c["annotations"][0]["segmentation"].append([]), 1, id="empty part"),
        pytest.param(
            lambda c: c["annotations"][0].update(segmentation=[np.reshape(_square(2, 3, 10), (4, 2)).tolist()]),
            0,
            id="pairs",
        ),
        pytest.param(lambda c: c.update(info=None, licenses=None, videos=[]), 0, id="other keys"),
    ],
)
def test_one_odd_entry_keeps_no_other_out(project, photo, tmp_path, change, problems):
    path = _coco(tmp_path / "a.json", GOOD)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))

    report = import_files(project, [path], images=photo, crowds="ignore")

    assert len(report.problems) == problems
    assert np.array_equal(_objects(project) > 0, _expected((2, 3, 10), (30, 40, 6)))


def test_a_crowd_is_an_object_below_the_others_or_not_reviewed(photo, tmp_path):
    crowd = _note(7, {"size": [HEIGHT, WIDTH], "counts": [0, HEIGHT * WIDTH]}, iscrowd=1)
    path = _coco(tmp_path / "a.json", [*GOOD, crowd])

    with Project.create(tmp_path / "one.amvlm") as project:
        import_files(project, [path], images=photo)
        assert len(np.unique(_objects(project))) == 3
        assert (_objects(project) > 0).all()
    with Project.create(tmp_path / "two.amvlm") as project:
        import_files(project, [path], images=photo, crowds="ignore")
        assert np.array_equal(_objects(project) > 0, _expected((2, 3, 10), (30, 40, 6)))
        reviewed = project.corrections.reviewed(project.corrections.select()[0])
        assert np.array_equal(reviewed, _objects(project) > 0)


def test_what_two_exports_answered_of_an_image_is_one_answer(project, photo, tmp_path):
    """Merged exports list an image twice, each with the categories that it answered."""
    halves = ([0, HEIGHT * 24, HEIGHT * 24], [HEIGHT * 12, HEIGHT * 36])
    parts = [{"size": [HEIGHT, WIDTH], "counts": runs} for runs in halves]
    images = [{"id": n, "file_name": "a.png", "answered": [n], "reviewed": part} for n, part in enumerate(parts)]
    notes = [_note(n, [_square(x, 10, 5)], image_id=n, category_id=n) for n, x in enumerate((15, 5))]
    categories = [{"id": 0, "name": "nuclei"}, {"id": 1, "name": "glands"}]
    path = tmp_path / "merged.json"
    path.write_text(json.dumps({"images": images, "categories": categories, "annotations": notes}), encoding="utf-8")

    report = import_files(project, [path], images=photo, replace=True)

    assert report.problems == []
    assert np.array_equal(_objects(project) > 0, _expected((15, 10, 5)))
    assert np.array_equal(_objects(project, "glands") > 0, _expected((5, 10, 5)))
    reviewed = project.corrections.reviewed(project.corrections.select()[0])
    assert np.array_equal(np.flatnonzero(reviewed.any(axis=0)), np.arange(12, 24))


def test_a_dry_run_enters_nothing(photo, tmp_path):
    path = _coco(tmp_path / "a.json", [*GOOD, _note(7, None)])

    with Project.create(tmp_path / "one.amvlm") as project:
        report = import_files(project, [path], images=photo, dry_run=True)

        assert (report.entered, len(report.problems)) == ([("a.png", "nuclei", 2)], 1)
        assert (project.corrections.select(), project.images.all()) == ([], [])


def _feature(geometry, name="nuclei", **more):
    properties = {"objectType": "annotation"} | ({"classification": {"name": name}} if name else {})
    return {"type": "Feature", "geometry": geometry, "properties": properties} | more


def _polygon(*rings):
    return {"type": "Polygon", "coordinates": list(rings)}


AREA = _feature(_polygon(_ring(2, 3, 10)))


@pytest.mark.parametrize(
    ("feature", "reason"),
    [
        (_feature({"type": "LineString", "coordinates": [[1, 1], [9, 9]]}, "scale bar"), "a LineString has no area"),
        (_feature({"type": "MultiPoint", "coordinates": [[1, 1]]}, "mitosis"), "a MultiPoint has no area"),
        (_feature(None), "it has no outline"),
        (_feature(_polygon(_ring(1, 1, 40)), None), "has no class"),
        (_feature(_polygon(_ring(400, 400, 4))), "no pixel in the image"),
        (_feature(_polygon([[1, 1], [2, 2]])), "fewer than three points"),
        ({"type": "Banana"}, "no GeoJSON feature"),
        (None, "no GeoJSON feature"),
        (_feature(_polygon(_ring(20, 20, 4)) | {"plane": {"c": -1, "z": 3, "t": 0}}), "slice 3 at time 0"),
    ],
)
def test_a_feature_that_cannot_be_used_is_listed(project, photo, tmp_path, feature, reason):
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [AREA, feature]}))

    report = import_files(project, [path], images=photo)

    (problem,) = report.problems
    assert "feature 2" in problem
    assert reason in problem
    assert np.array_equal(_objects(project) > 0, _expected((2, 3, 10)))


@pytest.mark.parametrize("kind", ["detection", "cell"])
def test_what_is_drawn_around_detections_is_none_of_them(project, photo, tmp_path, kind):
    around, *cells = [_feature(_polygon(_ring(*place)), None) for place in ((2, 2, 40), (8, 8, 4), (20, 8, 4))]
    for cell in cells:
        cell["properties"]["objectType"] = kind
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps([around, *cells]), encoding="utf-8")

    report = import_files(project, [path], images=photo, prompt="nuclei")

    assert np.array_equal(_objects(project) > 0, _expected((8, 8, 4), (20, 8, 4)))
    assert len(report.problems) == 1
    assert "is drawn around detections" in report.problems[0]


def test_holes_and_several_areas(project, photo, tmp_path):
    several = {"type": "MultiPolygon", "coordinates": [[_ring(20, 20, 12), _ring(24, 24, 4)], [_ring(2, 40, 5)]]}
    line = {"type": "LineString", "coordinates": [[0, 0], [5, 5]]}
    mixed = {"type": "GeometryCollection", "geometries": [line, _polygon(_ring(40, 2, 4))]}
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps([_feature(several), _feature(mixed)]))

    assert import_files(project, [path], images=photo).problems == []

    expected = _expected((20, 20, 12), (2, 40, 5), (40, 2, 4)) & ~_expected((24, 24, 4))
    assert np.array_equal(_objects(project) > 0, expected)


def test_a_part_without_area_is_told_and_a_hole_without_area_is_none(project, photo, tmp_path):
    several = {
        "type": "MultiPolygon",
        "coordinates": [[_ring(20, 20, 12), [[24, 24], [25, 25]], []], [[[1, 1], [2, 2]]]],
    }
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps([_feature(several)]))

    (problem,) = import_files(project, [path], images=photo).problems

    assert "feature 1 (nuclei): left out: 1 part without area" in problem
    assert np.array_equal(_objects(project) > 0, _expected((20, 20, 12)))


@pytest.mark.parametrize(
    "feature",
    [
        pytest.param(AREA | {"geometry": _polygon([[*point, 0] for point in _ring(2, 3, 10)])}, id="three coordinates"),
        pytest.param(AREA | {"geometry": _polygon(_ring(2, 3, 10)[:-1])}, id="not closed"),
        pytest.param(AREA | {"properties": {"classification": {"names": ["nuclei"]}}}, id="names"),
        pytest.param(AREA | {"properties": {"classification": "nuclei"}, "bbox": [0, 0, 1, 1]}, id="a text"),
        pytest.param(AREA | {"properties": None}, id="no properties"),
        pytest.param(_polygon(_ring(2, 3, 10)), id="a geometry alone"),
        pytest.param(AREA | {"geometry": _polygon(_ring(2, 3, 10)) | {"plane": {"c": -1, "z": 3, "t": 0}}}, id="slice"),
    ],
)
@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16"])
def test_legal_geojson_of_any_kind_is_read(project, photo, tmp_path, feature, coding):
    path = tmp_path / "a.geojson"
    path.write_bytes(json.dumps(feature).encode(coding))

    assert import_files(project, [path], images=photo, prompt="nuclei").problems == []
    assert np.array_equal(_objects(project) > 0, _expected((2, 3, 10)))


@pytest.mark.parametrize(("cells", "square"), [("cell", (10, 10, 20)), ("nucleus", (15, 15, 6))])
def test_a_cell_is_entered_by_its_outline_or_its_nucleus(project, photo, tmp_path, cells, square):
    cell = _feature(_polygon(_ring(10, 10, 20)), nucleusGeometry=_polygon(_ring(15, 15, 6)))
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps([cell]))

    import_files(project, [path], images=photo, cells=cells)

    assert np.array_equal(_objects(project) > 0, _expected(square))


@pytest.mark.parametrize("name", ["a.geojson.gz", "a.geojson", "a.json", "a.json.gz", "a.zip", "a.geojson.zip"])
def test_geojson_is_known_by_its_content(project, photo, tmp_path, name):
    content = json.dumps([AREA]).encode()
    if name.endswith(".zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("a.geojson", content)
    else:
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)

    assert import_files(project, [tmp_path / name], images=photo).problems == []
    assert len(project.corrections.select()) == 1


@pytest.mark.parametrize(
    "name",
    ["1a2b3c4d-a.png", "images\\8\\1a2b3c4d-a.png", "..\\media\\upload\\4\\1a2b3c4d-a.png"],
)
def test_coco_of_label_studio_finds_images_without_the_mark_of_an_upload(project, photo, tmp_path, name):
    path = _coco(tmp_path / "a.json", [_note(1, [_square(10, 10, 20)])], file_name=name)

    assert import_files(project, [path], images=photo).problems == []
    np.testing.assert_array_equal(_objects(project) > 0, _expected((10, 10, 20)))


@pytest.mark.parametrize("name", ["b.ome.tif", "b.svs"])
@pytest.mark.parametrize("images", [True, False])
def test_a_file_may_be_called_like_its_image_without_its_endings(project, photo, tmp_path, name, images):
    tifffile.imwrite(photo / name, np.zeros((HEIGHT, WIDTH), np.uint8))
    (tmp_path / "b.geojson").write_text(json.dumps([_feature(_polygon(_ring(10, 10, 20)))]))
    if not images:
        project.images.add_file(photo / name)

    report = import_files(project, [tmp_path / "b.geojson"], images=photo if images else None)

    assert (report.problems, len(report.accepted)) == ([], 1)


@pytest.mark.parametrize("name", ["a_cp_masks.png", "mask_a.tif", "a_Label.png", "a_seg.tif"])
def test_a_label_image_is_of_the_image_without_its_mark(project, photo, tmp_path, name):
    labels = _expected((10, 10, 20)).astype(np.uint8)
    path = tmp_path / name
    tifffile.imwrite(path, labels) if name.endswith(".tif") else Image.fromarray(labels).save(path)

    report = import_files(project, [path], prompt="nuclei", images=photo)

    assert (report.problems, len(report.accepted)) == ([], 1)


def test_an_image_that_is_called_like_the_label_image_comes_first(project, photo, tmp_path):
    shutil.copy(photo / "a.png", photo / "a_mask.png")
    (tmp_path / "labels").mkdir()
    Image.fromarray(_expected((10, 10, 20))).save(tmp_path / "labels" / "a_mask.png")

    report = import_files(project, [tmp_path / "labels" / "a_mask.png"], prompt="nuclei", images=photo)

    assert [name for name, *_ in report.entered] == ["a_mask.png"]


def test_two_uploads_of_one_name_are_not_taken_for_one_image(project, photo, tmp_path):
    content = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "nuclei"}]}
    for number in (1, 2):
        content["images"].append({"id": number, "file_name": f"{number}a2b3c4d-a.png"})
        content["annotations"].append(_note(number, [_square(10, 10, 20)], image_id=number))
    (tmp_path / "a.json").write_text(json.dumps(content))

    report = import_files(project, [tmp_path / "a.json"], images=photo)

    assert (report.accepted, len(report.problems)) == ([], 2)


def test_a_file_called_like_nothing_is_told_to_be_called_like_its_image(project, tmp_path):
    (tmp_path / "export.geojson").write_text(json.dumps([_feature(_polygon(_ring(10, 10, 20)))]))

    report = import_files(project, [tmp_path / "export.geojson"])

    assert report.problems[0].endswith("or call this file like its image.")


def test_a_packed_file_that_is_cut_off_is_reported(project, tmp_path):
    (tmp_path / "a.geojson.gz").write_bytes(gzip.compress(json.dumps([AREA] * 50).encode())[:-20])

    (problem,) = import_files(project, [tmp_path / "a.geojson.gz"]).problems

    assert "a.geojson.gz" in problem


@pytest.mark.parametrize(("inside", "outside"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_are_compared_in_normal_form(project, photo, tmp_path, inside, outside):
    (photo / "a.png").rename(photo / unicodedata.normalize(outside, "Präparat.png"))
    path = _coco(tmp_path / "a.json", GOOD, file_name=unicodedata.normalize(inside, "Präparat.png"))

    assert import_files(project, [path], images=photo).problems == []
    assert import_files(project, [path]).unchanged == 1


@pytest.fixture
def on_its_side(photo):
    """Return the folder with a photo that lies on its side in its file; upright it is 60 by 48."""
    upright = Image.open(photo / "a.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("phone.jpg", "scan.tif"):
        upright.transpose(Image.Transpose.ROTATE_90).save(photo / name, quality=97, exif=exif)
    return photo


@pytest.mark.parametrize(
    ("size", "square", "expected"),
    [
        pytest.param((HEIGHT, WIDTH), (10, 2, 20), (10, 2, 20), id="as shown"),
        # Stored, a pixel at row r and column c of the upright image is at row WIDTH - 1 - c and column r.
        pytest.param((WIDTH, HEIGHT), (2, 18, 20), (10, 2, 20), id="as stored"),
        pytest.param((WIDTH, HEIGHT), (10, 39, 20), (10, 39, 20), id="drawn as shown, size as stored"),
    ],
)
@pytest.mark.parametrize("name", ["phone.jpg", "scan.tif"])
def test_outlines_on_a_photo_lie_where_they_were_drawn(project, on_its_side, tmp_path, size, square, expected, name):
    path = _coco(tmp_path / "a.json", [_note(1, [_square(*square)])], file_name=name, height=size[0], width=size[1])

    assert import_files(project, [path], images=on_its_side).problems == []
    assert np.array_equal(_objects(project) > 0, _expected(expected))


@pytest.mark.parametrize("where", ["in properties", "missing"])
def test_a_cell_gives_its_nucleus_or_nothing(project, photo, tmp_path, where):
    nucleus = {"nucleusGeometry": _polygon(_ring(15, 15, 6))} if where == "in properties" else {}
    cell = _feature(_polygon(_ring(10, 10, 20)))
    cell["properties"] |= {"objectType": "cell"} | nucleus
    (tmp_path / "a.geojson").write_text(json.dumps([cell, _feature(_polygon(_ring(2, 2, 5)))]))

    problems = import_files(project, [tmp_path / "a.geojson"], images=photo, cells="nucleus").problems

    assert np.array_equal(_objects(project) > 0, _expected((2, 2, 5), *([(15, 15, 6)] if nucleus else [])))
    assert ["without a nucleus" in problem for problem in problems] == ([] if nucleus else [True])


def test_an_archive_from_a_mac_has_one_file_of_masks(project, photo, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.geojson", json.dumps([AREA]))
        archive.writestr("__MACOSX/._a.geojson", b"\0\5\x16\7")

    assert import_files(project, [tmp_path / "a.zip"], images=photo).problems == []
