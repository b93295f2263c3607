"""Widgets and layout of the Learn dock, without viewer, model or project."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_amvlm._qt.layout import ScrollColumn, row_of, tab_through, wrapped_label
from napari_amvlm._qt.widgets.add_button import AddButton
from napari_amvlm._qt.widgets.auto_learn import AutoLearnRow
from napari_amvlm._qt.widgets.budget import BudgetRow
from napari_amvlm._qt.widgets.curve import CurveWidget
from napari_amvlm._qt.widgets.model_list import ModelList
from napari_amvlm._qt.widgets.progress_row import ProgressRow
from napari_amvlm._qt.widgets.question import Question
from napari_amvlm._qt.widgets.score_table import ScoreTable
from napari_amvlm._qt.widgets.status_line import StatusLine
from napari_amvlm._qt.widgets.swipe import SwipeRow
from napari_amvlm._qt.widgets.text_model import TextModelRow

if TYPE_CHECKING:
    from napari_amvlm._qt.theme import Colours


class LearnPanel(QWidget):
    """Every widget of the dock, by name."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        # widgets
        self.counts = wrapped_label("Images to learn from")
        self.counts.setToolTip(
            "accepted: images with an accepted mask. held out: those of them that only judge, one in four; correct\n"
            "their masks, since a mask that was accepted as the model drew it judges nothing.\n"
            "unlabelled: the other images of the project; the model learns from them too."
        )
        self.add_button = AddButton()
        self.add_button.setToolTip("Put images into the project, to be learnt from without labels")
        self.budget = BudgetRow()
        self.start_button = _button("Start", "Learn from the accepted masks in the background; you can keep working")
        self.pause_button = _button("Pause", "Pause the run and its budget")
        self.stop_button = _button(
            "Stop", "End the run now: what it learnt goes on the list, and the current model stays"
        )
        self.auto = AutoLearnRow()
        self.progress = ProgressRow(button="")
        self.question = Question()
        self.status = StatusLine()
        self.curve = CurveWidget()
        self.verdict = wrapped_label("What held-out images say of the last run")
        self.scores = ScoreTable()
        self.serve_button = _button("Serve", "Let this model draw the masks from now on; any other is one click away")
        self.discard_button = _button("Discard", "Put this model aside; if it serves, what served before serves again")
        self.compare_button = _button(
            "Compare", "Look at this model beside the one it was learnt from, on the held-out images, the worst first"
        )
        self.compare_button.setCheckable(True)
        self.judge_buttons = QWidget()
        self.swipe = SwipeRow()
        self.compare_progress = ProgressRow()
        self.models = ModelList()
        self.text_model = TextModelRow()
        self._lay_out()
        self.question.shownChanged.connect(self.showCurve)

    def _lay_out(self) -> None:
        body = self._body = ScrollColumn()
        body.column.setSpacing(4)
        counts = QHBoxLayout()
        counts.addWidget(self.counts, 1)
        counts.addWidget(self.add_button)
        body.column.addLayout(counts)
        body.add(self.budget)
        body.column.addLayout(row_of(self.start_button, self.pause_button, self.stop_button))
        body.add(self.auto, self.progress, self.question, self.status, self.curve, self.verdict)
        body.column.addWidget(self.scores, 9)
        body.add(self.swipe, self.compare_progress)
        row_of(self.compare_button, self.serve_button, self.discard_button, within=self.judge_buttons)
        body.add(self.judge_buttons)
        body.column.addWidget(self.models, 9)
        body.add(self.text_model)
        body.column.addStretch(1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(body)
        tab_through(self)

    def showCurve(self) -> None:
        """Show the curve, unless a question or a comparison needs its room; the sentences would say the same."""
        self.curve.setVisible(self.question.isHidden() and self.swipe.isHidden())
        self.status.setVisible(self.question.isHidden())
        self.verdict.setVisible(self.question.isHidden() and bool(self.verdict.text()))

    def revealJudging(self) -> None:
        """Scroll to where a model is judged, the table of scores first."""
        column = self._body.column
        column.activate()
        for part in (self.judge_buttons, self.scores):
            self._body.ensureWidgetVisible(part, 0, 8)

    def setColours(self, colours: Colours) -> None:
        """Take the colours of the theme."""
        self.curve.setColours(colours)
        self.question.setColours(edge=colours.accent)
        self.status.setColours(warning=colours.warning, error=colours.error)

    def setRunning(self, *, running: bool, paused: bool, stopping: bool, ready: bool) -> None:
        """Allow the buttons that make sense now."""
        self.start_button.setEnabled(ready and not running)
        self.pause_button.setEnabled(running and not stopping)
        self.pause_button.setText("Resume" if paused else "Pause")
        self.stop_button.setEnabled(running and not stopping)
        self.budget.setEnabled(not running)
        self.models.setServeEnabled(not running)


def _button(text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    return button
