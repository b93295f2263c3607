"""Models to choose from: name, score, licence, and which one serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QPushButton,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_amvlm._qt.layout import row_of
from napari_amvlm._qt.widgets.flat_tree import FlatTree

if TYPE_CHECKING:
    from collections.abc import Sequence

_KEY = Qt.ItemDataRole.UserRole


@dataclass(frozen=True)
class ModelEntry:
    """One model as it is shown; `dice` is that on the project's held-out images, if it was scored there."""

    key: str
    name: str
    licence: str
    dice: float | None = None
    parent: str = ""
    details: str = ""
    serving: bool = False


class ModelList(QWidget):
    """A table of models and a button that makes the chosen one serve.

    Signals
    -------
    serveRequested : str
        The key of a model.
    compareRequested : str
        The key of a model that was learnt in the project: it is to be looked at beside the one it came from.
    rollBackRequested
        What served before is to serve again.
    """

    serveRequested = Signal(str)
    compareRequested = Signal(str)
    rollBackRequested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._entries: list[ModelEntry] = []
        self._enabled = True
        self._can_roll_back = False
        # widgets
        self._table = FlatTree(60)
        self._table.setColumnCount(3)
        self._table.setHeaderLabels(["Model", "Dice", "Licence"])
        self._table.setRootIsDecorated(False)
        self._table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self._table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._table.setMaximumHeight(76)
        self._table.setAccessibleName("Models")
        self._table.setToolTip("Every model of this project and those installed; the filled dot serves")
        header = self._table.header()
        if header is not None:
            header.setStretchLastSection(False)
            header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
            header.setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
            header.setSectionResizeMode(2, QHeaderView.ResizeMode.ResizeToContents)
        self._serve = QPushButton("Serve")
        self._serve.setToolTip("Let the chosen model draw the masks from now on; any other is one click away")
        self._compare = QPushButton("Compare")
        self._compare.setToolTip("Look at the chosen model beside the one it was learnt from, on the held-out images")
        self._roll_back = QPushButton("Roll back")
        self._roll_back.setToolTip("Let the model serve again that served before; pressed again, the one before that")
        # layout
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self._table)
        column.addLayout(row_of(self._serve, self._compare, self._roll_back))
        # signals
        self._table.itemSelectionChanged.connect(self._on_selected)
        self._table.itemDoubleClicked.connect(lambda *_: self._on_serve())
        self._serve.clicked.connect(self._on_serve)
        self._compare.clicked.connect(self._on_compare)
        self._roll_back.clicked.connect(lambda: self.rollBackRequested.emit())
        self.setRollBackEnabled(False)
        self._on_selected()

    def value(self) -> list[ModelEntry]:
        """Return the entries in order."""
        return list(self._entries)

    def setValue(self, entries: Sequence[ModelEntry]) -> None:
        """Replace the entries; the selection stays where it can."""
        if list(entries) == self._entries:
            return
        selected = self.selected()
        self._entries = list(entries)
        if selected not in [entry.key for entry in self._entries]:
            selected = next((entry.key for entry in self._entries if entry.serving), None)
        self._table.clear()
        for entry in self._entries:
            dot = "\N{BLACK CIRCLE} " if entry.serving else "\N{WHITE CIRCLE} "
            dice = "" if entry.dice is None else f"{entry.dice:.3f}"
            item = QTreeWidgetItem([dot + entry.name, dice, entry.licence])
            item.setData(0, _KEY, entry.key)
            state = "serving" if entry.serving else "not serving"
            born = f"from {entry.parent}" if entry.parent else "installed"
            item.setToolTip(0, f"{entry.name} ({state}, {born})\n{entry.details}".strip())
            font = item.font(0)
            font.setBold(entry.serving)
            item.setFont(0, font)
            self._table.addTopLevelItem(item)
            item.setSelected(entry.key == selected)
        self._on_selected()

    def selected(self) -> str | None:
        """Return the key of the chosen model."""
        items = self._table.selectedItems()
        return str(items[0].data(0, _KEY)) if items else None

    def select(self, key: str) -> None:
        """Choose a model."""
        for index in range(self._table.topLevelItemCount()):
            item = self._table.topLevelItem(index)
            if item is not None:
                item.setSelected(item.data(0, _KEY) == key)

    def setServeEnabled(self, enabled: bool) -> None:
        """Allow a change of the served model, or not."""
        self._enabled = enabled
        self.setRollBackEnabled(self._can_roll_back)
        self._on_selected()

    def setRollBackEnabled(self, enabled: bool) -> None:
        """Allow going back, or not: the installed model has nothing before it."""
        self._can_roll_back = enabled
        self._roll_back.setEnabled(self._enabled and enabled)

    def _entry(self) -> ModelEntry | None:
        key = self.selected()
        return next((entry for entry in self._entries if entry.key == key), None)

    def _on_selected(self) -> None:
        entry = self._entry()
        self._serve.setEnabled(self._enabled and entry is not None and not entry.serving)
        self._compare.setEnabled(entry is not None and bool(entry.parent))

    def _on_compare(self) -> None:
        entry = self._entry()
        if entry is not None:
            self.compareRequested.emit(entry.key)

    def _on_serve(self) -> None:
        entry = self._entry()
        if entry is not None and self._enabled and not entry.serving:
            self.serveRequested.emit(entry.key)
