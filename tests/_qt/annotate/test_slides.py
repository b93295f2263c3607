"""Slides in the Annotate dock: what is in view first, then the rest, with cancel, resume, threshold and regions."""

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_amvlm._qt.annotate import slides as large_work
from napari_amvlm._qt.layers.camera import camera_of
from napari_amvlm._qt.layers.image import CUT_FROM
from napari_amvlm._qt.widgets.extent_choice import Extent
from napari_amvlm.slides.store import DONE, TODO

SIDE = 3000
TISSUE = (slice(620, 1420), slice(700, 1400))


def _pyramid():
    """Return a slide of glass with one piece of tissue, with levels."""
    rng = np.random.default_rng(0)
    image = np.full((SIDE, SIDE, 3), 240, np.uint8)
    coarse = rng.integers(40, 200, (30, 24, 3)).repeat(30, axis=0).repeat(30, axis=1)
    noisy = coarse + rng.integers(-40, 40, coarse.shape)
    image[TISSUE] = np.clip(noisy, 0, 255).astype(np.uint8)[:800, :700]
    return [image, image[::2, ::2], image[::4, ::4], image[::8, ::8]]


@pytest.fixture
def slide(make_bench):
    """Return a bench with a slide, of which rows 1024 to 1536 and columns 1024 to 1536 are in view."""
    bench = make_bench(_pyramid(), multiscale=True)
    _look(bench, 1280, 1280, 300)
    return bench


def _look(bench, row, column, side):
    camera = camera_of(bench.viewer)
    camera.center = (0, row, column)
    camera.zoom = max(bench.viewer.canvas.size) / side
    bench.idle()


def _states(bench):
    return bench.annotate.annotation().shown_prompt("nuclei").store.states


def _levels(bench):
    return bench.workspace.annotation(bench.viewer.layers["slide"]).layers["nuclei"].data


def _find_all(bench):
    bench.annotate.panel.extent.setValue(Extent("all"))
    bench.run("nuclei")


def test_what_is_in_view_is_masked_and_nothing_else(slide):
    slide.run("nuclei")

    annotation = slide.annotate.annotation()
    stored = annotation.shown_prompt("nuclei").store.probability[0, 1024:1500, 1024:1400]
    assert np.argwhere(_states(slide) != TODO).tolist() == [[2, 2]]
    np.testing.assert_array_equal(_levels(slide)[0][1024:1500, 1024:1400] == 1, stored >= 128)
    assert stored.any()
    assert slide.annotate.panel.prompts.value()[0].presence == pytest.approx(annotation.presence("nuclei"))
    assert slide.status() == "What was in view is done: nuclei."


def test_a_part_of_a_whole_image_is_refused_before_anything_is_drawn(slide):
    model = slide.workspace.predictor.model
    model.config = model.config.model_copy(update={"structure": True})

    slide.run("largest nucleus")

    assert slide.status().startswith("Largest nucleus is a part of a whole image, and tiles of a slide")
    assert "largest nucleus" not in slide.annotate.annotation().prompts()


def test_the_view_comes_before_the_rest_of_the_slide(slide):
    found = []
    slide.annotate.prompts.found.connect(lambda _asked, piece: found.append(piece.index))

    _find_all(slide)

    assert found[0] == (2, 2)
    assert sorted(found) == [(row, column) for row in (1, 2) for column in (1, 2)]
    assert (_states(slide) != TODO).all()


def test_cancel_keeps_what_is_done_and_run_goes_on_with_the_rest(slide):
    runs = slide.annotate.prompts
    stop = runs.found.connect(lambda _asked, _piece: slide.annotate.panel.progress.cancelled.emit())
    _find_all(slide)
    kept, said = int((_states(slide) == DONE).sum()), slide.status()
    shown = _levels(slide)[0][1024:1500, 1024:1400].copy()
    runs.found.disconnect(stop)

    words = slide.hear_progress()
    _find_all(slide)

    assert 1 <= kept < 4
    assert said.startswith("Cancelled; ")
    assert said.endswith("blocks are done and kept. Run goes on with the rest.")
    total, done = int(said.split(" of ")[1].split()[0]), int(said.split()[1])
    assert words[0].startswith("needs about")
    assert words[-1] == f"nuclei: block {total - done} of {total - done}"
    assert (_states(slide) != TODO).all()
    np.testing.assert_array_equal(_levels(slide)[0][1024:1500, 1024:1400], shown)


def test_the_layer_lies_on_the_slide_and_fills_up_without_being_made_anew(slide):
    image = slide.viewer.layers["slide"]
    image.scale, image.translate = (0.25, 0.25), (10, 20)
    _look(slide, 10 + 320, 20 + 320, 75)
    slide.run("nuclei")
    first = slide.viewer.layers["slide \N{MIDDLE DOT} nuclei"]

    _find_all(slide)

    assert slide.viewer.layers["slide \N{MIDDLE DOT} nuclei"] is first
    assert first.multiscale
    np.testing.assert_allclose(first.data_to_world((7, 9)), image.data_to_world((7, 9)))
    assert [level.shape for level in first.data] == [(3000, 3000), (1500, 1500), (750, 750)]
    np.testing.assert_array_equal(first.data[1][300:750, 350:700], first.data[0][600:1500:2, 700:1400:2])


def test_the_threshold_works_on_a_slide_without_the_model(slide):
    slide.run("nuclei")
    stored = slide.annotate.annotation().shown_prompt("nuclei").store.probability[0, 1024:1500, 1024:1400]
    slide.workspace.predictor = None
    middle = float(np.median(stored)) / 255

    slide.annotate.panel.threshold.setValue(middle)
    slide.idle()

    least = np.ceil(slide.annotate.panel.threshold.value() * 255)
    shown = _levels(slide)[0][1024:1500, 1024:1400] == 1
    np.testing.assert_array_equal(shown, stored >= least)
    assert 0 < shown.mean() < 1


def test_a_second_prompt_is_a_second_value_and_the_first_is_not_done_again(slide):
    slide.run("nuclei")
    words = slide.hear_progress()

    slide.run("cell nuclei")

    assert [layer.name for layer in slide.viewer.layers][1:] == [
        f"slide \N{MIDDLE DOT} {prompt}" for prompt in ("nuclei", "cell nuclei")
    ]
    assert not any(text.startswith("nuclei:") for text in words)
    assert any(text.startswith("cell nuclei: block 1 of 1") for text in words)


def test_anatomy_is_looked_at_whole(slide):
    slide.annotate.panel.extent.setValue(Extent("all"))

    slide.run("left lung")

    store = slide.annotate.annotation().shown_prompt("left lung").store
    assert store.request.scale == "whole"
    assert (store.states == DONE).all()
    assert slide.annotate.annotation().presence("left lung") > 0


def test_results_lie_in_the_project_and_another_day_goes_on_with_them(slide, tmp_path):
    slide.workspace.open_project(tmp_path / "p.amvlm")
    slide.idle()
    slide.run("nuclei")
    before = slide.annotate.annotation().shown_prompt("nuclei").store.path
    slide.viewer.layers.clear()
    slide.viewer.add_image(_pyramid(), name="slide", multiscale=True)
    _look(slide, 1280, 1280, 300)

    slide.annotate.panel.extent.setValue(Extent("all"))
    slide.run("nuclei; cell nuclei")

    annotation = slide.annotate.annotation()
    assert before.parent == tmp_path / "p.amvlm" / "slides"
    assert annotation.shown_prompt("nuclei").store.path == before
    assert annotation.shown_prompt("cell nuclei").store.path != before
    assert (annotation.shown_prompt("nuclei").store.states != TODO).all()


def test_a_region_is_corrected_and_accepted_as_an_image_of_its_own(slide):
    slide.run("nuclei")
    slide.annotate.accept()
    said = slide.status()
    _look(slide, 1200, 1200, 100)

    slide.annotate.accept_region()
    slide.idle()
    region = slide.annotate.annotation()
    place = region.image.metadata[CUT_FROM]
    top, left = place.y, place.x
    proposed = region.plane("nuclei").copy()
    region.layer("nuclei").data_setitem((np.array([0, 0]), np.array([0, 1])), 1 - int(proposed[0, 0] > 0))
    corrected = region.mask("nuclei")
    slide.annotate.accept()
    slide.idle()

    height, width = proposed.shape
    [correction] = slide.workspace.project.corrections.select()
    record = slide.workspace.project.images.get(correction.image_id)
    rows, columns = slice(top, top + height), slice(left, left + width)
    assert "press Region" in said
    assert record.name == f"slide x{left} y{top}"
    np.testing.assert_array_equal(
        slide.workspace.project.images.load(record), slide.viewer.layers["slide"].data[0][rows, columns]
    )
    np.testing.assert_array_equal(proposed > 0, _levels(slide)[0][rows, columns] > 0)
    np.testing.assert_array_equal(slide.workspace.project.corrections.mask(correction), corrected)
    np.testing.assert_allclose(region.image.data_to_world((0, 0)), (top, left))


def test_a_prompt_that_is_not_done_on_all_of_a_region_is_not_taken_over_as_background(slide):
    slide.run("nuclei")
    _look(slide, 1100, 1000, 200)  # a block that was not in view lies to the left

    slide.annotate.accept_region()
    slide.idle()
    before, said = slide.annotate.annotation().prompts(), slide.status()
    slide.annotate.run()
    slide.idle()

    assert before == []
    assert said.endswith("is open, and the slide is not done there for nuclei: press Run.")
    assert slide.annotate.annotation().prompts() == ["nuclei"]


@pytest.mark.slow
def test_regions_that_overlap_are_learnt_from_together(slide):
    for row, column in ((1100, 1000), (1100, 1200), (1300, 1000), (1100, 1050)):
        slide.viewer.layers.selection.active = slide.viewer.layers["slide"]
        _look(slide, row, column, 100)
        slide.run("nuclei")
        slide.annotate.accept_region()
        slide.idle()
        slide.annotate.accept()
        slide.idle()

    project = slide.workspace.project
    assert len(project.images.accepted()) == 4
    assert project.images.held_out() == []  # the fourth is the one that would be drawn


def test_the_view_beside_the_slide_and_a_region_that_is_too_large_are_told_of(slide, monkeypatch):
    monkeypatch.setattr(large_work, "LARGEST_REGION", 2048)
    _look(slide, -5000, -5000, 300)
    slide.run("nuclei")
    beside = slide.status()
    _look(slide, 1280, 1280, 300)
    slide.run("nuclei")
    slide.viewer.add_shapes([np.array([[0, 0], [0, 2999], [2999, 2999], [2999, 0]])], scale=(2, 2), name="around")

    slide.annotate.accept_region()
    slide.idle()

    assert beside == "Nothing of slide 'slide' is in view; move it into view, or choose the whole slide."
    assert "The region (the drawn shapes) has 3000 x 3000 pixels, and at most 2048 x 2048" in slide.status()


def test_objects_and_what_was_reviewed_are_left_alone_on_a_slide(slide):
    slide.run("nuclei")

    slide.annotate.toggle_reviewed()
    slide.annotate.toggle_uncertainty()
    slide.annotate.objects.merge()
    slide.idle()
    slide.annotate.reject()
    slide.idle()

    assert [layer.name for layer in slide.viewer.layers] == ["slide", "slide \N{MIDDLE DOT} nuclei"]
    assert not _levels(slide)[0][1024:1536, 1024:1536].any()


@pytest.mark.parametrize("kind", ["dask", "zarr", "gray16"])
def test_lazy_and_gray_levels_are_read_where_they_are_looked_at(make_bench, tmp_path, kind):
    levels = _pyramid()
    if kind == "gray16":
        levels = [level[..., 0].astype(np.uint16) * 100 for level in levels]
    if kind == "zarr":
        arrays = []
        for index, level in enumerate(levels):
            stored = zarr.create_array(tmp_path / f"{index}.zarr", shape=level.shape, chunks=(256, 256, 3), dtype="u1")
            stored[:] = level
            arrays.append(stored)
        levels = arrays
    else:
        levels = [da.from_array(level, chunks=(256, 256, *level.shape[2:])) for level in levels]
    bench = make_bench(levels, multiscale=True, rgb=kind != "gray16")
    _look(bench, 1280, 1280, 300)

    bench.run("nuclei")

    assert np.argwhere(_states(bench) == DONE).tolist() == [[2, 2]]
    assert _levels(bench)[0].shape == (SIDE, SIDE)


def test_strokes_spread_in_a_region_and_not_on_the_slide_itself(slide):
    slide.run("nuclei")
    slide.annotate.toggle_spread()
    on_slide = slide.status()
    _look(slide, 1200, 1200, 100)
    slide.annotate.accept_region()
    slide.idle()
    region = slide.annotate.annotation()
    layer, before = region.layer("nuclei"), region.mask("nuclei").copy()

    row, column = np.argwhere(~before)[0]
    layer.brush_size = 5
    layer.paint((row, column), 1)
    slide.idle()
    painted = region.mask("nuclei").copy()
    slide.annotate.undo()
    slide.idle()

    assert "corrected and accepted region by region" in on_slide
    assert painted[row, column]
    assert np.array_equal(region.mask("nuclei"), before)
