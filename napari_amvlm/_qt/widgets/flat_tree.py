"""A table that is as low as it may be, and takes what height there is."""

from __future__ import annotations

from qtpy.QtCore import QSize
from qtpy.QtWidgets import QSizePolicy, QTreeWidget, QWidget


class FlatTree(QTreeWidget):
    """A tree that asks for `least` pixels of height, where Qt's own asks for 192, and grows into more."""

    def __init__(self, least: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._least = least
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)

    def sizeHint(self) -> QSize:
        """Return the wanted size."""
        return QSize(240, self._least)

    def minimumSizeHint(self) -> QSize:
        """Return the same height: there is nothing to see in less."""
        return QSize(60, self._least)
