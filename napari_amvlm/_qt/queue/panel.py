"""The Queue dock as it looks: widgets and layout, without viewer, model or project."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_amvlm._qt.layout import row_of, tab_through
from napari_amvlm._qt.widgets.add_button import AddButton
from napari_amvlm._qt.widgets.export_button import ExportButton
from napari_amvlm._qt.widgets.progress_row import ProgressRow
from napari_amvlm._qt.widgets.queue_list import QueueList
from napari_amvlm._qt.widgets.queue_step import QueueStep
from napari_amvlm._qt.widgets.status_line import StatusLine

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtGui import QDragEnterEvent, QDropEvent

    from napari_amvlm._qt.theme import Colours

_STATUS_LINES = 4


class QueuePanel(QWidget):
    """Every widget of the dock, by name.

    Signals
    -------
    pathsDropped : list of Path
        Files and folders that were dropped on the panel.
    """

    pathsDropped = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAcceptDrops(True)
        # widgets
        self.list = QueueList()
        self.list.setMinimumWidth(256)
        self.step = QueueStep()
        self.add_button = AddButton()
        self.sort_button = QPushButton("Most instructive first")
        self.sort_button.setToolTip(
            "Score every image that is to do with the served model, and put first what would teach it most: where\n"
            "two answers disagree (teacher and student of the run that made it; without a run, mask and text\n"
            "evidence), where its probability is far from 0 and 1, and what looks unlike other images.\n"
            "Runs in the background. An image's tooltip shows its scores; the box 'unsure' shows where."
        )
        self.skip_button = QPushButton("Skip")
        self.skip_button.setToolTip("Leave the current image out, and go to the next; it can be listed under skipped")
        self.export_button = ExportButton()
        self.progress = ProgressRow()
        self.status = StatusLine(lines=_STATUS_LINES)  # of a fixed height, so that no button moves
        # layout
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 6, 6, 6)
        column.setSpacing(6)
        column.addLayout(row_of(self.add_button, self.export_button, wide=self.add_button))
        column.addWidget(self.list, 1)
        column.addWidget(self.step)
        column.addLayout(row_of(self.sort_button, self.skip_button, wide=self.sort_button))
        column.addWidget(self.progress)
        column.addWidget(self.status)
        self.setKeys(lambda _name: "")
        tab_through(self)

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:
        """Accept files and folders."""
        if event is not None and _local_paths(event):
            _accept_copy(event)

    def dropEvent(self, event: QDropEvent | None) -> None:
        """Hand on the files and folders."""
        if event is not None:
            _accept_copy(event)
            self.pathsDropped.emit(_local_paths(event))

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


def _accept_copy(event: QDropEvent) -> None:
    """Accept as a copy: a file manager may delete what it was told is moved."""
    event.setDropAction(Qt.DropAction.CopyAction)
    event.accept()


def _local_paths(event: QDropEvent) -> list[Path]:
    mime = event.mimeData()
    return [Path(url.toLocalFile()) for url in mime.urls() if url.isLocalFile()] if mime is not None else []
