"""The format of an export, and the file or folder that it goes to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QMenu, QPushButton, QWidget

if TYPE_CHECKING:
    from collections.abc import Callable

FORMATS = {
    "coco": "COCO file, every object ...",
    "geojson": "GeoJSON for QuPath, a folder ...",
    "tiff": "Label images as TIFF, a folder ...",
    "png": "Label images as PNG, a folder ...",
}


class ExportButton(QPushButton):
    """A button with a menu of formats; then it asks for the file or folder.

    Signals
    -------
    requested : str, Path
        A key of `FORMATS`, and a file (coco) or a folder.
    """

    requested = Signal(str, object)

    def __init__(self, *, pick: Callable[[QWidget, str], str] | None = None, parent: QWidget | None = None) -> None:
        super().__init__("Export", parent)
        self._pick = pick or _pick
        self.setToolTip("Write the accepted masks of the project for other programs")
        menu = QMenu(self)
        for kind, label in FORMATS.items():
            entry = menu.addAction(label)
            if entry is not None:
                entry.triggered.connect(lambda _checked, kind=kind: self.choose(kind))
        self.setMenu(menu)

    def choose(self, kind: str) -> None:
        """Ask where to export to in the format `kind`."""
        picked = self._pick(self, kind)
        if picked:
            self.requested.emit(kind, Path(picked))


def _pick(parent: QWidget, kind: str) -> str:
    if kind == "coco":
        picked, _ = QFileDialog.getSaveFileName(parent, "Export as COCO", "masks.json", "COCO (*.json)")
        return str(picked)
    return str(QFileDialog.getExistingDirectory(parent, "Folder to export to"))
