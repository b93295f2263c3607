"""The value widgets, each on its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton, QToolButton, QWidget

from napari_amvlm._qt.annotate_panel import AnnotatePanel
from napari_amvlm._qt.learn_panel import LearnPanel
from napari_amvlm._qt.theme import theme_colours
from napari_amvlm._qt.widgets.budget import Budget, BudgetRow
from napari_amvlm._qt.widgets.curve import CurveWidget
from napari_amvlm._qt.widgets.model_list import ModelEntry, ModelList
from napari_amvlm._qt.widgets.progress_row import ProgressRow
from napari_amvlm._qt.widgets.project_row import ProjectRow
from napari_amvlm._qt.widgets.prompt_edit import PromptEdit
from napari_amvlm._qt.widgets.prompt_list import PromptEntry, PromptList
from napari_amvlm._qt.widgets.question import Question
from napari_amvlm._qt.widgets.scale_choice import ScaleChoice, ScaleSettings
from napari_amvlm._qt.widgets.status_line import StatusLine
from napari_amvlm._qt.widgets.threshold import ThresholdSlider

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot


def test_enter_submits_each_prompt_once(qtbot: QtBot):
    edit = PromptEdit()
    qtbot.addWidget(edit)

    with qtbot.waitSignal(edit.submitted) as signal:
        qtbot.keyClicks(edit.lineEdit(), "left  lung; right lung;left lung; ")
        qtbot.keyClick(edit.lineEdit(), Qt.Key.Key_Return)

    assert signal.args == [["left lung", "right lung"]]


def test_enter_in_the_list_of_completions_submits_the_completed_prompt_once(qtbot: QtBot):
    edit = PromptEdit()
    qtbot.addWidget(edit)
    edit.setPresets(["nuclei", "lungs"])
    edit.show()
    qtbot.waitExposed(edit)
    told: list[list[str]] = []
    edit.submitted.connect(told.append)
    qtbot.keyClicks(edit.lineEdit(), "nuc")
    popup = edit.completer().popup()
    qtbot.waitUntil(popup.isVisible)

    qtbot.keyClick(popup, Qt.Key.Key_Down)
    qtbot.keyClick(popup, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: bool(told))
    qtbot.wait(50)

    assert told == [["nuclei"]]
    assert not popup.isVisible()


def test_history_comes_before_presets_and_the_text_stays(qtbot: QtBot):
    edit = PromptEdit()
    qtbot.addWidget(edit)
    edit.setValue("nuc")

    edit.setPresets(["nuclei", "lungs"])
    edit.remember(["stroma"])
    edit.remember(["nuclei"])

    assert [edit.itemText(index) for index in range(edit.count())] == ["nuclei", "stroma", "", "lungs"]
    assert edit.value() == "nuc"


def test_threshold_tells_of_a_change_once_and_of_a_set_value_not_at_all(qtbot: QtBot):
    slider = ThresholdSlider()
    qtbot.addWidget(slider)
    told: list[float] = []
    slider.valueChanged.connect(told.append)

    slider.setValue(0.3)
    slider._slider.setValue(70)

    assert told == [0.7]
    assert slider.value() == 0.7


def test_magnification_is_for_tiles(qtbot: QtBot):
    choice = ScaleChoice()
    qtbot.addWidget(choice)

    choice.setValue(ScaleSettings("whole", 2.0))

    assert choice.value() == ScaleSettings("whole", 2.0)
    assert not choice._magnification.isEnabled()


def test_the_chosen_prompt_survives_a_refresh_and_buttons_tell_which(qtbot: QtBot):
    prompts = PromptList()
    qtbot.addWidget(prompts)
    prompts.setColours(theme_colours("dark"))
    prompts.setValue([PromptEntry("nuclei", 1, "#ff0000", 0.97), PromptEntry("stroma")])
    prompts.setCurrent("nuclei")

    prompts.setValue([PromptEntry("nuclei", 1, "#ff0000", 0.97, finished=True), PromptEntry("stroma")])
    with qtbot.waitSignal(prompts.removed) as signal:
        row = prompts.findChildren(QWidget, "prompt_row", Qt.FindChildOption.FindDirectChildrenOnly)[-1]
        row.findChildren(QToolButton)[-1].click()

    assert prompts.current() == "nuclei"
    assert signal.args == ["stroma"]


@pytest.mark.parametrize(("presence", "words"), [(None, "not run"), (0.97, "present 0.97"), (0.06, "absent 0.06")])
def test_presence_in_words(presence: float | None, words: str):
    assert PromptEntry("nuclei", presence=presence).presence_text() == words


def test_progress_goes_from_busy_to_a_share_to_idle(qtbot: QtBot):
    row = ProgressRow()
    qtbot.addWidget(row)

    row.setBusy("Loading ...")
    busy = row.value()
    row.setProgress(0.25, "tile 1 of 4")
    share = row.value()
    row.setIdle()

    assert (busy, share, row.value()) == (None, 0.25, None)
    assert not row.findChild(QPushButton).isEnabled()


def test_a_new_project_gets_its_suffix(qtbot: QtBot, tmp_path: Path):
    row = ProjectRow(pick_new=lambda _: str(tmp_path / "breast"), pick_existing=lambda _: "")
    qtbot.addWidget(row)

    with qtbot.waitSignal(row.chosen) as signal:
        last = row._list.count() - 1
        row._list.setCurrentIndex(last)
        row._list.activated.emit(last)

    assert signal.args == [tmp_path / "breast.amvlm"]


def test_the_open_project_is_shown_first(qtbot: QtBot, tmp_path: Path):
    row = ProjectRow()
    qtbot.addWidget(row)
    row.setRecent([tmp_path / "a.amvlm", tmp_path / "b.amvlm"])

    row.setValue(tmp_path / "b.amvlm")

    assert row.recent() == [tmp_path / "b.amvlm", tmp_path / "a.amvlm"]
    assert row._list.currentText() == "b.amvlm"


def test_devices_fill_in_and_the_budget_comes_back(qtbot: QtBot):
    row = BudgetRow()
    qtbot.addWidget(row)

    row.setDevices({"cuda:0": "NVIDIA H100", "cpu": "CPU, 2 cores"})
    row.setValue(Budget("cpu", 0.5))

    assert row.value() == Budget("cpu", 0.5)


def test_curves_keep_what_they_were_given_until_cleared(qtbot: QtBot):
    curve = CurveWidget()
    qtbot.addWidget(curve)
    curve.setColours(theme_colours("light"))

    curve.addDice(0.0, 0.5)
    curve.addLoss(0.1, 0.9)
    drawn = curve._dice_line.getData()
    kept = curve.value()
    curve.clear()

    assert (kept.dice, kept.loss, kept.loss_at) == ([0.5], [0.9], [10.0])
    assert [list(axis) for axis in drawn] == [[0.0], [0.5]]
    assert curve.value().loss == []


def test_only_a_model_that_does_not_serve_can_be_served(qtbot: QtBot):
    models = ModelList()
    qtbot.addWidget(models)
    models.setValue([ModelEntry("b", "v2", "CC BY 4.0", 0.8), ModelEntry("a", "v1", "CC BY 4.0", serving=True)])
    models.select("a")
    serving_can = models._serve.isEnabled()

    models.select("b")
    with qtbot.waitSignal(models.serveRequested) as signal:
        models._serve.click()

    assert not serving_can
    assert signal.args == ["b"]


def test_a_question_goes_when_answered(qtbot: QtBot):
    question = Question()
    qtbot.addWidget(question)
    question.ask("Too few to judge.", "Serve", "Keep")

    with qtbot.waitSignal(question.answered) as signal:
        question.findChildren(QPushButton)[1].click()

    assert signal.args == [False]
    assert question.text() == ""


@pytest.mark.parametrize("level", ["info", "warning", "error"])
def test_a_status_keeps_its_level_when_the_theme_changes(qtbot: QtBot, level: str):
    line = StatusLine()
    qtbot.addWidget(line)
    line.setValue(level, "The disk is full.")

    line.setColours(warning="#111111", error="#222222")

    assert line.value() == (level, "The disk is full.")
    assert ("#111111" in line.styleSheet(), "#222222" in line.styleSheet()) == (level == "warning", level == "error")


@pytest.mark.parametrize("panel", [AnnotatePanel, LearnPanel])
def test_nothing_is_cut_off_in_a_dock_of_320_pixels(qtbot: QtBot, panel: type[AnnotatePanel] | type[LearnPanel]):
    widget = panel()
    qtbot.addWidget(widget)
    if isinstance(widget, AnnotatePanel):
        widget.prompts.setValue([PromptEntry("a prompt that is very much longer than the dock is wide " * 3, 1)])
        widget.status.setValue("error", "a_word_without_any_blank_" * 20)
        widget.image.addItem("an image whose name is long " * 10)
    else:
        widget.question.ask("a question " * 30, "Serve a model with a name", "Keep the present model")
    widget.resize(320, 700)
    widget.show()

    body = widget.layout().itemAt(0).widget()

    assert body.widget().minimumSizeHint().width() <= 320 - body.verticalScrollBar().sizeHint().width()


@pytest.mark.parametrize("panel", [AnnotatePanel, LearnPanel])
def test_every_control_has_a_tooltip(qtbot: QtBot, panel: type[QWidget]):
    widget = panel()
    qtbot.addWidget(widget)

    silent = [b.text() for b in widget.findChildren(QPushButton) if not b.toolTip() and b.text()]

    assert silent == []
