"""Exports of CVAT and Label Studio: what is good enters, what is not is listed by name, and a dry run shows both."""

import itertools
import json
import zipfile

import numpy as np
import pytest
from PIL import Image, ImageDraw

from napari_amvlm.imports import import_files
from napari_amvlm.imports.label_studio import brush_mask
from napari_amvlm.project import Project

HEIGHT, WIDTH = 60, 48


@pytest.fixture
def project(tmp_path):
    (tmp_path / "img").mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "img" / "a.png")
    with Project.create(tmp_path / "a.amvlm") as opened:
        opened.images.add_file(tmp_path / "img" / "a.png")
        yield opened


def _objects(project, prompt="nuclei"):
    (correction,) = project.corrections.select(prompt=prompt)
    return np.asarray(project.corrections.objects(correction))


def _square(x, y, width, height):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y : y + height, x : x + width] = True
    return mask


def _cvat(path, shapes):
    path.write_text(
        f'<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version><meta><task/></meta>'
        f'<image id="0" name="d/a.png" width="{WIDTH}" height="{HEIGHT}">{shapes}</image></annotations>',
        encoding="utf-8",
    )
    return path


POLYGON = '<polygon label="nuclei" points="2.0,3.0;12.0,3.0;12.0,13.0;2.0,13.0" z_order="0"/>'


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        pytest.param(POLYGON, _square(2, 3, 10, 10), id="polygon"),
        pytest.param('<box label="nuclei" xtl="4" ytl="5" xbr="14.0" ybr="9"/>', _square(4, 5, 10, 4), id="box"),
        pytest.param(
            '<box label="nuclei" xtl="4" ytl="8" xbr="14" ybr="12" rotation="90.0"/>', _square(7, 5, 4, 10), id="turned"
        ),
        pytest.param(
            '<mask label="nuclei" rle="0, 4, 2, 2" left="10" top="20" width="4" height="2"><attribute/></mask>',
            _square(10, 20, 4, 1) | _square(12, 21, 2, 1),
            id="mask",
        ),
    ],
)
def test_shapes_of_cvat(project, tmp_path, shape, expected):
    report = import_files(project, [_cvat(tmp_path / "annotations.xml", shape)])

    assert report.problems == []
    np.testing.assert_array_equal(_objects(project) > 0, expected)


def test_an_ellipse_of_cvat_is_turned_clockwise(project, tmp_path):
    shape = '<ellipse label="nuclei" cx="20" cy="30" rx="12" ry="4" rotation="45"/>'

    import_files(project, [_cvat(tmp_path / "a.xml", shape)])

    rows, columns = np.nonzero(_objects(project))
    assert len(rows) == pytest.approx(np.pi * 12 * 4, rel=0.03)
    assert (columns.mean() + 0.5, rows.mean() + 0.5) == pytest.approx((20, 30), abs=0.1)
    # The long axis leads from the upper left to the lower right.
    assert np.corrcoef(rows, columns)[0, 1] > 0.7


def test_later_shapes_of_cvat_lie_on_top_by_their_order(project, tmp_path):
    low = '<box label="nuclei" xtl="0" ytl="0" xbr="20" ybr="20" z_order="-1"/>'
    high = '<box label="nuclei" xtl="5" ytl="5" xbr="10" ybr="10" z_order="3"/>'

    import_files(project, [_cvat(tmp_path / "a.xml", high + low)])

    objects = _objects(project)
    assert objects[7, 7] != objects[0, 0]
    assert sorted(np.unique(objects, return_counts=True)[1])[:2] == [25, 375]


def test_background_of_cvat_cuts_holes_into_what_lies_below(project, tmp_path):
    low = '<box label="nuclei" xtl="0" ytl="0" xbr="20" ybr="20" z_order="0"/>'
    hole = '<box label="Background" xtl="5" ytl="5" xbr="10" ybr="10" z_order="1"/>'
    high = '<box label="nuclei" xtl="6" ytl="6" xbr="8" ybr="8" z_order="2"/>'

    import_files(project, [_cvat(tmp_path / "a.xml", low + hole + high)])

    expected = _square(0, 0, 20, 20) & ~_square(5, 5, 5, 5) | _square(6, 6, 2, 2)
    np.testing.assert_array_equal(_objects(project) > 0, expected)


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        (
            '<polyline label="nuclei" points="1,2;3,4"/>',
            "polyline 2 (nuclei) of d/a.png is left out: a polyline has no",
        ),
        ('<points label="nuclei" points="1,2"/>', "a points has no area"),
        ('<tag label="good"/>', "tag 2 (good) of d/a.png is left out"),
        ('<polygon label="nuclei" points="1,2;3,4"/>', "at least three points"),
        ('<polygon label="nuclei" points="1,2;3;4,5"/>', "cannot be read"),
        ('<polygon label="nuclei" points="nan,2;3,4;5,6"/>', "no finite number"),
        ('<polygon points="1,2;30,4;5,6"/>', "has no class"),
        ('<box label="nuclei" xtl="400" ytl="5" xbr="414" ybr="9"/>', "no pixel in the image"),
        ('<box label="nuclei" xtl="4" ytl="5" xbr="14"/>', "cannot be read"),
        ('<mask label="nuclei" rle="1,2" left="10" top="20" width="4" height="2"/>', "must add up to 8 pixels"),
        ('<mask label="nuclei" rle="0,8" left="46" top="20" width="4" height="2"/>', "lies outside the image"),
        ('<ellipse label="nuclei" cx="20" cy="30" rx="0" ry="4"/>', "radius of 0"),
    ],
)
def test_a_shape_of_cvat_that_cannot_be_used_is_listed(project, tmp_path, shape, reason):
    path = _cvat(tmp_path / "a.xml", POLYGON + shape)

    dry = import_files(project, [path], dry_run=True)
    report = import_files(project, [path])

    (problem,) = report.problems
    assert reason in problem
    assert (dry.problems, dry.entered, dry.accepted) == ([problem], [("a.png", "nuclei", 1)], [])
    np.testing.assert_array_equal(_objects(project) > 0, _square(2, 3, 10, 10))


@pytest.fixture
def alike(tmp_path):
    """Return three images that have one name, in folders of their own, and the left side of a square for each."""
    lefts = {"x/1.png": 2, "y/1.png": 12, "y/z/1.png": 22}
    for number, name in enumerate(lefts):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True)
        Image.fromarray(np.full((HEIGHT, WIDTH), 50 * number, np.uint8)).save(path)
    return tmp_path / "data", lefts


def _answers_of_each(folder, lefts):
    """Return a file of CVAT, one of Label Studio and one of COCO with the squares."""
    shape = f'width="{WIDTH}" height="{HEIGHT}"><box label="nuclei" ytl="3" ybr="9"'
    boxes = [f'<image name="{name}" {shape} xtl="{left}" xbr="{left + 6}"/></image>' for name, left in lefts.items()]
    (folder / "a.xml").write_text(f"<annotations>{''.join(boxes)}</annotations>")
    tasks = [
        {"data": {"image": f"/data/local-files/?d=served/{name}"}, "annotations": [{"result": [region]}]}
        for name, left in lefts.items()
        for region in (_region("rectanglelabels", **_rectangle(left, 3, 6, 6)),)
    ]
    (folder / "a.json").write_text(json.dumps(tasks))
    notes = [
        {"image_id": n, "category_id": 0, "segmentation": [[left, 3, left + 6, 3, left + 6, 9, left, 9]]}
        for n, left in enumerate(lefts.values())
    ]
    images = [{"id": n, "file_name": name} for n, name in enumerate(lefts)]
    content = {"images": images, "categories": [{"id": 0, "name": "nuclei"}], "annotations": notes}
    (folder / "coco.json").write_text(json.dumps(content))
    return [folder / "a.xml", folder / "a.json", folder / "coco.json"]


@pytest.mark.parametrize("replace", [True, False])
def test_images_of_one_name_are_told_apart_by_their_folders(alike, tmp_path, replace):
    data, lefts = alike
    for number, file in enumerate(_answers_of_each(tmp_path, lefts)):
        with Project.create(tmp_path / f"{number}.amvlm") as project:
            for name in ("y/1.png", "y/z/1.png"):
                project.images.add_file(data / name)

            report = import_files(project, [file], replace=replace)

            found = {
                project.images.get(one.image_id).path.relative_to(data).as_posix(): project.corrections.mask(one)
                for one in project.corrections.select()
            }
            assert sorted(found) == ["y/1.png", "y/z/1.png"]
            for name, mask in found.items():
                np.testing.assert_array_equal(mask, _square(lefts[name], 3, 6, 6))
            assert len(report.problems) == 1
            assert "x/1.png is one of several images called 1.png" in report.problems[0]


def test_an_image_of_a_folder_is_added_beside_one_of_its_name(alike, tmp_path):
    data, lefts = alike
    for number, (name, left) in enumerate(lefts.items()):
        file, _, coco = _answers_of_each(tmp_path, {name: left})
        with Project.open_or_create(tmp_path / "one.amvlm") as project:
            planned = import_files(project, [coco], images=data, dry_run=True)
            report = import_files(project, [file, coco], images=data)

            assert (planned.problems, report.problems, report.unchanged) == ([], [], 1)
            assert [planned.entered[0], *report.entered] == [("1.png", "nuclei", 1)] * 2
            assert len(project.images.all()) == number + 1


def test_tracks_of_a_video_are_refused_by_name(project, tmp_path):
    box = '<box frame="0" outside="0" xtl="1" ytl="1" xbr="9" ybr="9"/>'
    content = f'<annotations><track id="3" label="cell">{box}</track></annotations>'
    (tmp_path / "a.xml").write_text(content)

    (problem,) = import_files(project, [tmp_path / "a.xml"]).problems

    assert "track 3 (cell) is left out: tracks are of videos" in problem


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<annotations><image", "is no XML"),
        (b"<annotation><filename>a.png</filename></annotation>", "begins with <annotation>"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><annotations/>', "definitions of its own"),
        (b"<?xml version='1.0' encoding='strange'?><annotations/>", "is no XML"),
    ],
)
def test_what_is_no_export_of_cvat(project, tmp_path, content, reason):
    (tmp_path / "a.xml").write_bytes(content)

    (problem,) = import_files(project, [tmp_path / "a.xml"]).problems

    assert reason in problem


def test_an_archive_of_cvat_with_its_images(project, tmp_path):
    with zipfile.ZipFile(tmp_path / "task.zip", "w") as archive:
        archive.write(_cvat(tmp_path / "annotations.xml", POLYGON), "annotations.xml")
        archive.write(tmp_path / "img" / "a.png", "images/a.png")

    assert import_files(project, [tmp_path / "task.zip"]).problems == []
    np.testing.assert_array_equal(_objects(project) > 0, _square(2, 3, 10, 10))


def _bits(*numbers):
    return "".join(f"{value:0{width}b}" for value, width in numbers)


def _encoded(mask):
    """Return a brush as Label Studio packs it: equal runs of up to 2^15 values, and one run of single values."""
    values = np.repeat(mask[..., None], 4, axis=2).astype(int).ravel() * 255
    lengths = (3, 5, 8, 15)
    text = _bits((len(values), 32), (7, 5), *((bits - 1, 4) for bits in lengths))
    text += _bits((0, 1), (0, 2), (3, 3), *((int(value), 8) for value in values[:4]))
    starts = [4, *(4 + np.flatnonzero(np.diff(values[4:])) + 1).tolist(), len(values)]
    for start, end in itertools.pairwise(starts):
        for first in range(start, end, 2**15):
            count = min(end - first, 2**15)
            kind = next(number for number, bits in enumerate(lengths) if count <= 2**bits)
            text += _bits((1, 1), (kind, 2), (count - 1, lengths[kind]), (int(values[first]), 8))
    text += "0" * (-len(text) % 8)
    return [int(text[place : place + 8], 2) for place in range(0, len(text), 8)]


def _disc():
    picture = Image.new("L", (WIDTH, HEIGHT))
    ImageDraw.Draw(picture).ellipse((8, 20, 30, 44), fill=255)
    return np.asarray(picture) > 0


def _region(kind, number="r1", **value):
    size = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    return {"id": number, "type": kind, "from_name": "label", "to_name": "image", "value": value} | size


def _percent(x, y):
    return 100 * x / WIDTH, 100 * y / HEIGHT


def _rectangle(x, y, width, height, **more):
    (left, top), (wide, high) = _percent(x, y), _percent(width, height)
    return {"x": left, "y": top, "width": wide, "height": high, "rectanglelabels": ["nuclei"]} | more


CORNERS = [_percent(*corner) for corner in ((2, 3), (12, 3), (12, 13), (2, 13))]
GOOD = _region("polygonlabels", "good", points=CORNERS, closed=True, polygonlabels=["nuclei"])


def _tasks(path, *results, image="/data/upload/3/1a2b3c4d-a.png", **task):
    annotations = [{"id": 1, "was_cancelled": False, "result": list(results)}]
    content = [{"id": 7, "data": {"image": image}, "annotations": annotations} | task]
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("region", "expected"),
    [
        pytest.param(GOOD, _square(2, 3, 10, 10), id="polygon"),
        pytest.param(_region("rectanglelabels", **_rectangle(4, 5, 10, 4)), _square(4, 5, 10, 4), id="rectangle"),
        pytest.param(
            _region("rectanglelabels", **_rectangle(20, 5, 10, 4, rotation=90)), _square(16, 5, 4, 10), id="turned"
        ),
        pytest.param(
            _region("brushlabels", format="rle", rle=_encoded(_disc()), brushlabels=["nuclei"]), _disc(), id="brush"
        ),
    ],
)
def test_regions_of_label_studio(project, tmp_path, region, expected):
    report = import_files(project, [_tasks(tmp_path / "a.json", region)])

    assert report.problems == []
    np.testing.assert_array_equal(_objects(project) > 0, expected)


def test_an_ellipse_of_label_studio(project, tmp_path):
    (x, y), (across, down) = _percent(20, 30), _percent(8, 16)
    value = {"x": x, "y": y, "radiusX": across, "radiusY": down, "rotation": 0, "ellipselabels": ["nuclei"]}

    import_files(project, [_tasks(tmp_path / "a.json", _region("ellipselabels", **value))])

    rows, columns = np.nonzero(_objects(project))
    assert (np.ptp(columns) + 1, np.ptp(rows) + 1) == (16, 32)
    assert len(rows) == pytest.approx(np.pi * 8 * 16, rel=0.03)


@pytest.mark.parametrize(
    "address",
    [
        "/data/upload/3/1a2b3c4d-a.png",
        "/data/local-files/?d=scans%2Fa.png",
        "s3://bucket/scans/a.png",
        "https://x.org/a.png?token=1",
        "a.png",
    ],
)
def test_images_are_found_by_their_addresses(project, tmp_path, address):
    assert import_files(project, [_tasks(tmp_path / "a.json", GOOD, image=address)]).problems == []
    assert len(project.corrections.select()) == 1


@pytest.mark.parametrize(
    ("data", "views"),
    [
        pytest.param({"before": "b.png", "after": "a.png"}, ({"to_name": "after"}, {"to_name": "before"}), id="views"),
        pytest.param({"image": ["b.png", "a.png"]}, ({"item_index": 1}, {"item_index": 0}), id="pages"),
    ],
)
def test_regions_of_several_images_in_one_task_lie_on_their_own(project, tmp_path, data, views):
    other = project.images.add_array(np.eye(HEIGHT, WIDTH, dtype=np.uint8), name="b.png")
    second = _region("rectanglelabels", "r2", **_rectangle(20, 5, 10, 4))

    report = import_files(project, [_tasks(tmp_path / "a.json", GOOD | views[0], second | views[1], data=data)])

    assert report.problems == []
    masks = {c.image_id == other.id: project.corrections.mask(c) for c in project.corrections.select()}
    np.testing.assert_array_equal(masks[False], _square(2, 3, 10, 10))
    np.testing.assert_array_equal(masks[True], _square(20, 5, 10, 4))


def test_what_label_studio_does_not_place_or_nobody_confirmed_is_listed(project, tmp_path):
    two = _tasks(tmp_path / "two.json", GOOD | {"to_name": "left"}, data={"one": "a.png", "other": "b.png"})
    guess = _tasks(tmp_path / "guess.json", annotations=[], predictions=[{"result": [GOOD]}])
    bitmask = _tasks(tmp_path / "bitmask.json", _region("bitmask", imageDataURL="data:,", bitmasklabels=["nuclei"]))

    report = import_files(project, [two, guess, bitmask])

    assert report.accepted == []
    assert "it is not said which image is meant: 1 result" in report.problems[0]
    assert "predictions alone, which nobody confirmed" in report.problems[1]
    assert "bitmasks are not read" in report.problems[2]


def test_a_single_task_of_label_studio_is_read(project, tmp_path):
    (task,) = json.loads(_tasks(tmp_path / "a.json", GOOD).read_text())
    (tmp_path / "task.json").write_text(json.dumps(task))

    assert import_files(project, [tmp_path / "task.json"]).problems == []
    np.testing.assert_array_equal(_objects(project) > 0, _square(2, 3, 10, 10))


def test_a_region_of_several_labels_is_an_object_of_each(project, tmp_path):
    both = _region("rectanglelabels", **_rectangle(4, 5, 10, 4, rectanglelabels=["nuclei", "mitosis"]))

    report = import_files(project, [_tasks(tmp_path / "a.json", both)])

    assert report.problems == []
    for prompt in ("nuclei", "mitosis"):
        np.testing.assert_array_equal(_objects(project, prompt) > 0, _square(4, 5, 10, 4))


def test_the_short_form_and_labels_beside_their_regions(project, tmp_path):
    size = {"original_width": WIDTH, "original_height": HEIGHT}
    short = [{"image": "a.png", "id": 1, "label": [GOOD["value"] | size], "annotator": 1}]
    (tmp_path / "short.json").write_text(json.dumps(short))
    bare = _region("rectangle", "r1", **_rectangle(4, 5, 10, 4))
    label = {key: bare["value"].pop(key) for key in ("rectanglelabels",)}
    twice = _region("labels", "r1", **bare["value"], labels=["lumen"])

    first = import_files(project, [tmp_path / "short.json"])
    second = import_files(project, [_tasks(tmp_path / "a.json", bare, twice)])

    assert (first.problems, second.problems, label) == ([], [], {"rectanglelabels": ["nuclei"]})
    np.testing.assert_array_equal(_objects(project) > 0, _square(2, 3, 10, 10))
    np.testing.assert_array_equal(_objects(project, "lumen"), _square(4, 5, 10, 4).astype(int))


@pytest.mark.parametrize(
    ("region", "reason"),
    [
        (
            _region("keypointlabels", x=1, y=2, width=1, keypointlabels=["nuclei"]),
            "r1 (nuclei) of a.png is left out: a",
        ),
        (_region("polygonlabels", points=CORNERS), "region r1 (no label) of a.png is left out: it has no class"),
        (_region("polygonlabels", points=CORNERS[:2], polygonlabels=["nuclei"]), "at least three points"),
        (_region("polygonlabels", points=[["x", 1]] * 3, polygonlabels=["nuclei"]), "cannot be read"),
        (_region("brushlabels", rle=[1, 2], brushlabels=["nuclei"]), "a brush is cut off"),
        (_region("brushlabels", rle=_encoded(_disc())[:-9], brushlabels=["nuclei"]), "a brush is cut off"),
        (_region("brushlabels", rle=_encoded(_disc()[:9]), brushlabels=["nuclei"]), "of another image"),
        (_region("brushlabels", rle="abc", brushlabels=["nuclei"]), "must be a list of bytes"),
        (GOOD | {"id": "r1", "image_rotation": 90}, "was turned in Label Studio"),
    ],
)
def test_a_region_of_label_studio_that_cannot_be_used_is_listed(project, tmp_path, region, reason):
    path = _tasks(tmp_path / "a.json", GOOD, region)

    dry = import_files(project, [path], dry_run=True)
    report = import_files(project, [path])

    (problem,) = report.problems
    assert reason in problem
    assert (dry.problems, dry.entered, dry.accepted) == ([problem], [("a.png", "nuclei", 1)], [])
    np.testing.assert_array_equal(_objects(project) > 0, _square(2, 3, 10, 10))


def test_of_several_annotations_one_counts_and_the_others_are_told(project, tmp_path):
    other = _region("rectanglelabels", **_rectangle(20, 20, 5, 5))
    annotations = [
        {"id": 1, "ground_truth": True, "result": [GOOD]},
        {"id": 2, "result": [other]},
        {"id": 3, "was_cancelled": True, "result": [other]},
    ]

    first, second = import_files(project, [_tasks(tmp_path / "a.json", annotations=annotations)]).problems

    assert "task 7: left out as skipped: 1 annotation." in first
    assert "1 of its 2 annotations left out" in second
    np.testing.assert_array_equal(_objects(project) > 0, _square(2, 3, 10, 10))


def test_a_brush_of_single_values_is_read():
    """Check against the encoding of 1 by 2 pixels written out by hand: 8 values of 8 bits in one run."""
    text = _bits((8, 32), (7, 5), (2, 4), (2, 4), (2, 4), (2, 4), (0, 1), (0, 2), (7, 3))
    text += _bits(*((value, 8) for value in (0, 0, 0, 0, 9, 9, 9, 255)))
    text += "0" * (-len(text) % 8)

    mask = brush_mask([int(text[place : place + 8], 2) for place in range(0, len(text), 8)], (1, 2))

    assert mask.tolist() == [[False, True]]
