"""The Queue dock as it looks: widgets and layout, without viewer, model or project."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_amvlm._qt.layout import tab_through
from napari_amvlm._qt.widgets.export_button import ExportButton
from napari_amvlm._qt.widgets.progress_row import ProgressRow
from napari_amvlm._qt.widgets.queue_list import QueueList
from napari_amvlm._qt.widgets.queue_step import QueueStep
from napari_amvlm._qt.widgets.status_line import StatusLine

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_amvlm._qt.theme import Colours


class QueuePanel(QWidget):
    """Every widget of the dock, by name."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        # widgets
        self.list = QueueList()
        self.step = QueueStep()
        self.sort_button = QPushButton("Most instructive first")
        self.sort_button.setToolTip(
            "Let the served model look at every image to do, and put first what would teach it most: where two\n"
            "answers disagree (teacher and student of the run that made it; without a run, mask and text evidence),\n"
            "where its probability is far from 0 and 1, and what looks unlike the images before and those accepted.\n"
            "Runs in the background. An image's tooltip says how it was scored; the box 'unsure' shows where."
        )
        self.skip_button = QPushButton("Skip")
        self.skip_button.setToolTip("Leave the current image out, and go to the next; it can be listed under skipped")
        self.export_button = ExportButton()
        self.progress = ProgressRow()
        self.status = StatusLine()
        # layout
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 6, 6, 6)
        column.setSpacing(6)
        column.addWidget(self.list, 1)
        column.addWidget(self.step)
        row = QHBoxLayout()
        row.setSpacing(4)
        row.addWidget(self.sort_button, 1)
        row.addWidget(self.skip_button)
        row.addWidget(self.export_button)
        column.addLayout(row)
        column.addWidget(self.progress)
        column.addWidget(self.status)
        self.setMinimumWidth(280)
        self.setKeys(lambda _name: "")
        tab_through(self)

    def setColours(self, colours: Colours) -> None:
        """Take the colours of the theme."""
        self.status.setColours(warning=colours.warning, error=colours.error)

    def setKeys(self, key_text: Callable[[str], str]) -> None:
        """Show the keys that are in use; `key_text(name)` returns those of an action, empty where it has none."""
        for button, tip, name in (
            (self.step.next, "The next image of the list", "next_item"),
            (self.step.previous, "The image of the list before", "previous_item"),
        ):
            button.setToolTip(f"{tip} ({key_text(name)})" if key_text(name) else tip)
