"""Dice of single images before and after a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHeaderView, QSizePolicy, QTreeWidget, QTreeWidgetItem, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from collections.abc import Sequence

_KEY = Qt.ItemDataRole.UserRole


@dataclass(frozen=True)
class ScoreEntry:
    """One held-out image; a Dice of None was not measured."""

    key: int
    name: str
    before: float | None
    after: float | None

    def change(self) -> str:
        """Return a sign for better, worse or the same."""
        if self.before is None or self.after is None or self.before == self.after:
            return ""
        return "\N{BLACK UP-POINTING TRIANGLE}" if self.after > self.before else "\N{BLACK DOWN-POINTING TRIANGLE}"


class ScoreTable(QWidget):
    """A table in the order that it is given.

    Signals
    -------
    chosen : int
        The key of an image to look at.
    """

    chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._entries: list[ScoreEntry] = []
        # widgets
        self._table = QTreeWidget()
        self._table.setColumnCount(3)
        self._table.setHeaderLabels(["Held-out image", "Before", "After"])
        self._table.setRootIsDecorated(False)
        self._table.setUniformRowHeights(True)
        self._table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._table.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self._table.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._table.setFixedHeight(110)
        self._table.setAccessibleName("Dice of held-out images before and after the run")
        self._table.setToolTip(
            "Dice on images that the model never learns from, the worst after the run first.\nDouble-click opens one."
        )
        header = self._table.header()
        if header is not None:
            header.setStretchLastSection(False)
            header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
            for column in (1, 2):
                header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        # layout
        column_ = QVBoxLayout(self)
        column_.setContentsMargins(0, 0, 0, 0)
        column_.addWidget(self._table)
        # signals
        self._table.itemActivated.connect(lambda item, _column: self.chosen.emit(int(item.data(0, _KEY))))

    def value(self) -> list[ScoreEntry]:
        """Return the entries in order."""
        return list(self._entries)

    def setValue(self, entries: Sequence[ScoreEntry]) -> None:
        """Replace the entries."""
        self._entries = list(entries)
        self._table.clear()
        for entry in self._entries:
            after = f"{_dice(entry.after)} {entry.change()}".strip()
            item = QTreeWidgetItem([entry.name, _dice(entry.before), after])
            item.setData(0, _KEY, entry.key)
            item.setToolTip(0, entry.name)
            for column in (1, 2):
                item.setTextAlignment(column, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            self._table.addTopLevelItem(item)


def _dice(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
