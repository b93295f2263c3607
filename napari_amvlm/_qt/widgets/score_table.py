"""Dice of single images before and after a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QHeaderView, QSizePolicy, QTreeWidget, QTreeWidgetItem, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
        The key of an image to work on: Enter or a double click.
    looked : int
        The key of an image to look at: a click, or the arrow keys.
    """

    chosen = Signal(int)
    looked = Signal(int)

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
            "Dice on images that the model never learns from, the worst after the run first.\n"
            "A click compares both models on it; Enter or a double click opens it to be corrected."
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
        self._table.itemSelectionChanged.connect(self._on_selected)
        self._table.itemClicked.connect(lambda item, _column: self.looked.emit(int(item.data(0, _KEY))))
        self._table.itemActivated.connect(lambda item, _column: self.chosen.emit(int(item.data(0, _KEY))))

    def value(self) -> list[ScoreEntry]:
        """Return the entries in order."""
        return list(self._entries)

    def setValue(self, entries: Sequence[ScoreEntry]) -> None:
        """Replace the entries; the one that was selected stays so, if it is still there."""
        if list(entries) == self._entries:
            return
        selected = self.selected()
        self._entries = list(entries)
        with QSignalBlocker(self._table):
            self._fill()
        if selected is not None:
            self.select(selected)

    def selected(self) -> int | None:
        """Return the key of the selected image."""
        items = self._table.selectedItems()
        return int(items[0].data(0, _KEY)) if items else None

    def select(self, key: int) -> None:
        """Select an image, without telling anybody."""
        with QSignalBlocker(self._table):
            for index in range(self._table.topLevelItemCount()):
                item = self._table.topLevelItem(index)
                if item is not None and item.data(0, _KEY) == key:
                    self._table.setCurrentItem(item)

    def _fill(self) -> None:
        self._table.clear()
        for entry in self._entries:
            after = f"{_dice(entry.after)} {entry.change()}".strip()
            item = QTreeWidgetItem([entry.name, _dice(entry.before), after])
            item.setData(0, _KEY, entry.key)
            item.setToolTip(0, entry.name)
            for column in (1, 2):
                item.setTextAlignment(column, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            self._table.addTopLevelItem(item)

    def _on_selected(self) -> None:
        key = self.selected()
        if key is not None:
            self.looked.emit(key)


def worst_first(entries: Iterable[ScoreEntry]) -> list[ScoreEntry]:
    """Return entries by their Dice after the run, the worst first; those without a score come last."""
    return sorted(entries, key=lambda entry: (entry.after is None, entry.after or 0.0))


def _dice(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
