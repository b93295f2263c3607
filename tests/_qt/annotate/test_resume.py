"""Coming back to a project: the image, the view, the prompt and the threshold, and masks accepted before."""

from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from napari_amvlm._qt.close_guard import guard_window
from napari_amvlm._qt.layers.camera import camera_of
from napari_amvlm.project import Answer, Project


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "tile.png"
    PIL.Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 64, 3), dtype=np.uint8)).save(path)
    return path


def _open(bench, file):
    bench.viewer.layers.clear()
    bench.viewer.open(file, plugin="napari")


def _work(bench, file, root):
    """Accept a mask in a new project, look closely, and return the mask."""
    _open(bench, file)
    bench.workspace.open_project(root)
    bench.idle()
    bench.run("nuclei")
    bench.annotate.panel.threshold.setValue(0.4)
    bench.idle()
    bench.annotate.accept()
    bench.idle()
    camera = camera_of(bench.viewer)
    camera.center, camera.zoom = (0.0, 12.0, 34.0), 7.5
    return np.asarray(bench.layer().data > 0)


def _come_back(make_bench, root):
    """Return another day's window, with the project open."""
    bench = make_bench()
    bench.viewer.layers.clear()
    bench.workspace.open_project(root)
    bench.idle()
    return bench


def test_another_day_goes_on_where_the_last_one_ended(make_bench, file, tmp_path):
    bench = make_bench()
    mask = _work(bench, file, tmp_path / "p.amvlm")
    bench.workspace.remember_position()
    bench.workspace.shut_down()
    bench.viewer.layers.clear()

    bench = _come_back(make_bench, tmp_path / "p.amvlm")

    camera = camera_of(bench.viewer)
    assert [layer.name for layer in bench.viewer.layers] == ["tile.png", "tile.png \N{MIDDLE DOT} nuclei"]
    np.testing.assert_array_equal(bench.viewer.layers["tile.png \N{MIDDLE DOT} nuclei"].data > 0, mask)
    assert tuple(camera.center)[-2:] == (12.0, 34.0)
    assert camera.zoom == pytest.approx(7.5)
    assert bench.annotate.panel.prompts.current() == "nuclei"
    assert bench.annotate.panel.threshold.value() == pytest.approx(0.4)
    assert bench.annotate.panel.prompts.value()[0].finished


def test_the_view_returns_though_the_image_lies_elsewhere_than_on_the_day_before(make_bench, file, tmp_path):
    bench = make_bench()
    _work(bench, file, tmp_path / "p.amvlm")
    image = bench.viewer.layers["tile"]
    image.translate, image.scale = (200, 300), (2, 2)
    camera_of(bench.viewer).center = (0.0, *image.data_to_world((12, 34)))
    bench.workspace.remember_position()
    bench.workspace.shut_down()
    bench.viewer.layers.clear()

    bench = _come_back(make_bench, tmp_path / "p.amvlm")

    camera = camera_of(bench.viewer)
    assert tuple(camera.center)[-2:] == pytest.approx((12, 34))
    assert camera.zoom == pytest.approx(2 * 7.5)


def test_a_view_beside_the_image_shows_all_of_it_instead(make_bench, file, tmp_path):
    bench = make_bench()
    _work(bench, file, tmp_path / "p.amvlm")
    bench.workspace.store_position(replace(bench.annotate.resume.state(), camera_centre=(0.0, 500.0, 34.0)))
    bench.viewer.layers.clear()
    bench.workspace.shut_down()

    bench = _come_back(make_bench, tmp_path / "p.amvlm")

    assert tuple(camera_of(bench.viewer).center)[-2:] == pytest.approx((39.5, 31.5))


def test_the_place_is_stored_when_the_window_is_closed(make_bench, file, tmp_path):
    bench = make_bench()
    _work(bench, file, tmp_path / "p.amvlm")
    guard_window(bench.annotate, bench.workspace)

    bench.viewer.window._qt_window.close()
    bench.wait(lambda: bench.workspace.project is None)
    # the viewer's own clean-up after the test does not expect a window that was closed by hand
    del bench.viewer.window._qt_window

    with Project.open(tmp_path / "p.amvlm") as project:
        state = project.resume_state()
        assert state is not None
        assert state.image_id == project.images.all()[0].id
        assert state.camera_zoom == pytest.approx(7.5)
        assert (state.prompt, state.threshold) == ("nuclei", pytest.approx(0.4))


def test_a_file_that_is_opened_by_hand_shows_what_was_accepted_on_it(bench, file, tmp_path):
    mask = np.zeros((80, 64), bool)
    mask[10:30, 10:30] = True
    with Project.create(tmp_path / "p.amvlm") as project:
        project.corrections.accept(project.images.add_file(file).id, "nuclei", Answer(mask))
    bench.workspace.open_project(tmp_path / "p.amvlm")
    bench.idle()

    bench.viewer.open(file, plugin="napari")
    bench.idle()

    np.testing.assert_array_equal(bench.viewer.layers["tile \N{MIDDLE DOT} nuclei"].data > 0, mask)
    assert bench.annotate.annotation().accepted["nuclei"].is_whole()
    assert bench.annotate.panel.prompts.value()[0].state == "accepted"


def test_undo_after_coming_back_does_not_take_accepted_masks_away(bench, file, tmp_path):
    with Project.create(tmp_path / "p.amvlm") as project:
        project.corrections.accept(project.images.add_file(file).id, "nuclei", Answer(np.eye(80, 64, dtype=bool)))
    bench.viewer.open(file, plugin="napari")
    bench.workspace.open_project(tmp_path / "p.amvlm")
    bench.idle()

    bench.annotate.undo()

    assert bench.layer().data.any()


def test_a_lost_mask_is_told_of_and_the_rest_is_shown(bench, file, tmp_path):
    with Project.create(tmp_path / "p.amvlm") as project:
        image = project.images.add_file(file)
        lost = project.corrections.accept(image.id, "nuclei", Answer(np.eye(80, 64, dtype=bool)))
        project.corrections.accept(image.id, "stroma", Answer(np.ones((80, 64), bool)))
        (project.root / lost.mask_file).unlink()
    bench.viewer.open(file, plugin="napari")
    bench.workspace.open_project(tmp_path / "p.amvlm")
    bench.idle()

    assert list(bench.annotate.annotation().accepted) == ["stroma"]
    assert bench.annotate.panel.status.value()[0] == "warning"


def test_another_project_takes_nothing_over(bench, file, tmp_path):
    _work(bench, file, tmp_path / "p.amvlm")

    bench.workspace.open_project(tmp_path / "other.amvlm")
    bench.idle()
    left = list(bench.viewer.layers)
    _open(bench, file)
    bench.idle()

    annotation = bench.annotate.annotation()
    assert left == []
    assert annotation.accepted == {}
    assert annotation.finished == set()
    assert bench.workspace.view.counts.images == 0
