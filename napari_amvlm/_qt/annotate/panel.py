"""The Annotate dock as it looks: widgets and layout, without viewer, model or project."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence, QShortcut, QWheelEvent
from qtpy.QtWidgets import (
    QComboBox,
    QFrame,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from napari_amvlm._qt.layout import ScrollColumn, named_rows, row_of, tab_through
from napari_amvlm._qt.widgets.brush_row import BrushRow
from napari_amvlm._qt.widgets.confirm import Confirm
from napari_amvlm._qt.widgets.eliding import ElidingLine
from napari_amvlm._qt.widgets.extent_choice import ExtentChoice
from napari_amvlm._qt.widgets.key_help import KeyHelp, section
from napari_amvlm._qt.widgets.object_row import ObjectRow
from napari_amvlm._qt.widgets.plane_choice import PlaneChoice
from napari_amvlm._qt.widgets.progress_row import ProgressRow
from napari_amvlm._qt.widgets.project_row import ProjectRow
from napari_amvlm._qt.widgets.prompt_edit import PromptEdit
from napari_amvlm._qt.widgets.prompt_list import PromptList
from napari_amvlm._qt.widgets.queue_step import QueueStep
from napari_amvlm._qt.widgets.scale_choice import InstancesBox, ScaleChoice
from napari_amvlm._qt.widgets.shown_layers import ShownLayers
from napari_amvlm._qt.widgets.status_line import StatusLine
from napari_amvlm._qt.widgets.threshold import ThresholdSlider

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_amvlm._qt.theme import Colours

UNDO_KEY = "Ctrl+Z"
REDO_KEY = "Ctrl+Shift+Z"

MESSAGE_HEIGHT = 82
"""Four lines of text."""


class AnnotatePanel(QWidget):
    """Every widget of the dock, by name."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        # widgets
        self.image = _list("Image", "The image layer to look at, gray or RGB: a plane, a slide with levels, or a stack")
        self.project = ProjectRow()
        self.prompt = PromptEdit()
        self.run_button = QPushButton("Run")
        self.prompts = PromptList()
        self.threshold = ThresholdSlider()
        self.brush = BrushRow()
        self.extent = ExtentChoice()
        self.plane = PlaneChoice()
        self.scale = ScaleChoice()
        self.instances = InstancesBox()
        self.progress = ProgressRow(shortcut="Esc")
        self.accept_button = QPushButton("Accept")
        self.region_button = QPushButton("Region")
        self.region_button.setAccessibleName("Accept region")
        self.reject_button = QPushButton("Reject")
        self.chosen = ElidingLine()
        self.chosen.setAccessibleName("Chosen prompt")
        self.restore_button = QPushButton("Restore")
        self.restore_button.setToolTip("Show the mask that is in the project; Ctrl+Z takes that back")
        self.shown = ShownLayers()
        self.objects = ObjectRow()
        self.objects_section = section("Objects", "Merge, split, lock or relabel single objects")
        self.step = QueueStep()
        self.model = StatusLine()
        self.model.setAccessibleName("Model")
        self.status = StatusLine()
        self.status.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.confirm = Confirm()
        self.messages = QStackedWidget()
        self.keys = KeyHelp()
        self.shortcuts = {key: self._shortcut(key) for key in (UNDO_KEY, REDO_KEY)}
        self._lay_out()
        self.setKeys(lambda _name: "", [])
        tab_through(self)
        self.prompts.rebuilt.connect(lambda: tab_through(self))

    def _lay_out(self) -> None:
        """Put the parts below one another, in the order of the work."""
        body = ScrollColumn()
        body.column.setSpacing(4)  # five prompts fit at 1280 x 800
        top = named_rows(
            {
                "Image": self.image,
                "Project": self.project,
                "Prompt": _row(self.prompt, self.run_button),
                "Where": self.extent,
                "Plane": self.plane,
            }
        )
        self.extent.setLabel(top.labelForField(self.extent))
        self.plane.setLabel(top.labelForField(self.plane))
        body.column.addLayout(top)
        body.add(self.prompts)
        body.add(_row(self.chosen, self.restore_button))
        body.column.addLayout(
            named_rows({"Brush": self.brush, "Threshold": self.threshold, "Scale": self.scale, "": self.instances})
        )
        body.add(self.progress)
        body.column.addLayout(row_of(self.accept_button, self.region_button, self.reject_button))
        body.add(self.shown)
        body.add(self.step)
        self.objects_section.addWidget(self.objects)
        body.add(self.objects_section)
        # a label that wraps wants two lines, whatever it says
        self.model.setMinimumHeight(self.model.fontMetrics().lineSpacing())
        body.add(self.model)
        body.add(self.keys)
        body.column.addStretch(1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(body)
        column.addWidget(self._message_area())

    def _message_area(self) -> QWidget:
        """Return a place for messages and questions that is there always, so that nothing moves when one comes."""
        text = QScrollArea()
        text.setWidgetResizable(True)
        text.setFrameShape(QFrame.Shape.NoFrame)
        # as high as its text at this width, and no higher: then it scrolls only where four lines are too few
        self.status.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        text.setWidget(self.status)
        for part in (text, self.confirm):
            self.messages.addWidget(part)
        self.messages.setFixedHeight(MESSAGE_HEIGHT)
        self.messages.setContentsMargins(8, 0, 8, 4)
        self.confirm.shownChanged.connect(lambda on: self.messages.setCurrentIndex(int(on)))
        return self.messages

    def setColours(self, colours: Colours) -> None:
        """Take the colours of the theme."""
        self.prompt.setColours(colours)
        self.prompts.setColours(colours)
        for line in (self.status, self.model):
            line.setColours(warning=colours.warning, error=colours.error)

    def setKeys(self, words: Callable[[str], str], lines: list[tuple[str, str]]) -> None:
        """Show the keys that are in use; `words(name)` gives those of an action, empty where it has none."""

        def with_key(tip: str, name: str) -> str:
            return f"{tip} ({words(name)})" if words(name) else tip

        self.keys.setValue(lines)
        self.run_button.setToolTip(
            with_key("Find what the prompt says (Enter in the prompt).\nWith no prompt typed, all of the list", "run")
        )
        for button, text, name in (
            (self.accept_button, "Accept", "accept"),
            (self.region_button, "Region", "accept_region"),
            (self.reject_button, "Reject", "reject"),
        ):
            button.setText(f"{text}  {words(name)}" if len(words(name)) == 1 else text)
        self.accept_button.setToolTip(
            with_key("Store the mask of the chosen prompt in the project, at once, and call it finished", "accept")
        )
        self.region_button.setToolTip(
            with_key(
                "Accept only a part: the shapes of the selected shapes layer, else the queue's region, else what is in "
                "view.\nThe rest counts as never looked at.\nOn a slide: open that part as an image of its own, to "
                "correct and accept it there.",
                "accept_region",
            )
        )
        self.reject_button.setToolTip(
            with_key(
                "Take the chosen prompt's mask off the image, and out of the project if it was accepted.\n"
                "Ctrl+Z takes that back.",
                "reject",
            )
        )
        self.shown.setTips(
            with_key("The masks", "toggle_masks"),
            with_key("All masks as outlines; otherwise the chosen one is filled", "toggle_outlines"),
            with_key("Blue: reviewed and right. Orange: corrected. Dark: never looked at, no label", "toggle_reviewed"),
            with_key("Where the model is unsure: by the queue's order, else by its entropy", "toggle_uncertainty"),
        )
        self.step.next.setToolTip(with_key("The next image of the queue", "next_item"))
        self.step.previous.setToolTip(with_key("The image before", "previous_item"))
        self.brush.setKey(words("toggle_spread"))
        self.threshold.setKeys(words("lower_threshold"), words("raise_threshold"))

    def _shortcut(self, key: str) -> QShortcut:
        shortcut = QShortcut(QKeySequence(key), self)
        shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        return shortcut


class _SteadyList(QComboBox):
    """A list that the wheel scrolls past: turning it over the dock must not choose another layer."""

    def wheelEvent(self, event: QWheelEvent | None) -> None:
        if event is not None:
            event.ignore()


def _list(name: str, tip: str) -> QComboBox:
    box = _SteadyList()
    box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    box.setAccessibleName(name)
    box.setToolTip(tip)
    return box


def _row(wide: QWidget, narrow: QWidget) -> QWidget:
    both = QWidget()
    row_of(wide, narrow, wide=wide, within=both)
    return both
