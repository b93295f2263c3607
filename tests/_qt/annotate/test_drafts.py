"""Drafts: work that was painted and not accepted is kept, and is there on return; and Ctrl+Z past an Accept."""

import numpy as np
import PIL.Image
import pytest
from qtpy.QtCore import Qt

from napari_amvlm._qt.close_guard import guard_window
from napari_amvlm._qt.queue.add_images import ImageAdder
from napari_amvlm.project import Project
from tests._qt.conftest import picture

BOX = (slice(10, 20), slice(30, 50))


@pytest.fixture
def project_bench(bench, tmp_path):
    """Return a bench with a project of two images, the first of which is shown, with a mask."""
    return _fill(bench, tmp_path)


def _fill(bench, tmp_path):
    bench.viewer.layers.clear()
    files = [tmp_path / f"tile-{seed}.png" for seed in range(2)]
    for seed, file in enumerate(files):
        PIL.Image.fromarray(picture(seed, 64)).save(file)
    bench.workspace.open_project(tmp_path / "p.amvlm")
    bench.idle()
    ImageAdder(bench.viewer, bench.workspace).add_files(files)
    bench.idle()
    bench.annotate.next_item()
    bench.idle()
    bench.run("nuclei")
    return bench


def _paint(bench):
    """Paint and erase, and return the mask."""
    layer = bench.layer()
    rows, columns = (part.ravel() for part in np.mgrid[BOX])
    layer.data_setitem((rows, columns), 1)
    layer.data_setitem((rows + 30, columns), 0)
    bench.idle()
    return np.array(layer.data > 0)


def _stored(bench):
    corrections = bench.workspace.project.corrections
    return [corrections.mask(correction) for correction in corrections.select()]


def _leave(bench, how):
    if how == "next image":
        bench.annotate.next_item()
    elif how == "image removed":
        bench.viewer.layers.remove(bench.annotate.annotation().image)
    elif how == "mask removed":
        bench.viewer.layers.remove(bench.layer())
    else:
        other = bench.workspace.project.root.with_name("other.amvlm")
        bench.annotate.panel.project.chosen.emit(other)
    bench.idle()


@pytest.mark.parametrize("how", ["next image", "image removed", "mask removed", "another project"])
def test_a_draft_is_kept_and_shown_on_return(project_bench, how):
    bench = project_bench
    image_id, root = bench.annotate.annotation().image_id, bench.workspace.project.root
    proposed = bench.annotate.annotation().proposed("nuclei")
    painted = _paint(bench)

    _leave(bench, how)
    if how == "another project":
        bench.workspace.open_project(root)
        bench.idle()
    [draft] = bench.workspace.project.drafts.all()
    bench.viewer.layers.clear()
    bench.annotate.queue.open_image(image_id)
    bench.idle()

    assert (draft.image_id, draft.prompt) == (image_id, "nuclei")
    np.testing.assert_array_equal(bench.annotate.annotation().mask("nuclei"), painted)
    assert bench.annotate.panel.prompts.value()[0].state == "draft"
    assert "draft" in bench.annotate.panel.chosen.text()
    bench.annotate.accept()
    bench.idle()
    np.testing.assert_array_equal(_stored(bench)[0], painted)
    [correction] = bench.workspace.project.corrections.select()
    np.testing.assert_array_equal(bench.workspace.project.corrections.before(correction), proposed)
    assert bench.workspace.project.drafts.all() == []


def test_a_polygon_that_is_not_finished_stays_until_its_project_is_left_and_is_in_the_draft_then(project_bench):
    bench, layer = project_bench, project_bench.layer()
    root = bench.workspace.project.root
    layer.mode = "polygon"
    layer._overlays["polygon"].points = [(10, 30), (10, 49), (19, 49), (19, 30), (60, 60)]  # the last is the pointer
    _leave(bench, "next image")
    waiting = layer.is_drawing(), bench.workspace.project.drafts.all()

    _leave(bench, "another project")
    bench.workspace.open_project(root)
    bench.idle()

    assert waiting == (True, [])
    [draft] = bench.workspace.project.drafts.all()
    mask = bench.workspace.project.drafts.load(draft).mask
    assert mask[BOX].all()
    assert not mask[50:, 50:].all()


def test_closing_keeps_a_draft_without_a_question(make_bench, tmp_path):
    bench = _fill(make_bench(), tmp_path)
    painted, root = _paint(bench), bench.workspace.project.root
    guard_window(bench.annotate, bench.workspace)

    bench.viewer.window._qt_window.close()
    bench.wait(lambda: bench.workspace.project is None)
    del bench.viewer.window._qt_window  # closed by hand, which the viewer's clean-up does not expect

    with Project.open(root) as project:
        [draft] = project.drafts.all()
        np.testing.assert_array_equal(project.drafts.load(draft).mask, painted)


def test_without_a_project_one_is_made_only_when_work_would_be_lost(bench):
    bench.run("nuclei")
    painted, image = _paint(bench), bench.annotate.annotation().image
    bench.viewer.add_image(picture(1, 64), name="other")
    bench.idle()
    while_shown = bench.workspace.project

    bench.viewer.layers.remove(image)
    bench.idle()

    assert while_shown is None
    [draft] = bench.workspace.project.drafts.all()
    np.testing.assert_array_equal(bench.workspace.project.drafts.load(draft).mask, painted)


def test_what_was_accepted_or_taken_back_leaves_no_draft(project_bench):
    bench = project_bench
    _paint(bench)
    bench.annotate.drafts.keep(bench.annotate.annotation())
    bench.idle()
    kept = len(bench.workspace.project.drafts.all())

    for _ in range(2):
        bench.annotate.undo()
    bench.annotate.drafts.keep(bench.annotate.annotation())
    bench.idle()

    assert (kept, bench.workspace.project.drafts.all()) == (1, [])


def test_ctrl_z_takes_an_accept_back_in_the_project_and_redo_accepts_again(project_bench):
    bench = project_bench
    painted = _paint(bench)
    bench.annotate.accept()
    bench.idle()

    bench.annotate.undo()
    bench.idle()
    after_undo, shown = _stored(bench), bench.annotate.annotation().mask("nuclei")
    state = bench.annotate.panel.chosen.text()
    bench.annotate.redo()
    bench.idle()

    assert after_undo == []
    assert "accepted" not in state
    np.testing.assert_array_equal(shown, painted)
    np.testing.assert_array_equal(_stored(bench)[0], painted)


def test_an_undone_accept_brings_the_one_before_back_and_restore_shows_it(project_bench):
    bench = project_bench
    bench.annotate.accept()
    bench.idle()
    [first] = _stored(bench)
    painted = _paint(bench)
    before_second = bench.annotate.panel.restore_button.isEnabled()
    bench.annotate.accept()
    bench.idle()

    bench.annotate.undo()
    bench.idle()
    differs = bench.annotate.panel.chosen.text()
    bench.annotate.panel.restore_button.click()

    np.testing.assert_array_equal(_stored(bench)[0], first)
    np.testing.assert_array_equal(bench.annotate.annotation().mask("nuclei"), first)
    assert before_second
    assert "differs from the project" in differs
    bench.annotate.undo()
    np.testing.assert_array_equal(bench.annotate.annotation().mask("nuclei"), painted)


def test_ctrl_z_takes_a_reject_back_in_the_project_too(project_bench):
    bench = project_bench
    painted = _paint(bench)
    bench.annotate.accept()
    bench.idle()
    bench.annotate.reject()
    bench.confirm()
    rejected = _stored(bench), bench.annotate.annotation().mask("nuclei").any()

    bench.layer().undo()
    bench.idle()

    assert rejected == ([], False)
    np.testing.assert_array_equal(_stored(bench)[0], painted)
    np.testing.assert_array_equal(bench.annotate.annotation().mask("nuclei"), painted)
    assert bench.annotate.panel.prompts.value()[0].finished


def test_an_empty_accept_and_a_reject_of_what_is_accepted_ask_until_told_not_to(project_bench):
    bench = project_bench
    bench.layer().data[:] = 0
    bench.annotate.accept()
    question, asked = bench.annotate.panel.confirm.text(), _stored(bench)
    bench.annotate.panel.confirm.no.click()
    bench.idle()
    refused = _stored(bench)

    bench.annotate.accept()
    bench.annotate.panel.confirm.quiet.setChecked(True)
    bench.confirm()
    bench.annotate.accept()
    bench.idle()

    assert "is empty" in question
    assert (asked, refused) == ([], [])
    assert len(bench.workspace.project.corrections.select(history=True)) == 2


def test_after_enter_the_field_is_empty_and_the_canvas_has_the_keys(make_bench, tmp_path):
    bench = _fill(make_bench(show=True), tmp_path)
    window, line = bench.viewer.window._qt_window, bench.annotate.panel.prompt.lineEdit()
    window.activateWindow()
    bench.wait(window.isActiveWindow)
    line.setFocus()
    bench.qtbot.keyClicks(line, "an")
    typed = _stored(bench), bench.annotate.panel.prompt.value()
    line.clear()

    bench.qtbot.keyClicks(line, "left lung")
    bench.qtbot.keyClick(line, Qt.Key.Key_Return)
    bench.ran("left lung")
    canvas = bench.viewer.window._qt_viewer.canvas.native
    left = bench.annotate.panel.prompt.value(), canvas.hasFocus()
    bench.qtbot.keyClick(canvas, Qt.Key.Key_A)
    bench.idle()
    if bench.annotate.panel.confirm.text():
        bench.confirm()

    assert typed == ([], "an")
    assert left == ("", True)
    assert [c.prompt for c in bench.workspace.project.corrections.select()] == ["left lung"]
    assert len(bench.workspace.project.corrections.select(history=True)) == 1


def test_a_prompt_that_is_entered_while_another_runs_is_not_lost(project_bench):
    bench = project_bench
    bench.annotate.panel.prompt.setValue("gland")
    bench.annotate.run()
    bench.annotate.panel.prompt.setValue("stroma")

    bench.annotate.run()
    bench.idle()

    assert [entry.presence is not None for entry in bench.annotate.panel.prompts.value()] == [True, True, True]


def test_the_threshold_of_a_finished_prompt_says_why_nothing_changes(project_bench):
    bench = project_bench
    _paint(bench)
    bench.annotate.accept()
    bench.idle()
    before = bench.annotate.annotation().threshold("nuclei")

    bench.annotate.panel.threshold.setValue(0.9)
    bench.idle()

    assert "nuclei is marked finished, so it was not changed" in bench.status()
    assert bench.annotate.panel.threshold.value() == pytest.approx(before)


def test_buttons_stay_where_they_are_when_a_message_or_a_question_comes(make_bench):
    bench = make_bench(show=True)
    bench.run("nuclei")
    panel = bench.annotate.panel
    buttons = [panel.accept_button, panel.step.next, panel.run_button]
    places = [button.mapToGlobal(button.rect().topLeft()) for button in buttons]

    bench.annotate.say("error", "a long sentence " * 20)
    panel.confirm.ask("kind", "another long sentence " * 10, "Yes", lambda: None)
    bench.qtbot.waitUntil(panel.confirm.isVisible)

    assert [button.mapToGlobal(button.rect().topLeft()) for button in buttons] == places


def test_a_message_of_another_image_does_not_stay(project_bench):
    bench = project_bench
    before = bench.status()

    bench.annotate.next_item()
    bench.idle()

    assert "tile-0" in before
    assert "tile-0" not in bench.status()
