"""The panels as a whole: the way that Tab takes, names for a screen reader, and nothing cut off at 320 pixels."""

import itertools

import pytest
from napari._qt.qt_resources import get_stylesheet
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QPushButton,
    QWidget,
)
from superqt import QCollapsible

from napari_amvlm._qt.annotate.panel import AnnotatePanel
from napari_amvlm._qt.layout import NumberBox, ScrollColumn
from napari_amvlm._qt.learn.panel import LearnPanel
from napari_amvlm._qt.queue.panel import QueuePanel
from napari_amvlm._qt.widgets.prompt_list import PromptEntry
from napari_amvlm._qt.widgets.queue_list import QueueEntry
from napari_amvlm._qt.widgets.score_table import ScoreEntry

LONG = "a_word_without_any_blank_" * 20


@pytest.mark.parametrize("panel", [AnnotatePanel, LearnPanel, QueuePanel])
def test_tab_goes_through_a_panel_from_top_to_bottom(qtbot, panel):
    widget = panel()
    qtbot.addWidget(widget)
    widget.resize(320, 1400)
    widget.show()
    qtbot.waitExposed(widget)
    chain = [widget.nextInFocusChain()]
    while chain[-1] is not widget:
        chain.append(chain[-1].nextInFocusChain())
    stops = [p for p in chain if widget.isAncestorOf(p) and p.isVisible() and p.focusPolicy() & Qt.FocusPolicy.TabFocus]
    places = [stop.mapTo(widget, stop.rect().topLeft()).y() for stop in stops]

    # widgets of one row differ by a few pixels in height
    assert len(places) > 5
    assert all(after >= before - 12 for before, after in itertools.pairwise(places))


@pytest.mark.parametrize("panel", [AnnotatePanel, LearnPanel, QueuePanel])
def test_everything_that_takes_the_focus_has_a_name_for_a_screen_reader(qtbot, panel):
    widget = panel()
    qtbot.addWidget(widget)
    _show_all(widget)

    kinds = (QAbstractButton, QComboBox, QAbstractSpinBox, QAbstractSlider, QAbstractItemView)
    silent = [
        part
        for part in widget.findChildren(QWidget)
        if isinstance(part, kinds)
        and part.focusPolicy() & Qt.FocusPolicy.TabFocus
        and part.isVisibleTo(widget)
        and not part.accessibleName()
        and not (isinstance(part, QAbstractButton) and part.text())
    ]

    assert silent == []


def _show_all(panel):
    """Show the parts of a panel that are hidden until there is something in them."""
    for part in panel.findChildren(QWidget):
        if type(part).__module__.startswith("napari_amvlm") and part.isHidden():
            part.show()


@pytest.mark.parametrize("theme", [None, "dark", "light"])
@pytest.mark.parametrize("panel", [AnnotatePanel, LearnPanel])
def test_nothing_is_cut_off_in_a_dock_of_320_pixels(qtbot, panel, theme):
    widget = panel()
    qtbot.addWidget(widget)
    _show_all(widget)
    if theme is not None:
        widget.setStyleSheet(get_stylesheet(theme))
    for part in widget.findChildren(QCollapsible):
        part.expand(animate=False)
    if isinstance(widget, AnnotatePanel):
        widget.prompts.setValue([PromptEntry("a prompt that is very much longer than the dock is wide " * 3, 1)])
        widget.status.setValue("error", LONG)
        widget.image.addItem("an image whose name is long " * 10)
        widget.step.setValue(LONG)
    else:
        widget.compare_progress.setProgress(0.5, LONG)
        widget.swipe.setPrompts(["a prompt that is long " * 9, "another"], "another")
        widget.swipe.setCaption("an_image_without_any_blank_" * 9)
        widget.question.ask("a question " * 30, {"Serve anyway": int, "Accept more images of a long prompt": int})
    widget.progress.setProgress(0.5, LONG)
    widget.resize(320, 700)
    widget.show()
    qtbot.waitExposed(widget)

    body = widget.layout().itemAt(0).widget()

    assert body.widget().minimumSizeHint().width() <= 320 - body.verticalScrollBar().sizeHint().width()


@pytest.mark.parametrize("points", [9, 20])
@pytest.mark.parametrize("panel", [AnnotatePanel, LearnPanel, QueuePanel])
def test_a_large_font_widens_the_dock_instead_of_cutting_it_off(qtbot, panel, points):
    widget = panel()
    qtbot.addWidget(widget)
    widget.setStyleSheet(get_stylesheet("dark", extra_variables={"font_size": f"{points}pt"}))
    widget.resize(280, 700)
    widget.show()

    qtbot.waitUntil(lambda: (widget.width() > 300) is (points == 20))
    for area in widget.findChildren(ScrollColumn):
        assert area.widget().minimumSizeHint().width() <= area.viewport().width()
    for box in widget.findChildren(NumberBox):
        assert box.fontMetrics().horizontalAdvance(box.text()) < box.lineEdit().width()


@pytest.mark.parametrize("beside", ["curve", "question", "comparison"])
def test_a_judged_run_fits_into_the_learn_tab_of_a_window_of_1280_by_800(qtbot, beside):
    panel = LearnPanel()
    qtbot.addWidget(panel)
    panel.setStyleSheet(get_stylesheet("dark"))
    panel.counts.setText("Accepted 9 images, 3 held out, 2 unlabelled")
    panel.status.setValue("info", "nuclei-3 serves now: nuclei about as good, pink tissue better.")
    panel.verdict.setText("nuclei-3: nuclei about as good (0.838 to 0.830, noise 0.012); pink tissue better.")
    panel.curve.addDice(1.0, 0.8, {"nuclei": 0.8, "pink tissue": 0.9})
    prompts = ("nuclei", "pink tissue")
    panel.scores.setValue([ScoreEntry(n, f"tile-{n}.png", 0.7, 0.8, prompt) for prompt in prompts for n in range(3)])
    panel.compare_progress.hide()
    panel.swipe.setVisible(beside == "comparison")
    panel.question.withdraw()
    if beside == "question":
        panel.question.ask("nuclei-3 is worse on nuclei. Look at its masks.", {"Serve anyway": int, "Keep": int})
    panel.showCurve()
    panel.resize(300, 708)
    panel.show()
    qtbot.waitExposed(panel)

    body = panel.layout().itemAt(0).widget()

    assert panel.curve.isVisible() == (beside == "curve")
    assert body.verticalScrollBar().maximum() == 0
    assert panel.models.geometry().bottom() <= body.viewport().height()


@pytest.mark.parametrize("theme", [None, "dark", "light"])
def test_the_queue_fits_into_a_dock_of_320_pixels(qtbot, theme):
    widget = QueuePanel()
    qtbot.addWidget(widget)
    widget.list.setValue([QueueEntry(1, "a name that is very long " * 9, "in work", 1)], current=1)
    widget.step.setValue("1 of 1, a name that is very long " * 3)
    widget.status.setValue("error", LONG)
    widget.progress.setProgress(0.5, LONG)
    if theme is not None:
        widget.setStyleSheet(get_stylesheet(theme))

    assert widget.minimumSizeHint().width() <= 320


@pytest.mark.parametrize("panel", [AnnotatePanel, LearnPanel, QueuePanel])
def test_every_control_has_a_tooltip(qtbot, panel):
    widget = panel()
    qtbot.addWidget(widget)

    silent = [b.text() for b in widget.findChildren(QPushButton) if not b.toolTip() and b.text()]

    assert silent == []
