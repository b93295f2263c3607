"""Regions that were cut out of slides: those that share pixels are held out together."""

import contextlib
import sqlite3

import numpy as np
import pytest
from tifffile import imwrite

from napari_amvlm.errors import ProjectError
from napari_amvlm.imaging import slide_key
from napari_amvlm.project import Answer, SlidePlace

SIDE = 40


@pytest.fixture
def slide():
    return np.random.default_rng(5).integers(0, 256, (1100, 1000, 3), np.uint8)


class Regions:
    """Cuts regions out of a slide and accepts masks on them."""

    def __init__(self, project, slide):
        self.project, self.slide, self.key = project, slide, slide_key(slide)

    def add(self, y, x):
        pixels = self.slide[y : y + SIDE, x : x + SIDE]
        return self.project.images.add_array(pixels, name=f"x{x} y{y}", cut_from=SlidePlace(self.key, y, x)).id

    def accept(self, y, x, prompt="nuclei"):
        image_id = self.add(y, x)
        self.project.corrections.accept(image_id, prompt, Answer(np.ones((SIDE, SIDE), np.bool_)))
        return image_id


@pytest.fixture
def regions(project, slide):
    return Regions(project, slide)


def _held_out(project):
    return [record.name for record in project.images.held_out()]


def _unlabelled(project):
    return [record.name for record in project.images.unlabelled()]


def test_regions_that_do_not_touch_are_drawn_one_by_one(project, regions):
    for number in range(8):
        regions.accept(0, number * SIDE)

    assert _held_out(project) == ["x120 y0", "x280 y0"]


@pytest.mark.parametrize(("y", "x"), [(0, 3 * SIDE - 1), (SIDE - 1, 3 * SIDE), (SIDE - 1, 4 * SIDE - 1)])
def test_a_region_that_overlaps_a_held_out_one_is_held_out(project, regions, y, x):
    for number in (0, 1, 1.99):  # the third reaches into the second
        regions.accept(300, int(number * SIDE))
    regions.accept(0, 3 * SIDE)
    assert _held_out(project) == ["x120 y0"]

    regions.accept(y, x)

    assert _held_out(project) == ["x120 y0", f"x{x} y{y}"]


def test_a_region_that_overlaps_one_that_is_learnt_from_is_learnt_from(project, regions):
    for number in range(3):
        regions.accept(0, number * SIDE)

    regions.accept(SIDE // 2, SIDE)  # the fourth, which would be held out
    assert _held_out(project) == []

    regions.accept(500, 0)
    assert _held_out(project) == ["x0 y500"]


def test_where_both_overlap_it_scores(project, regions):
    for number in range(4):
        regions.accept(0, number * SIDE)

    regions.accept(0, 2 * SIDE + SIDE // 2)

    assert _held_out(project) == ["x120 y0", "x100 y0"]


def test_a_further_prompt_holds_out_no_region_that_is_learnt_from_beside(project, regions):
    for number in range(4):
        regions.accept(0, number * SIDE)
    regions.accept(SIDE // 2, 0)

    for number in range(3):
        regions.accept(0, number * SIDE, "gland")
    regions.accept(SIDE // 2, 0, "gland")

    assert _held_out(project) == ["x120 y0"]


def test_undo_leaves_a_region_held_out_that_overlaps_one_that_is(project, regions):
    for number in range(4):
        regions.accept(0, number * SIDE)
    for number in (1, 2, 3):
        regions.accept(500, number * SIDE, "gland")
    region = regions.accept(0, 0, "gland")
    assert _held_out(project) == ["x0 y0", "x120 y0"]
    regions.accept(SIDE // 2, 0)

    project.corrections.undo(region, "gland")

    assert _held_out(project) == ["x0 y0", "x120 y0", "x0 y20"]


def test_the_slide_itself_and_regions_around_are_not_seen_unlabelled(project, regions, tmp_path):
    imwrite(tmp_path / "slide.tif", regions.slide, photometric="rgb")
    imwrite(tmp_path / "other.tif", regions.slide[::-1], photometric="rgb")
    for name in ("slide.tif", "other.tif"):
        project.images.add_file(tmp_path / name)
    regions.add(SIDE // 2, 3 * SIDE)
    far = regions.add(700, 700)
    assert _unlabelled(project) == ["slide.tif", "other.tif", "x120 y20", "x700 y700"]

    for number in range(4):
        regions.accept(0, number * SIDE)

    assert _unlabelled(project) == ["other.tif", "x700 y700"]
    assert project.images.counts().unlabelled == 2
    project.runs.start({}, unlabelled=[far])


@pytest.mark.parametrize("name", ["slide.tif", "x120 y20"])
def test_a_run_that_would_see_pixels_of_a_held_out_region_is_refused(project, regions, tmp_path, name):
    imwrite(tmp_path / "slide.tif", regions.slide, photometric="rgb")
    project.images.add_file(tmp_path / "slide.tif")
    regions.add(SIDE // 2, 3 * SIDE)
    for number in range(4):
        regions.accept(0, number * SIDE)
    (image_id,) = [record.id for record in project.images.all() if record.name == name]

    with pytest.raises(ProjectError, match=f"{name} scores models"):
        project.runs.start({}, unlabelled=[image_id])


def test_images_that_were_added_before_get_their_place(project, regions, tmp_path):
    imwrite(tmp_path / "slide.tif", regions.slide, photometric="rgb")
    project.images.add_file(tmp_path / "slide.tif")
    for number in range(4):
        regions.accept(0, number * SIDE)
    regions.add(SIDE // 2, 3 * SIDE)
    with contextlib.closing(sqlite3.connect(project.root / "project.sqlite")) as connection:
        connection.execute("UPDATE images SET slide = NULL, slide_y = NULL, slide_x = NULL")
        connection.commit()
    assert _unlabelled(project) == ["slide.tif", "x120 y20"]  # as a project of an earlier version says

    project.images.add_file(tmp_path / "slide.tif")
    regions.add(0, 3 * SIDE)
    regions.add(SIDE // 2, 3 * SIDE)

    assert _unlabelled(project) == []


def test_a_person_may_decide_otherwise(project, regions):
    for number in range(4):
        regions.accept(0, number * SIDE)
    region = regions.add(SIDE // 2, 3 * SIDE)
    project.images.set_held_out(region, False)

    regions.accept(SIDE // 2, 3 * SIDE)

    assert _held_out(project) == ["x120 y0"]


def test_regions_of_other_slides_do_not_matter(project, regions):
    other = Regions(project, regions.slide[::-1])
    for number in range(4):
        regions.accept(0, number * SIDE)

    other.accept(0, 3 * SIDE)

    assert _held_out(project) == ["x120 y0"]
