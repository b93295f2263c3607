"""Layout shared by both docks: a column that scrolls, and rows with a name in front."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFormLayout, QFrame, QLabel, QScrollArea, QSizePolicy, QVBoxLayout, QWidget


class ScrollColumn(QScrollArea):
    """A dock's body: it scrolls up and down when there is too little height, and never sideways."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setMinimumHeight(220)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        body = QWidget()
        self.column = QVBoxLayout(body)
        self.column.setContentsMargins(8, 6, 8, 6)
        self.column.setSpacing(6)
        self.setWidget(body)

    def add(self, widget: QWidget) -> None:
        """Add a widget at the bottom."""
        self.column.addWidget(widget)


def named_rows(rows: dict[str, QWidget]) -> QFormLayout:
    """Return a form with a name in front of each widget, and each name tied to its widget for the keyboard."""
    form = QFormLayout()
    form.setContentsMargins(0, 0, 0, 0)
    form.setHorizontalSpacing(6)
    form.setVerticalSpacing(4)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.DontWrapRows)
    form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
    for name, widget in rows.items():
        label = QLabel(name)
        label.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Preferred)
        label.setBuddy(widget)
        label.setToolTip(widget.toolTip())
        form.addRow(label, widget)
    return form


def heading(text: str) -> QLabel:
    """Return a line that names what follows."""
    label = QLabel(text)
    font = label.font()
    font.setBold(True)
    label.setFont(font)
    return label
