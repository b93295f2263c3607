"""Every key and what it does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFormLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget
from superqt import QCollapsible

if TYPE_CHECKING:
    from collections.abc import Sequence

_CLOSED = "\N{BLACK RIGHT-POINTING SMALL TRIANGLE}"
_CHANGE = "Change them in napari: File, Preferences, Shortcuts, at the end of the list."


class KeyHelp(QWidget):
    """A section that opens: keys on the left, what they do on the right."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._lines: list[tuple[str, str]] = []
        # widgets
        self._section = section("Keys", "Every key of the docks")
        self._body = QWidget()
        # layout
        self._form = QFormLayout(self._body)
        self._form.setContentsMargins(0, 0, 0, 0)
        self._form.setVerticalSpacing(2)
        self._section.addWidget(self._body)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._section)

    def value(self) -> list[tuple[str, str]]:
        """Return the lines: keys, and what they do."""
        return list(self._lines)

    def setValue(self, lines: Sequence[tuple[str, str]]) -> None:
        """Replace the lines."""
        self._lines = list(lines)
        while self._form.rowCount():
            self._form.removeRow(0)
        for keys, description in self._lines:
            self._form.addRow(_label(keys or "none", bold=True), _label(description))
        self._form.addRow(_label(_CHANGE))


def section(title: str, tip: str) -> QCollapsible:
    """Return a section that the mouse and the keyboard open and close; it is closed at first."""
    collapsible = QCollapsible(title, expandedIcon="\N{BLACK DOWN-POINTING SMALL TRIANGLE}", collapsedIcon=_CLOSED)
    collapsible.setDuration(0)
    for layout in (collapsible.layout(), collapsible.content().layout()):
        if layout is not None:
            layout.setContentsMargins(0, 0, 0, 0)
    collapsible.toggleButton().setAccessibleName(title)
    collapsible.toggleButton().setToolTip(tip)
    collapsible.toggleButton().setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    return collapsible


def _label(text: str, *, bold: bool = False) -> QLabel:
    label = QLabel(text)
    label.setTextFormat(Qt.TextFormat.PlainText)
    if bold:
        font = label.font()
        font.setBold(True)
        label.setFont(font)
    else:
        label.setWordWrap(True)
        label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.MinimumExpanding)
    return label
