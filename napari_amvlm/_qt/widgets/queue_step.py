"""The position in the queue, and a step to the next or the previous item."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QWidget

from napari_amvlm._qt.layout import row_of
from napari_amvlm._qt.widgets.eliding import ElidingLine


class QueueStep(QWidget):
    """Two buttons and a line.

    Signals
    -------
    stepped : int
        1 to the next item, -1 to the one before.
    """

    stepped = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        # widgets
        self.previous = QPushButton("Back")
        self.next = QPushButton("Next")
        self._position = ElidingLine("")
        self._position.setAccessibleName("Position in the queue")
        # layout
        row_of(self._position, self.previous, self.next, wide=self._position, within=self)
        # signals
        self.previous.clicked.connect(lambda: self.stepped.emit(-1))
        self.next.clicked.connect(lambda: self.stepped.emit(1))
        self.setValue("")

    def value(self) -> str:
        """Return the line."""
        return self._position.text()

    def setValue(self, position: str) -> None:
        """Show the position; where it is empty the queue is empty and the buttons are off."""
        self._position.setText(position or "the queue is empty")
        self.previous.setEnabled(bool(position))
        self.next.setEnabled(bool(position))
