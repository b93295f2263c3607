"""Dice of each prompt on single images before and after a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QHeaderView, QTreeWidgetItem, QVBoxLayout, QWidget

from napari_amvlm._qt.widgets.flat_tree import FlatTree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_KEY = Qt.ItemDataRole.UserRole
BETTER, WORSE, SAME = "\N{BLACK UP-POINTING TRIANGLE}", "\N{BLACK DOWN-POINTING TRIANGLE}", "\N{ALMOST EQUAL TO}"


@dataclass(frozen=True)
class ScoreEntry:
    """One prompt on one held-out image; a Dice of None was not measured."""

    key: int
    name: str
    before: float | None
    after: float | None
    prompt: str = ""
    corrected: bool = True

    def change(self) -> str:
        """Return a sign for better, worse or the same."""
        if self.before is None or self.after is None or self.before == self.after:
            return ""
        return BETTER if self.after > self.before else WORSE


@dataclass(frozen=True)
class PromptRow:
    """The row above the images of one prompt: means, a sign that says what they mean, and a tooltip."""

    before: float | None = None
    after: float | None = None
    sign: str = ""
    note: str = ""


class ScoreTable(QWidget):
    """Images below their prompts, in the order in which they are given.

    Signals
    -------
    chosen : int
        The key of an image to work on: Enter or a double click.
    looked : int, str
        The key of an image and the prompt to look at: a click, or the arrow keys.
    """

    chosen = Signal(int)
    looked = Signal(int, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._entries: list[ScoreEntry] = []
        self._rows: dict[str, PromptRow] = {}
        # widgets
        self._table = FlatTree(76)
        self._table.setColumnCount(3)
        self._table.setHeaderLabels(["Held-out image", "Before", "After"])
        self._table.setRootIsDecorated(False)
        self._table.setIndentation(12)
        self._table.setUniformRowHeights(True)
        self._table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._table.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self._table.setMaximumHeight(150)
        self._table.setAccessibleName("Dice of each prompt on held-out images before and after the run")
        self._table.setToolTip(
            "Dice on images that the model never learns from: the mean of each prompt, and below it its images,\n"
            "the worst after the run first. A click compares both models on an image; Enter or a double click opens\n"
            "it to be corrected."
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
        self._table.itemClicked.connect(lambda item, _column: self._look(item))
        self._table.itemActivated.connect(lambda item, _column: self._choose(item))

    def value(self) -> list[ScoreEntry]:
        """Return the entries in order."""
        return list(self._entries)

    def setValue(self, entries: Sequence[ScoreEntry], rows: Mapping[str, PromptRow] | None = None) -> None:
        """Replace the entries, and the rows of their prompts; the image that was selected stays selected."""
        rows = dict(rows or {})
        if list(entries) == self._entries and rows == self._rows:
            return
        selected = self.selected()
        self._entries, self._rows = list(entries), rows
        with QSignalBlocker(self._table):
            self._fill()
        if selected is not None:
            self.select(*selected)

    def selected(self) -> tuple[int, str] | None:
        """Return key and prompt of the selected image."""
        entries = [item.data(0, _KEY) for item in self._table.selectedItems()]
        return (entries[0].key, entries[0].prompt) if entries and entries[0] is not None else None

    def select(self, key: int, prompt: str | None = None) -> None:
        """Select an image, by default below the first prompt that has it, without a signal."""
        with QSignalBlocker(self._table):
            for item in self._items():
                entry = item.data(0, _KEY)
                if entry.key == key and prompt in (None, entry.prompt):
                    self._table.setCurrentItem(item)
                    return

    def _items(self) -> Iterator[QTreeWidgetItem]:
        for index in range(self._table.topLevelItemCount()):
            above = self._table.topLevelItem(index)
            for child in range(above.childCount() if above is not None else 0):
                item = above.child(child) if above is not None else None
                if item is not None:
                    yield item

    def _fill(self) -> None:
        self._table.clear()
        above: dict[str, QTreeWidgetItem] = {}
        for entry in self._entries:
            if entry.prompt not in above:
                above[entry.prompt] = self._heading(entry.prompt)
            after = "not corrected" if not entry.corrected else f"{_dice(entry.after)} {entry.change()}".strip()
            item = _row(entry.name, _dice(entry.before) if entry.corrected else "", after)
            item.setData(0, _KEY, entry)
            if not entry.corrected:
                for column in range(3):
                    item.setToolTip(column, f"{entry.name} was accepted as the model drew it, so it judges nothing.")
            above[entry.prompt].addChild(item)
        self._table.expandAll()

    def _heading(self, prompt: str) -> QTreeWidgetItem:
        row = self._rows.get(prompt, PromptRow())
        item = _row(prompt or "all prompts", _dice(row.before), f"{_dice(row.after)} {row.sign}".strip())
        for column in range(3):
            font = item.font(column)
            font.setBold(True)
            item.setFont(column, font)
            item.setToolTip(column, row.note or prompt)
        item.setFlags(Qt.ItemFlag.ItemIsEnabled)
        self._table.addTopLevelItem(item)
        return item

    def _look(self, item: QTreeWidgetItem) -> None:
        entry = item.data(0, _KEY)
        if entry is not None:
            self.looked.emit(entry.key, entry.prompt)

    def _choose(self, item: QTreeWidgetItem) -> None:
        entry = item.data(0, _KEY)
        if entry is not None:
            self.chosen.emit(entry.key)

    def _on_selected(self) -> None:
        selected = self.selected()
        if selected is not None:
            self.looked.emit(*selected)


def worst_first(entries: Iterable[ScoreEntry]) -> list[ScoreEntry]:
    """Return entries by their Dice after the run, the worst first; those without a score come last."""
    return sorted(entries, key=lambda entry: (entry.after is None, entry.after or 0.0))


def _row(name: str, before: str, after: str) -> QTreeWidgetItem:
    item = QTreeWidgetItem([name, before, after])
    item.setToolTip(0, name)
    for column in (1, 2):
        item.setTextAlignment(column, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    return item


def _dice(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
