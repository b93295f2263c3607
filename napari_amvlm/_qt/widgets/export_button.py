"""The format of an export, and the file or folder that it goes to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QMenu, QPushButton, QWidget

from napari_amvlm.exports.formats import FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_amvlm.exports import FormatName


class ExportButton(QPushButton):
    """A button with a menu of formats; then it asks for the file or folder.

    Signals
    -------
    requested : str, Path
        A key of `FORMATS`, and its file or folder.
    """

    requested = Signal(str, object)

    def __init__(
        self, *, pick: Callable[[QWidget, FormatName], str] | None = None, parent: QWidget | None = None
    ) -> None:
        super().__init__("Export", parent)
        self._pick = pick or _pick
        self.setToolTip("Write the accepted masks of the project for other programs")
        menu = QMenu(self)
        for kind, form in FORMATS.items():
            entry = menu.addAction(f"{form.title}{'' if form.file else ', a folder'} ...")
            if entry is not None:
                entry.triggered.connect(lambda _checked, kind=kind: self.choose(kind))
        self.setMenu(menu)

    def choose(self, kind: FormatName) -> None:
        """Ask where to export to in the format `kind`."""
        picked = self._pick(self, kind)
        if picked:
            self.requested.emit(kind, Path(picked))


def _pick(parent: QWidget, kind: FormatName) -> str:
    form = FORMATS[kind]
    if form.file:
        ending = Path(form.file).suffix
        picked, _ = QFileDialog.getSaveFileName(parent, "Export", form.file, f"{form.title} (*{ending})")
        return str(picked)
    return str(QFileDialog.getExistingDirectory(parent, "Folder to export to"))
