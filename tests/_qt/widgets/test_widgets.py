"""The value widgets, each on its own."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import QLocale, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QApplication,
    QFileDialog,
    QLabel,
    QPushButton,
    QToolButton,
    QWidget,
)

from napari_amvlm._qt.theme import theme_colours
from napari_amvlm._qt.widgets.budget import Budget, BudgetRow
from napari_amvlm._qt.widgets.curve import CurveWidget
from napari_amvlm._qt.widgets.key_help import KeyHelp
from napari_amvlm._qt.widgets.model_list import ModelEntry, ModelList
from napari_amvlm._qt.widgets.object_row import ObjectRow
from napari_amvlm._qt.widgets.progress_row import ProgressRow
from napari_amvlm._qt.widgets.project_row import ProjectRow
from napari_amvlm._qt.widgets.prompt_edit import PromptEdit
from napari_amvlm._qt.widgets.prompt_list import PromptEntry, PromptList
from napari_amvlm._qt.widgets.question import Question
from napari_amvlm._qt.widgets.queue_list import NO_ENTRIES, NONE_LISTED, QueueEntry, QueueList
from napari_amvlm._qt.widgets.queue_step import QueueStep
from napari_amvlm._qt.widgets.scale_choice import ScaleChoice, ScaleSettings
from napari_amvlm._qt.widgets.score_table import BETTER, WORSE, PromptRow, ScoreEntry, ScoreTable, worst_first
from napari_amvlm._qt.widgets.shown_layers import Shown, ShownLayers
from napari_amvlm._qt.widgets.status_line import StatusLine
from napari_amvlm._qt.widgets.swipe import SwipeRow
from napari_amvlm._qt.widgets.threshold import ThresholdSlider
from napari_amvlm._qt.widgets.word_completer import WordCompleter
from napari_amvlm.config import Concept, ModelConfig
from tests._qt.conftest import headings


def test_enter_submits_each_prompt_once(qtbot):
    edit = PromptEdit()
    qtbot.addWidget(edit)

    with qtbot.waitSignal(edit.submitted) as signal:
        qtbot.keyClicks(edit.lineEdit(), "left  lung; right lung;left lung; ")
        qtbot.keyClick(edit.lineEdit(), Qt.Key.Key_Return)

    assert signal.args == [["left lung", "right lung"]]


def test_enter_in_the_list_of_completions_submits_the_completed_prompt_once(qtbot):
    edit = PromptEdit()
    qtbot.addWidget(edit)
    edit.setPresets(["nuclei", "lungs"])
    edit.show()
    qtbot.waitExposed(edit)
    told = []
    edit.submitted.connect(told.append)
    qtbot.keyClicks(edit.lineEdit(), "nuc")
    popup = edit.completer().popup()
    qtbot.waitUntil(popup.isVisible)

    qtbot.keyClick(popup, Qt.Key.Key_Down)
    qtbot.keyClick(popup, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: bool(told) and not popup.isVisible())
    QApplication.processEvents()

    assert told == [["nuclei"]]
    assert not popup.isVisible()


def test_the_list_of_completions_stays_on_the_screen(qtbot):
    edit = PromptEdit()
    qtbot.addWidget(edit)
    edit.setPresets(["nuclei", "lungs"])
    right = edit.screen().availableGeometry().right()
    edit.resize(160, 24)
    edit.move(right - 200, 100)
    edit.show()
    qtbot.waitExposed(edit)

    qtbot.keyClicks(edit.lineEdit(), "nuc")
    popup = edit.completer().popup()
    qtbot.waitUntil(popup.isVisible)

    assert popup.width() > 200
    qtbot.waitUntil(lambda: popup.geometry().right() <= right)


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_list_of_completions_has_the_colours_of_the_theme_and_the_font_of_the_field(qtbot, theme):
    edit = PromptEdit()
    qtbot.addWidget(edit)
    edit.setPresets(["nuclei"])
    edit.setStyleSheet("font-size: 20pt")
    edit.setColours(theme_colours(theme))
    edit.show()
    qtbot.waitExposed(edit)

    qtbot.keyClicks(edit.lineEdit(), "nuc")
    popup = edit.completer().popup()
    qtbot.waitUntil(popup.isVisible)

    empty = popup.viewport().grab().toImage().pixelColor(popup.viewport().width() - 2, 2)
    assert empty.name() == theme_colours(theme).foreground
    assert popup.font().pointSize() == 20


def test_history_comes_before_presets_and_the_text_stays(qtbot):
    edit = PromptEdit()
    qtbot.addWidget(edit)
    edit.setValue("nuc")

    edit.setPresets(["nuclei", "lungs"])
    edit.remember(["stroma"])
    edit.remember(["nuclei"])

    assert [edit.itemText(index) for index in range(edit.count())] == ["nuclei", "stroma", "", "lungs"]
    assert edit.value() == "nuc"


def test_completion_understands_wordings_and_marks_what_is_not_taught(qtbot):
    edit = PromptEdit()
    qtbot.addWidget(edit)
    of = {"body": "chest", "modalities": ("CT",)}
    gullet = Concept(name="oesophagus", prompts=("oesophagus", "gullet"), scale="whole", **of)
    lungs = Concept(name="lungs", prompts=("lungs",), scale="whole")
    lesion = Concept(name="lesion", prompts=("lesion",), scale="whole", dice=0.01)
    edit.setConfig(ModelConfig(concepts=(gullet, lesion, lungs)))
    edit.remember(["stroma"])
    words = edit.completer()
    assert isinstance(words, WordCompleter)

    assert words.labels("gul") == ["gullet: oesophagus", "gul: not taught"]
    assert words.labels("the gullet") == []
    assert words.labels("GULLET") == ["gullet: oesophagus"]
    assert words.labels("les") == ["lesion: not taught", "les: not taught"]
    assert words.labels("stro") == ["stroma: not taught", "stro: not taught"]
    assert words.labels("lungs; oeso")[0] == "oesophagus (chest, CT)"
    edit.setPresets(["oesophagus", "lesion", "lungs"])
    assert words.labels("chest")[0] == words.labels("CT")[0] == "oesophagus (chest, CT)"
    assert words.labels("lungs") == ["lungs"]
    assert not words.completionModel().index(0, 0).data(Qt.ItemDataRole.DecorationRole).isNull()
    edit.setEditText("stroma; gul")
    words.labels("stroma; gul")
    assert words.pathFromIndex(words.completionModel().index(0, 0)) == "stroma; oesophagus"


def test_threshold_tells_of_a_change_once_and_of_a_shown_value_not_at_all(qtbot):
    slider = ThresholdSlider()
    qtbot.addWidget(slider)
    told = []
    slider.valueChanged.connect(told.append)

    slider.show_value(0.3)
    slider.step_by(0.4)

    assert told == [pytest.approx(0.7)]
    assert slider.value() == pytest.approx(0.7)


def test_magnification_is_for_tiles(qtbot):
    choice = ScaleChoice()
    qtbot.addWidget(choice)

    choice.setValue(ScaleSettings("whole", 2.0))

    assert choice.value() == ScaleSettings("whole", 2.0)
    assert not choice._magnification.isEnabled()


def test_the_chosen_prompt_survives_a_refresh_and_buttons_tell_which(qtbot):
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
def test_presence_in_words(presence, words):
    assert PromptEntry("nuclei", presence=presence).presence_text() == words
    assert PromptEntry("nuclei", presence=presence, state="draft").presence_text() == "draft"


def test_progress_goes_from_busy_to_a_share_to_idle(qtbot):
    row = ProgressRow()
    qtbot.addWidget(row)

    row.setBusy("Loading ...")
    busy = row.value()
    row.setProgress(0.25, "tile 1 of 4")
    share = row.value()
    row.setIdle()

    assert (busy, share, row.value()) == (None, 0.25, None)
    assert not row.findChild(QPushButton).isEnabled()


def test_a_new_project_gets_its_suffix(qtbot, tmp_path, monkeypatch):
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (str(tmp_path / "breast"), ""))
    row = ProjectRow()
    qtbot.addWidget(row)

    with qtbot.waitSignal(row.chosen) as signal:
        last = row._list.count() - 1
        row._list.setCurrentIndex(last)
        row._list.activated.emit(last)

    assert signal.args == [tmp_path / "breast.amvlm"]


def test_the_open_project_is_shown_first(qtbot, tmp_path):
    row = ProjectRow()
    qtbot.addWidget(row)
    row.setRecent([tmp_path / "a.amvlm", tmp_path / "b.amvlm"])

    row.setValue(tmp_path / "b.amvlm")

    assert row.recent() == [tmp_path / "b.amvlm", tmp_path / "a.amvlm"]
    assert row._list.currentText() == "b"


def test_a_project_that_is_open_for_reading_only_says_so(qtbot, tmp_path):
    row = ProjectRow()
    qtbot.addWidget(row)

    row.setValue(tmp_path / "a.amvlm", read_only=True)
    reading = row._list.currentText(), row._list.toolTip().splitlines()[0]
    row.setValue(tmp_path / "a.amvlm")

    assert reading == ("read-only: a", "Open for reading only; nothing can be accepted:")
    assert row._list.currentText() == "a"


def test_devices_fill_in_and_the_budget_comes_back(qtbot):
    row = BudgetRow()
    qtbot.addWidget(row)

    row.setDevices({"cuda:0": "NVIDIA H100", "cpu": "CPU, 2 cores"})
    row.setValue(Budget("cpu", 0.5))

    assert row.value() == Budget("cpu", 0.5)


def test_curves_keep_what_they_were_given_until_cleared(qtbot):
    curve = CurveWidget()
    qtbot.addWidget(curve)
    curve.setColours(theme_colours("light"))

    curve.addDice(0.0, 0.5)
    curve.addLoss(0.1, 0.9)
    before = curve.plots
    curve.show()
    drawn = curve.plots.dice_line.getData()
    kept = curve.value()
    curve.clear()

    assert (kept.dice, kept.loss, kept.loss_at) == ([0.5], [0.9], [10.0])
    assert [list(axis) for axis in drawn] == [[0.0], [0.5]]
    assert curve.value().loss == []
    assert before is None  # pyqtgraph is not loaded for a tab that nobody looks at


def test_an_empty_plot_has_no_numbers_and_dice_stays_within_its_bounds(qtbot):
    curve = CurveWidget()
    qtbot.addWidget(curve)
    curve.show()
    axes = [plot.getAxis("left") for plot in (curve.plots.dice_plot, curve.plots.loss_plot)]
    empty = [axis._tickLevels for axis in axes]

    curve.addDice(0.0, 0.98)
    curve.plots.dice_plot.getViewBox().updateAutoRange()

    assert empty == [[[]], [[]]]
    (numbers,) = axes[0]._tickLevels
    assert len(numbers) == 2
    assert all(0 <= height <= 1 for height, _text in numbers)


def test_only_a_model_that_does_not_serve_can_be_served(qtbot):
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


def test_a_question_goes_when_answered(qtbot):
    question = Question()
    qtbot.addWidget(question)
    given = []
    question.ask("An earlier question.", {"Yes": lambda: given.append("yes")})
    question.ask("Too few to judge.", {answer: partial(given.append, answer) for answer in ("Serve", "Keep")})
    answers = question.answers()

    question.answer("Keep")

    assert answers == ["Serve", "Keep"]
    assert given == ["Keep"]
    assert (question.text(), question.answers()) == ("", [])


@pytest.mark.parametrize("level", ["info", "warning", "error"])
def test_a_status_keeps_its_level_when_the_theme_changes(qtbot, level):
    line = StatusLine()
    qtbot.addWidget(line)
    line.setValue(level, "The disk is full.")

    line.setColours(warning="#111111", error="#222222")

    assert line.value() == (level, "The disk is full.")
    assert ("#111111" in line.styleSheet(), "#222222" in line.styleSheet()) == (level == "warning", level == "error")


def test_scores_say_which_way_they_went(qtbot):
    table = ScoreTable()
    qtbot.addWidget(table)
    scores = {7: (0.5, 0.25), 8: (0.5, 0.75), 9: (None, 0.8)}
    entries = [ScoreEntry(key, f"tile {key}", *pair) for key, pair in scores.items()]

    table.setValue(entries)
    above = table._table.topLevelItem(0)
    rows = [above.child(row).text(2) for row in range(3)]
    with qtbot.waitSignal(table.chosen) as signal:
        table._table.itemActivated.emit(above.child(1), 0)

    assert table.value() == entries
    assert rows == ["0.250 \N{BLACK DOWN-POINTING TRIANGLE}", "0.750 \N{BLACK UP-POINTING TRIANGLE}", "0.800"]
    assert signal.args == [8]


def test_scores_lie_below_their_prompts(qtbot):
    table = ScoreTable()
    qtbot.addWidget(table)
    entries = [
        ScoreEntry(7, "tile", 0.9, 0.8, "nuclei"),
        ScoreEntry(8, "drawn", None, None, "nuclei", corrected=False),
        ScoreEntry(7, "tile", 0.0, 0.9, "gland"),
    ]
    looked = []
    table.looked.connect(lambda key, prompt: looked.append((key, prompt)))

    table.setValue(entries, {"nuclei": PromptRow(0.9, 0.8, WORSE), "gland": PromptRow(0.0, 0.9, BETTER)})
    table._table.itemClicked.emit(table._table.topLevelItem(0), 0)
    table._table.itemClicked.emit(table._table.topLevelItem(1).child(0), 0)
    table.select(7, "gland")

    assert headings(table) == [
        "nuclei 0.900 0.800 \N{BLACK DOWN-POINTING TRIANGLE}",
        "gland 0.000 0.900 \N{BLACK UP-POINTING TRIANGLE}",
    ]
    assert table._table.topLevelItem(0).child(1).text(2) == "not corrected"
    assert looked == [(7, "gland")]
    assert table.selected() == (7, "gland")


def test_a_click_looks_at_a_score_and_new_scores_keep_it_selected(qtbot):
    table = ScoreTable()
    qtbot.addWidget(table)
    looked = []
    table.looked.connect(lambda key, _prompt: looked.append(key))
    table.setValue([ScoreEntry(7, "tile 7", 0.5, 0.25), ScoreEntry(8, "tile 8", 0.5, 0.75)])

    table._table.setCurrentItem(table._table.topLevelItem(0).child(1))
    table.setValue(worst_first([ScoreEntry(7, "tile 7", 0.5, None), ScoreEntry(8, "tile 8", 0.5, 0.1)]))
    kept = table.selected()
    table.select(7)

    assert looked == [8]
    assert [entry.key for entry in table.value()] == [8, 7]
    assert (kept, table.selected()) == ((8, ""), (7, ""))


@pytest.mark.parametrize("number", [1, 2, 6])
def test_a_curve_has_a_line_for_each_prompt(qtbot, number):
    curve = CurveWidget()
    qtbot.addWidget(curve)
    curve.setColours(theme_colours("dark"))
    curve.show()
    prompts = {f"prompt {index}": index / 10 for index in range(number)}

    curve.addDice(0.0, 0.5, prompts)
    curve.addDice(0.5, 0.6, {prompt: value + 0.1 for prompt, value in prompts.items()})

    lines = list(curve.plots.prompt_lines.values())
    assert len(lines) == (number if number > 1 else 0)
    assert all(list(line.getData()[0]) == [0.0, 50.0] for line in lines)
    assert curve.key() == (" ".join(f"{p} {v + 0.1:.3f}" for p, v in prompts.items()) if number > 1 else "")
    curve.clear()
    assert curve.plots.prompt_lines == {}


def test_only_a_model_of_the_project_can_be_compared(qtbot):
    models = ModelList()
    qtbot.addWidget(models)
    models.setValue([ModelEntry("b", "v2", "CC BY 4.0", 0.8, parent="v1"), ModelEntry("a", "v1", "CC BY 4.0")])
    models.select("a")
    installed_can = models._compare.isEnabled()

    models.select("b")
    with qtbot.waitSignal(models.compareRequested) as signal:
        models._compare.click()

    assert not installed_can
    assert signal.args == ["b"]


def test_a_swipe_tells_of_the_person_alone_and_offers_prompts_where_there_are_several(qtbot):
    swipe = SwipeRow()
    qtbot.addWidget(swipe)
    borders = []
    prompts = []
    swipe.borderChanged.connect(borders.append)
    swipe.promptChanged.connect(prompts.append)

    swipe.setBorder(0.25)
    swipe.setPrompts(["nuclei"], "nuclei")
    alone = swipe._prompt.isHidden()
    swipe.setPrompts(["nuclei", "stroma"], "stroma")
    swipe._slider.setValue(20)
    swipe._prompt.setCurrentIndex(0)

    assert (alone, swipe._prompt.isHidden()) == (True, False)
    assert borders == [0.1]
    assert prompts == ["nuclei"]


def test_objects_can_be_merged_from_two_on(qtbot):
    row = ObjectRow()
    qtbot.addWidget(row)

    enabled = []
    for picked in ((), (3,), (7, 3)):
        row.setValue(picked)
        enabled.append((row.split.isEnabled(), row.merge.isEnabled()))

    assert enabled == [(False, False), (True, False), (True, True)]
    assert row.value() == (3, 7)


def test_objects_are_moved_to_the_prompt_that_is_chosen(qtbot):
    row = ObjectRow()
    qtbot.addWidget(row)
    row.setPrompts(["nuclei", "stroma"])
    row.setValue((1,))

    with qtbot.waitSignal(row.moveRequested) as signal:
        row.target.activated.emit(2)

    assert signal.args == ["stroma"]


def test_what_is_shown_tells_of_each_change(qtbot):
    shown = ShownLayers()
    qtbot.addWidget(shown)
    told = []
    shown.valueChanged.connect(told.append)

    shown.setValue(Shown(masks=True, reviewed=True))
    shown.masks.toggle()
    shown.setSummary(0.354, 212)

    assert told == [Shown(masks=False, reviewed=True)]
    assert "reviewed 35%" in shown.summary()
    assert "corrected 212" in shown.summary()


def test_the_key_help_opens_and_shows_what_it_was_given(qtbot):
    help_panel = KeyHelp()
    qtbot.addWidget(help_panel)

    help_panel.setValue([("A", "Accept"), ("", "Reject")])
    help_panel.setValue([("B", "Accept"), ("", "Reject")])
    help_panel._section.toggleButton().click()

    texts = [label.text() for label in help_panel.findChildren(QLabel)]
    assert texts[:4] == ["B", "Accept", "none", "Reject"]
    assert help_panel._section.isExpanded()


def test_a_queue_list_keeps_its_filter_and_asks_for_pictures_in_view(qtbot):
    listed = QueueList()
    qtbot.addWidget(listed)
    listed.resize(300, 400)
    listed.show()
    statuses = ("accepted", "new")
    entries = [QueueEntry(number, f"tile {number}", statuses[number % 2], number) for number in range(200)]

    with qtbot.waitSignal(listed.picturesWanted) as signal:
        listed.setValue(entries, current=3)
    listed.addPictures({1: np.zeros((8, 4, 3), np.uint8)})
    with qtbot.waitSignal(listed.chosen) as chosen:
        listed._list.itemActivated.emit(listed._list.item(1))

    assert len(listed.value()) == 100
    assert signal.args[0] == [1, 3, 5, 7, 9, 11, 13, 15]
    assert chosen.args == [3]


@pytest.mark.parametrize("language", ["de_DE", "en_US"])
def test_comma_and_point_are_the_decimal_sign_in_every_language(qtbot, language):
    before = QLocale()
    QLocale.setDefault(QLocale(language))
    row, scale, threshold = BudgetRow(), ScaleChoice(), ThresholdSlider()
    QLocale.setDefault(before)
    for widget in (row, scale, threshold):
        qtbot.addWidget(widget)
    found = []
    for typed in ("0.7", "0,7"):
        for field in (row._minutes, scale._magnification, threshold._label):
            field.selectAll()
            qtbot.keyClicks(field, typed)
            qtbot.keyClick(field, Qt.Key.Key_Return)
        found.append((row.value().minutes, scale.value().magnification, threshold.value()))

    assert found == [(0.7, 0.7, 0.7)] * 2


def test_a_double_click_opens_an_entry_of_the_queue(qtbot):
    listed = QueueList()
    qtbot.addWidget(listed)
    listed.show()
    qtbot.waitExposed(listed)
    listed.setValue([QueueEntry(number, f"tile {number}", "new", number) for number in range(3)], current=None)
    place = listed._list.viewport().mapTo(listed, listed._list.visualItemRect(listed._list.item(1)).center())

    with qtbot.waitSignal(listed.chosen) as chosen:  # as the system does it: the window finds what lies there
        QTest.mouseClick(listed.windowHandle(), Qt.MouseButton.LeftButton, pos=place)
        QTest.mouseDClick(listed.windowHandle(), Qt.MouseButton.LeftButton, pos=place)

    assert chosen.args == [1]


def test_a_list_without_entries_says_why(qtbot):
    listed = QueueList()
    qtbot.addWidget(listed)
    empty = listed.hint()

    listed.setValue([QueueEntry(1, "tile 1", "new", 1)], current=None)
    filled = listed.hint()
    listed.setStatuses("accepted")

    assert (empty, filled, listed.hint()) == (NO_ENTRIES, "", NONE_LISTED)


def test_an_empty_queue_has_no_steps(qtbot):
    step = QueueStep()
    qtbot.addWidget(step)

    step.setValue("")
    empty = step.next.isEnabled()
    step.setValue("2 of 9, tile-4.png: new")

    assert not empty
    assert step.next.isEnabled()
    assert step.value() == "2 of 9, tile-4.png: new"


def test_projects_of_one_name_show_what_tells_them_apart(qtbot):
    row = ProjectRow()
    qtbot.addWidget(row)

    row.setRecent([Path("/a/day/p.amvlm"), Path("/b/day/p.amvlm"), Path("/a/day/q.amvlm")])

    assert [row._list.itemText(index) for index in range(1, 4)] == [
        f"p ({Path('a/day')})",
        f"p ({Path('b/day')})",
        "q",
    ]


def test_a_status_line_of_a_fixed_height_keeps_it(qtbot):
    line = StatusLine(lines=3)
    qtbot.addWidget(line)
    before = line.height()

    line.setValue("info", "a long message " * 60)

    assert line.height() == before
    assert line.toolTip().startswith("a long message")


@pytest.mark.parametrize(
    ("level", "text", "shown"),
    [
        ("error", "the mask cannot be read.", "The mask cannot be read."),
        ("warning", "a.png was not found.", "a.png was not found."),
        ("info", "nuclei in a.png: present 0.99", "nuclei in a.png: present 0.99"),
    ],
)
def test_what_went_wrong_begins_with_a_capital_and_a_name_stays(qtbot, level, text, shown):
    line = StatusLine()
    qtbot.addWidget(line)

    line.setValue(level, text)

    assert line.value() == (level, shown)
