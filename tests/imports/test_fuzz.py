"""Damaged masks of other programs: what cannot be used is told, never a crash or a hang, and nothing is overwritten."""

import json

import numpy as np
import pytest
from hypothesis import strategies as st

from napari_amvlm.errors import LabelsError
from napari_amvlm.exports import export_coco, export_geojson, export_labels
from napari_amvlm.exports.coco import run_lengths
from napari_amvlm.imports import import_files
from napari_amvlm.imports.shapes import (
    decode_counts,
    polygon_area,
    polygon_mask,
    run_length_area,
    run_length_mask,
)
from napari_amvlm.project import Answer
from tests.damaged import bounded_memory, check_message, damages, few_or_many, json_damages, snapshot, try_cases

MINE = np.eye(60, 48, dtype=bool)


_RING = [[2, 3], [12, 3], [12, 9], [2, 9], [2, 3]]
_AREA = {"type": "Polygon", "coordinates": [_RING, [[4, 4], [6, 4], [6, 6]]]}
_NAMED = {"classification": {"name": "nuclei"}}
QUPATH = {
    "type": "FeatureCollection",
    "features": [
        {"type": "Feature", "geometry": _AREA, "nucleusGeometry": _AREA, "properties": _NAMED},
        {"type": "Feature", "geometry": {"type": "MultiPolygon", "coordinates": [[_RING]]}, "properties": _NAMED},
        {"type": "Feature", "geometry": {"type": "LineString", "coordinates": [[1, 2], [3, 4]]}, "properties": _NAMED},
        {"type": "Feature", "geometry": {"type": "GeometryCollection", "geometries": [_AREA]}, "properties": {}},
    ],
    "image": {"name": "other"},
}
_FLAT = [2.0, 3.0, 12.0, 3.0, 12.0, 9.0]
ODD_COCO = {
    "images": [{"id": "x", "file_name": "other.png", "height": 60, "width": 48}],
    "categories": [{"id": "c", "name": "nuclei"}],
    "annotations": [
        {"id": "a", "image_id": "x", "category_id": "c", "segmentation": _FLAT, "bbox": [2, 3, 10, 6]},
        {"id": "a", "image_id": "x", "category_id": "c", "segmentation": [_FLAT, [1.0, 1.0]]},
        {"image_id": "x", "category_id": "c", "segmentation": None, "bbox": [20, 30, 10, 6]},
        {
            "id": 4,
            "image_id": "x",
            "category_id": "c",
            "segmentation": {"size": [60, 48], "counts": [0, 2880]},
            "iscrowd": 1,
        },
    ],
}


_VALUE = {"points": [[2, 3], [40, 3], [40, 50]], "polygonlabels": ["nuclei"]}
_BRUSH = {"rle": [0, 0, 45, 0, 57, 153, 153, 152, 24, 127, 128], "format": "rle", "brushlabels": ["nuclei"]}
_ROUND = {"x": 40, "y": 50, "radiusX": 10, "radiusY": 5, "rotation": 30, "ellipselabels": ["nuclei"]}
_WIDE = {"x": 40, "y": 50, "width": 10, "height": 5, "rotation": 30, "rectanglelabels": ["nuclei"]}
LABEL_STUDIO = [
    {
        "id": 1,
        "data": {"image": "/data/upload/1/01234567-other.png"},
        "annotations": [
            {
                "was_cancelled": False,
                "result": [
                    {"id": f"r{number}", "value": value, "original_width": 48, "original_height": 60}
                    for number, value in enumerate((_VALUE, _BRUSH, _ROUND, _WIDE))
                ],
            }
        ],
    }
]
CVAT = b"""<?xml version="1.0"?><annotations><image id="0" name="other.png" width="48" height="60">
<polygon label="nuclei" points="2.0,3.0;12.0,3.0;12.0,13.0" z_order="1"/>
<box label="nuclei" xtl="4" ytl="8" xbr="14" ybr="12" rotation="30.0"/>
<ellipse label="nuclei" cx="20" cy="30" rx="12" ry="4" rotation="45"/>
<mask label="nuclei" rle="0, 4, 2, 2" left="10" top="20" width="4" height="2"/>
<points label="nuclei" points="1,2"/></image><track id="1" label="nuclei"/></annotations>"""


@pytest.fixture
def exported(source, tmp_path):
    """Return a folder with every kind of export."""
    export_coco(source, tmp_path / "out" / "masks.json")
    export_geojson(source, tmp_path / "out" / "geojson")
    export_labels(source, tmp_path / "out" / "labels", "png", objects=True)
    return tmp_path / "out"


def _fuzz(project, exported, cases):
    """Return how many cases were tried, and after how many of them something could not be used."""
    geojson = sorted((exported / "geojson").iterdir())[-1]
    others = {"qupath": exported / "chest.json", "odd coco": exported / "odd.json"}
    others |= {"cvat": exported / "cvat.xml", "label studio": exported / "tasks.json"}
    others["qupath"].write_text(json.dumps(QUPATH), encoding="utf-8")
    others["odd coco"].write_text(json.dumps(ODD_COCO), encoding="utf-8")
    others["label studio"].write_text(json.dumps(LABEL_STUDIO), encoding="utf-8")
    others["cvat"].write_bytes(CVAT)
    tables = [exported / "labels" / name for name in ("classes.csv", "images.csv")]
    intact = {path: path.read_bytes() for path in (exported / "masks.json", geojson, *tables, *others.values())}
    kept = project.corrections.accept(3, "mine", Answer(MINE))
    told = 0

    def case(kind, damage, change, which):
        nonlocal told
        files = {"table": tables[which % 2], "geojson": geojson, "coco": exported / "masks.json"} | others
        path = files[kind]
        as_text = kind in ("table", "cvat") or which % 5 == 0
        path.write_bytes(damage(intact[path]) if as_text else change(json.loads(intact[path])))
        before = snapshot(exported)
        given = exported / "labels" if kind == "table" else path
        report = import_files(
            project,
            [given],
            prompt="cells" if which % 3 == 0 else None,
            replace=which % 4 == 0,
            cells="nucleus" if which % 2 else "cell",
            crowds="ignore" if which % 2 else "object",
        )
        for problem in report.problems:
            check_message(Exception(problem))
        told += bool(report.problems)
        assert snapshot(exported) == before
        for number in report.accepted:
            correction = project.corrections.get(number)
            assert np.array_equal(project.corrections.objects(correction) > 0, project.corrections.mask(correction))
        path.write_bytes(intact[path])

    kinds = st.sampled_from(("coco", "geojson", "table", *others))
    count = try_cases(cases, case, kinds, damages(), json_damages(), st.integers(0, 1000))
    assert np.array_equal(project.corrections.mask(kept), MINE)
    return count, told


@few_or_many(60, 1000)
def test_damaged_masks_are_told_of_or_entered(target, exported, cases):
    with bounded_memory():
        tried, told = _fuzz(target, exported, cases)

    assert tried >= cases
    assert cases // 10 < told < tried


def test_json_beyond_measure_is_not_read(target, tmp_path):
    path = tmp_path / "masks.json"
    with path.open("wb") as file:
        file.truncate(600 << 20)

    with bounded_memory(100 << 20):
        report = import_files(target, [path])

    assert len(report.problems) == 1
    assert "expected at most 512 MB of JSON, but it has 600 MB" in report.problems[0]


def test_run_lengths_whose_sum_overflows_are_refused():
    with pytest.raises(LabelsError, match="must add up to 2880 pixels"):
        run_length_mask([2**62, 2**62, 2**62, 2**62, 2880], (60, 48))
    with pytest.raises(LabelsError, match="must add up to"):
        run_length_mask([10**400], (60, 48))


def test_a_packed_run_length_without_end_is_refused():
    with pytest.raises(LabelsError, match="beyond measure"):
        decode_counts("o" * 5_000_000)


@pytest.mark.parametrize("far", [1e10, 1e300, float("inf"), float("nan"), -1e18])
def test_coordinates_beyond_measure_are_refused(far):
    with pytest.raises(LabelsError, match="finite number of pixels"):
        polygon_mask([[(0, 0), (far, 5), (5, far)]], (60, 48))


def test_a_polygon_far_larger_than_its_image_is_cut_off():
    mask = polygon_mask([[(24, -1e6), (1e6, -1e6), (1e6, 1e6), (24, 1e6)]], (60, 48))

    assert mask[:, 24:].all()
    assert not mask[:, :24].any()


def _by_winding(points, shape):
    """Return the pixels inside a polygon by slow even-odd counting, one pixel and edge at a time."""
    inside = np.zeros(shape, np.bool_)
    for row in range(shape[0]):
        for column in range(shape[1]):
            x, y = column + 0.5, row + 0.5
            for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
                if (y0 > y) != (y1 > y) and x >= x0 + (y - y0) / (y1 - y0) * (x1 - x0):
                    inside[row, column] ^= True
    return inside


@pytest.mark.parametrize("seed", range(8))
def test_polygons_are_filled_as_by_counting_edges(seed):
    chance = np.random.default_rng(seed)
    points = chance.uniform(-6, 26, (int(chance.integers(3, 14)), 2))
    points = np.round(points) if seed % 2 else points

    assert np.array_equal(polygon_mask([points], (17, 21)), _by_winding(points, (17, 21)))


def test_a_polygon_of_many_points_is_filled_at_once():
    angle = np.linspace(0, 2 * np.pi, 200_000, endpoint=False)
    ring = np.stack([1500 + 1400 * np.cos(angle), 1500 + 1400 * np.sin(angle)], axis=1)

    mask = polygon_mask([ring], (3000, 3000))

    assert mask.sum() == pytest.approx(np.pi * 1400**2, rel=1e-3)


@pytest.mark.parametrize("seed", range(8))
def test_a_part_of_an_image_has_the_pixels_of_all_of_it(seed):
    chance = np.random.default_rng(seed)
    shape = (17, 21)
    ring = chance.uniform(-9, 29, (5, 2))
    mask = chance.random(shape) < chance.choice([0, 0.05, 0.5, 1])
    counts = run_lengths(*np.nonzero(mask), shape)

    for area, expected in (
        (polygon_area(ring, shape), polygon_mask([ring], shape)),
        (run_length_area(counts, shape), mask),
    ):
        drawn = np.zeros(shape, bool)
        drawn[area[0]] = area[1]
        np.testing.assert_array_equal(drawn, expected)


def test_small_objects_of_a_huge_image_take_no_more_than_they_cover():
    huge = (100_000, 100_000)

    assert polygon_area([(5, 5), (9, 5), (9, 9)], huge)[1].shape == (4, 4)
    assert run_length_area([7, 2, 10**10 - 9], huge)[1].shape == (100_000, 1)
