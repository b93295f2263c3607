"""The one dock with tabs in a real window: what it takes of the window, what it remembers, and the first view."""

import numpy as np
import pytest
from qtpy.QtWidgets import QScrollArea

from napari_amvlm._qt.layers.camera import camera_of
from napari_amvlm._qt.main_dock import CANVAS_SHARE, MainDock
from napari_amvlm._qt.widgets.model_list import ModelEntry
from napari_amvlm._qt.widgets.score_table import ScoreEntry
from napari_amvlm._qt.workspace import Workspace
from tests._qt.conftest import TIMEOUT, picture

ARROW = 42
"""Pixels of a list beside its text: its arrow and its margins."""

TABS = ("Annotate", "Learn", "Queue")


@pytest.fixture
def open_dock(make_napari_viewer, qtbot, tiny_checkpoint):
    """Return what opens a window of 1280 x 800 pixels with the dock, its layout settled."""

    def make(image=None):
        viewer = make_napari_viewer(show=True)
        window = viewer.window._qt_window
        window.resize(1280, 800)
        if image is not None:
            viewer.add_image(image, name="slide")
        workspace = Workspace()
        workspace.load_model(tiny_checkpoint)
        dock = MainDock(viewer, workspace)
        viewer.window.add_dock_widget(dock, name="AMVLM", area="right")
        qtbot.waitUntil(lambda: dock._window is not None and not workspace.threads(), timeout=TIMEOUT)
        qtbot.waitUntil(lambda: _share(viewer) >= CANVAS_SHARE, timeout=TIMEOUT)
        return viewer, dock

    return make


def _share(viewer):
    window = viewer.window._qt_window
    return viewer.window._qt_viewer.canvas.native.width() / window.width()


def _covered(viewer, layer):
    """Return how much of the canvas a layer spans, in the direction in which it is largest."""
    extent = layer.extent.world
    return float(np.max((extent[1] - extent[0])[-2:] * camera_of(viewer).zoom / np.asarray(viewer.canvas.size)))


def test_tabs_share_one_workspace_and_fit_without_scrolling_or_resizing_the_window(open_dock, qtbot):
    viewer, dock = open_dock(picture())
    window = viewer.window._qt_window

    assert [dock.tabs.tabText(index) for index in range(3)] == list(TABS)
    assert dock.annotate.workspace is dock.learn.workspace is dock.queue.workspace is dock.workspace
    for tab in TABS:
        dock.show_tab(tab)
        dock.workspace.said.emit("info", "a long message about what has just happened " * 12)
        qtbot.waitUntil(lambda: dock.tabs.currentWidget().isVisible(), timeout=TIMEOUT)

        assert (window.width(), window.height()) == (1280, 800)
        assert _share(viewer) >= CANVAS_SHARE
        dock.workspace.said.emit("info", "Ready.")
        areas = dock.tabs.currentWidget().findChildren(QScrollArea)
        qtbot.waitUntil(lambda areas=areas: not any(a.verticalScrollBar().maximum() for a in areas), timeout=TIMEOUT)
        assert all(area.widget().minimumSizeHint().width() <= area.width() for area in areas)


def test_the_tab_and_the_width_are_remembered(open_dock, qtbot):
    viewer, dock = open_dock(picture())
    viewer.window._qt_window.resize(1500, 800)
    dock.show_tab("Queue")
    from qtpy.QtCore import Qt

    dock._window.resizeDocks([dock._dock()], [420], Qt.Orientation.Horizontal)
    qtbot.waitUntil(lambda: dock.width() > 380, timeout=TIMEOUT)
    width = dock.width()
    viewer.close()

    viewer, dock = open_dock(picture())
    viewer.window._qt_window.resize(1500, 800)

    assert dock.tabs.tabText(dock.tabs.currentIndex()) == "Queue"
    assert dock.width() <= width


def test_an_image_fills_the_canvas_until_the_camera_is_moved(open_dock, qtbot):
    viewer, _ = open_dock(picture())
    qtbot.waitUntil(lambda: 0.9 < _covered(viewer, viewer.layers[0]) < 1, timeout=TIMEOUT)

    viewer.add_image(picture(side=300), name="larger", translate=(500, 500))
    qtbot.waitUntil(lambda: 0.9 < _covered(viewer, viewer.layers[1]) < 1, timeout=TIMEOUT)
    camera_of(viewer).zoom = 0.7
    viewer.window._qt_window.resize(1400, 700)
    qtbot.waitUntil(lambda: viewer.window._qt_window.width() == 1400, timeout=TIMEOUT)

    assert camera_of(viewer).zoom == 0.7


def _scrolls(area):
    return bool(area.verticalScrollBar().maximum())


def test_a_message_scrolls_only_where_four_lines_are_too_few(open_dock, qtbot):
    _, dock = open_dock(picture())
    dock.show_tab("Annotate")
    status = dock.annotate.panel.status
    area = dock.annotate.panel.messages.findChild(QScrollArea)
    for words, scrolls in ((60, True), (12, False), (60, True), (3, False)):
        dock.workspace.said.emit("info", "message " * words)

        qtbot.waitUntil(lambda scrolls=scrolls: _scrolls(area) is scrolls, timeout=TIMEOUT)
    assert status.isVisible()


def test_five_prompts_fit_without_scrolling_and_no_choice_is_cut_off(open_dock, qtbot):
    viewer, dock = open_dock(picture())
    dock.show_tab("Annotate")
    panel = dock.annotate.panel
    dock.workspace.prompts[:] = [f"prompt {number}" for number in range(5)]
    panel.scale.estimate.show()
    dock.annotate.refresh()
    qtbot.waitUntil(lambda: len(panel.prompts.value()) == 5 and panel.scale.estimate.isVisible(), timeout=TIMEOUT)
    scale = panel.scale._scale

    qtbot.waitUntil(lambda: not any(map(_scrolls, dock.annotate.findChildren(QScrollArea))), timeout=TIMEOUT)
    assert scale.width() >= scale.fontMetrics().horizontalAdvance("auto") + ARROW
    assert _share(viewer) >= CANVAS_SHARE


def test_the_end_of_a_run_fits_without_scrolling(open_dock, qtbot):
    _, dock = open_dock(picture())
    dock.show_tab("Learn")
    panel = dock.learn.panel
    entries = [ScoreEntry(n, f"tile-{n}.png", 0.8, 0.9, word) for word in ("nuclei", "pink tissue") for n in range(3)]
    panel.verdict.setText(
        "nuclei-model: about as good on nuclei (-0.009, noise 0.014); better on pink tissue (+0.935, noise 0.017)."
    )
    panel.scores.setValue(entries)
    panel.counts.setText("Accepted 6 images, 3 held out \N{MIDDLE DOT} 3 unlabelled")
    models = ("nuclei-model", "CC BY 4.0"), ("amvlm-open", "CC BY 4.0"), ("amvlm-research", "CC BY-NC-SA 4.0")
    panel.models.setValue([ModelEntry(name, name, licence, 0.8) for name, licence in models])
    for part in (panel.scores, panel.judge_buttons):
        part.show()
    for fraction in (0.0, 0.5, 1.0):
        panel.curve.addDice(fraction, 0.8, {"nuclei": 0.7, "pink tissue": 0.9}, {})
        panel.curve.addLoss(fraction, 0.3)
    panel.status.setValue("info", "a long message " * 40)  # with a scroll bar, lines are shorter
    panel.showCurve()

    area = dock.learn.findChild(QScrollArea)
    qtbot.waitUntil(lambda: panel.verdict.isVisible() and panel.curve.isVisible() and _scrolls(area), timeout=TIMEOUT)
    panel.status.setValue("info", "pink tissue in ebc18868864a: present 1.00, 0.0 s, tiles")
    qtbot.waitUntil(lambda: not _scrolls(area), timeout=TIMEOUT)


def test_a_question_beside_a_comparison_fits_without_scrolling(open_dock, qtbot):
    _, dock = open_dock(picture())
    dock.show_tab("Learn")
    panel = dock.learn.panel
    sentence = "patho-model is not judged on nuclei (2 of 3 corrected held-out images)"
    panel.verdict.setText(f"{sentence}.")
    panel.scores.setValue([ScoreEntry(n, f"tile-{n}.png", 0.8, 0.9, "nuclei", True) for n in range(2)])
    for part in (panel.scores, panel.judge_buttons, panel.swipe):
        part.show()
    panel.question.ask(
        f"{sentence}. Look at its masks before you let it serve.",
        dict.fromkeys(("Serve anyway", "Keep the current model", "Accept more images of nuclei"), print),
    )
    panel.showCurve()

    area = dock.learn.findChild(QScrollArea)
    qtbot.waitUntil(lambda: panel.question.isVisible() and not _scrolls(area), timeout=TIMEOUT)
    panel.question.answer("Keep the current model")
    qtbot.waitUntil(panel.verdict.isVisible, timeout=TIMEOUT)
