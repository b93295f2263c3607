"""Layout shared by the docks: a column that scrolls, rows of widgets, and the way that Tab takes."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QLocale, QObject, QSize, Qt
from qtpy.QtGui import QDoubleValidator
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qtpy.QtWidgets import QLayout


_NARROWEST = 280
"""Least width of a dock's body, pixels."""

_ARROWS = 62
"""Width of both arrows of a number, pixels: they lie at its sides in the style of napari."""


class ScrollColumn(QScrollArea):
    """A dock's body: it scrolls up and down when there is too little height, and never sideways.

    It is never narrower than what it holds, which a large font widens.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setMinimumSize(_NARROWEST, 220)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        body = QWidget()
        self.column = QVBoxLayout(body)
        self.column.setContentsMargins(8, 6, 8, 6)
        self.column.setSpacing(6)
        self.setWidget(body)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Follow the width of what it holds."""
        body, viewport = self.widget(), self.viewport()
        if event is not None and event.type() in (QEvent.Type.LayoutRequest, QEvent.Type.Resize) and body and viewport:
            beside = self.width() - viewport.width()
            self.setMinimumWidth(max(_NARROWEST, body.minimumSizeHint().width() + beside))
        return super().eventFilter(watched, event)

    def add(self, *widgets: QWidget) -> None:
        """Add widgets at the bottom."""
        for widget in widgets:
            self.column.addWidget(widget)


class NumberBox(QDoubleSpinBox):
    """A number between its two arrows, as wide as `widest` in whatever font is in use.

    Comma and point are both the decimal sign: what is the one in a language parts thousands in the next.
    """

    def __init__(self, widest: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._widest = widest
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        """Return the size of the text and both arrows."""
        return QSize(self.fontMetrics().horizontalAdvance(self._widest) + _ARROWS, super().sizeHint().height())

    def minimumSizeHint(self) -> QSize:
        """Return the same size: a number that is cut off is another number."""
        return self.sizeHint()

    def validate(self, text: str | None, position: int) -> Any:
        """Take the decimal sign of any language."""
        return super().validate(self._with_sign(text), position)

    def valueFromText(self, text: str | None) -> float:
        """Take the decimal sign of any language."""
        return super().valueFromText(self._with_sign(text))

    def _with_sign(self, text: str | None) -> str:
        sign = self.locale().decimalPoint()
        return (text or "").replace(".", sign).replace(",", sign)


class DecimalValidator(QDoubleValidator):
    """Takes a comma for a decimal point, in any language."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.setLocale(QLocale.c())
        self.setNotation(QDoubleValidator.Notation.StandardNotation)

    def validate(self, text: str | None, position: int) -> Any:
        """Replace commas by points."""
        return super().validate((text or "").replace(",", "."), position)


def row_of(
    *widgets: QWidget, wide: QWidget | None = None, within: QWidget | None = None, spacing: int = 4
) -> QHBoxLayout:
    """Return widgets side by side, without margins.

    Parameters
    ----------
    wide
        The one that takes what room there is; None lets all share it.
    within
        The widget that they fill.
    spacing
        Between two of them, pixels.
    """
    row = QHBoxLayout(within) if within is not None else QHBoxLayout()
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(spacing)
    for widget in widgets:
        row.addWidget(widget, int(wide in (None, widget)))
    return row


def list_box(name: str, tip: str = "") -> QComboBox:
    """Return a list that is as wide as there is room, whatever its entries; `name` is what screen readers say."""
    box = QComboBox()
    box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    box.setAccessibleName(name)
    box.setToolTip(tip)
    return box


def wrapped_label(name: str = "") -> QLabel:
    """Return a label whose text wraps at any width; `name` is what screen readers say."""
    label = QLabel()
    label.setWordWrap(True)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.MinimumExpanding)
    label.setAccessibleName(name)
    return label


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


def tab_through(panel: QWidget) -> None:
    """Let Tab go through a panel in the order of its layout, whatever the order in which its parts were made."""
    for first, second in itertools.pairwise(_focusable(panel)):
        QWidget.setTabOrder(first, second)


def _focusable(widget: QWidget) -> Iterator[QWidget]:
    if isinstance(widget, QScrollArea):
        inner = widget.widget()
        if inner is not None:
            yield from _focusable(inner)
        return
    if widget.focusPolicy() & Qt.FocusPolicy.TabFocus:
        yield widget
    layout = widget.layout()
    if layout is not None:
        yield from _in_layout(layout)


def _in_layout(layout: QLayout) -> Iterator[QWidget]:
    for index in range(layout.count()):
        item = layout.itemAt(index)
        widget, inner = (item.widget(), item.layout()) if item is not None else (None, None)
        if widget is not None:
            yield from _focusable(widget)
        elif inner is not None:
            yield from _in_layout(inner)
