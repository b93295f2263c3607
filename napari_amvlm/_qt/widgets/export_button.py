"""The format of an export, and the file or folder that it goes to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QMenu, QPushButton, QWidget

from napari_amvlm.session.export import CHOICES

if TYPE_CHECKING:
    from napari_amvlm.session.export import Choice


class ExportButton(QPushButton):
    """A button with a menu of formats, measurements and a report; then it asks for the file or folder.

    Signals
    -------
    requested : str, Path
        A key of `CHOICES`, and its file or folder.
    """

    requested = Signal(str, object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Export", parent)
        self.setToolTip("Write the accepted masks of the project for other programs")
        menu = QMenu(self)
        for kind, (title, file) in CHOICES.items():
            if kind == "measurements":
                menu.addSeparator()
            entry = menu.addAction(f"{title}{'' if file else ', a folder'} ...")
            if entry is not None:
                entry.triggered.connect(lambda _checked, kind=kind: self.choose(kind))
        self.setMenu(menu)

    def choose(self, kind: Choice) -> None:
        """Ask where to export to in the format `kind`."""
        title, file = CHOICES[kind]
        if file:
            picked, _ = QFileDialog.getSaveFileName(self, "Export", file, f"{title} (*{Path(file).suffix})")
        else:
            picked = QFileDialog.getExistingDirectory(self, "Folder to export to")
        if picked:
            self.requested.emit(kind, Path(picked))
