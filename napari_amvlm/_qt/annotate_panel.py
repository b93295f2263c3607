"""The Annotate dock as it looks: widgets and layout, without viewer, model or project."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_amvlm._qt.panel import ScrollColumn, named_rows
from napari_amvlm._qt.widgets.progress_row import ProgressRow
from napari_amvlm._qt.widgets.project_row import ProjectRow
from napari_amvlm._qt.widgets.prompt_edit import PromptEdit
from napari_amvlm._qt.widgets.prompt_list import PromptList
from napari_amvlm._qt.widgets.scale_choice import InstancesBox, ScaleChoice
from napari_amvlm._qt.widgets.status_line import StatusLine
from napari_amvlm._qt.widgets.threshold import ThresholdSlider

if TYPE_CHECKING:
    from napari_amvlm._qt.theme import Colours

ACCEPT_KEY = "A"
REJECT_KEY = "R"
UNDO_KEY = "Ctrl+Z"
REDO_KEY = "Ctrl+Shift+Z"


class AnnotatePanel(QWidget):
    """Every widget of the dock, by name."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        # widgets
        self.image = _list("Image", "The image layer to look at: a plain 2-D image, gray or RGB")
        self.labels = _list("Labels", "The labels layer that results go to; it must have the image's shape")
        self.project = ProjectRow()
        self.prompt = PromptEdit()
        self.run_button = QPushButton("Run  Enter")
        self.run_button.setToolTip(
            "Find what the prompt says (Enter in the prompt).\n"
            "With no prompt typed, every prompt of the list runs again."
        )
        self.prompts = PromptList()
        self.threshold = ThresholdSlider()
        self.scale = ScaleChoice()
        self.instances = InstancesBox()
        self.progress = ProgressRow(shortcut="Esc")
        self.accept_button = QPushButton(f"Accept  {ACCEPT_KEY}")
        self.accept_button.setToolTip(
            f"Store the mask of the chosen prompt in the project, at once, and call it finished ({ACCEPT_KEY})"
        )
        self.reject_button = QPushButton(f"Reject  {REJECT_KEY}")
        self.reject_button.setToolTip(
            f"Take the chosen prompt's mask off the image, and out of the project if it was accepted ({REJECT_KEY}).\n"
            "Ctrl+Z brings the pixels back."
        )
        self.chosen = QLabel()
        self.chosen.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.model = StatusLine()
        self.model.setAccessibleName("Model")
        self.status = StatusLine()
        self.shortcuts = {key: self._shortcut(key) for key in (ACCEPT_KEY, REJECT_KEY, UNDO_KEY, REDO_KEY)}
        # layout
        prompt_row = QWidget()
        row = QHBoxLayout(prompt_row)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        row.addWidget(self.prompt, 1)
        row.addWidget(self.run_button)
        body = ScrollColumn()
        body.column.addLayout(
            named_rows({"Image": self.image, "Labels": self.labels, "Project": self.project, "Prompt": prompt_row})
        )
        body.add(self.prompts)
        body.column.addLayout(named_rows({"Threshold": self.threshold, "Scale": self.scale, "": self.instances}))
        body.add(self.progress)
        body.add(self.chosen)
        buttons = QHBoxLayout()
        buttons.addWidget(self.accept_button, 1)
        buttons.addWidget(self.reject_button, 1)
        body.column.addLayout(buttons)
        body.add(self.status)
        body.add(self.model)
        body.column.addStretch(1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(body)
        self.setMinimumWidth(280)

    def setColours(self, colours: Colours) -> None:
        """Take the colours of the theme."""
        self.prompts.setColours(colours)
        for line in (self.status, self.model):
            line.setColours(warning=colours.warning, error=colours.error)

    def _shortcut(self, key: str) -> QShortcut:
        shortcut = QShortcut(QKeySequence(key), self)
        shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        return shortcut


def _list(name: str, tip: str) -> QComboBox:
    box = QComboBox()
    box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    box.setAccessibleName(name)
    box.setToolTip(tip)
    return box
