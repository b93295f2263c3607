"""Which other text model answers for words that ours was not taught: its name and licence, and a button to choose."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QInputDialog, QMenu, QPushButton, QWidget

from napari_amvlm._qt.layout import wrapped_label

_HUB = "hub:"


class TextModelRow(QWidget):
    """A line and a button with a menu.

    Signals
    -------
    picked : str
        A folder, `hub:OWNER/NAME`, or nothing where the model is to be removed.
    """

    picked = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        # widgets
        self._line = wrapped_label("Text model for words that were not taught")
        self._button = QPushButton("Other words")
        self._button.setToolTip("Choose CLIPSeg or SAM 3 to answer for words that the model was not taught")
        menu = QMenu(self)
        for label, call in (
            ("From a folder ...", self.choose_folder),
            ("Fetch from the hub ...", self.choose_name),
            ("None", lambda: self.picked.emit("")),
        ):
            entry = menu.addAction(label)
            if entry is not None:
                entry.triggered.connect(lambda _checked, call=call: call())
        self._button.setMenu(menu)
        # layout
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._line, 1)
        row.addWidget(self._button)
        self.setValue("", "")

    def value(self) -> str:
        """Return what is shown."""
        return self._line.text()

    def setValue(self, name: str, licence: str) -> None:
        """Show a model by name and licence; an empty name shows that there is none."""
        self._line.setText(f"{name}, licence: {licence}" if name else "words not taught: no other model")

    def choose_folder(self) -> None:
        """Ask for a folder."""
        folder = QFileDialog.getExistingDirectory(self, "Folder of CLIPSeg or SAM 3")
        if folder:
            self.picked.emit(folder)

    def choose_name(self) -> None:
        """Ask for a name on the hub."""
        text, _ = QInputDialog.getText(
            self, "Fetch a text model", "OWNER/NAME on the hub. It is downloaded; its licence is shown."
        )
        name = text.strip().removeprefix(_HUB)
        if name:
            self.picked.emit(f"{_HUB}{name}")
