"""How much of a slide or a stack is to be looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QSpinBox, QVBoxLayout, QWidget

from napari_amvlm._qt.layout import list_box

Part = Literal["here", "range", "all"]
Kind = Literal["plane", "slide", "stack"]

_WORDS: dict[Kind, dict[Part, str]] = {
    "plane": {"here": "the image"},
    "slide": {"here": "in view", "all": "whole slide"},
    "stack": {"here": "this slice", "range": "slices", "all": "whole stack"},
}
_TIPS: dict[Kind, str] = {
    "plane": "",
    "slide": (
        "in view: what the window shows, at full resolution\n"
        "whole slide: what is in view first, then the rest, without empty glass;\n"
        "cancel at any time, and Run goes on where it was"
    ),
    "stack": "this slice: the one in view\nslices: a range of them\nwhole stack: all slices, one after the other",
}


@dataclass(frozen=True)
class Extent:
    """What is to be looked at; `slices`, first and last from 0, goes with "range"."""

    part: Part = "here"
    slices: tuple[int, int] | None = None


class ExtentChoice(QWidget):
    """Part of a slide or a stack; hidden where an image is one plane.

    Signals
    -------
    valueChanged : Extent
    """

    valueChanged = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._kind: Kind = "plane"
        self._label: QWidget | None = None
        # widgets
        self._part = list_box("Where")
        self._first, self._last = _number("First slice"), _number("Last slice")
        self._to = QLabel("to")
        # layout
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self._part)
        # in a row of their own: beside the list they would not fit into a narrow dock
        row = QHBoxLayout()
        row.setSpacing(4)
        row.addWidget(self._first, 1)
        row.addWidget(self._to)
        row.addWidget(self._last, 1)
        column.addLayout(row)
        # signals
        self._part.currentIndexChanged.connect(self._on_changed)
        self._first.valueChanged.connect(self._on_first_changed)
        self._last.valueChanged.connect(self._on_last_changed)
        self._refill()

    def setLabel(self, label: QWidget | None) -> None:
        """Show and hide a label with the choice."""
        self._label = label
        self._show_parts()

    def setKind(self, kind: Kind, slices: int = 1) -> None:
        """Offer what there is of a plane, a slide, or a stack of so many slices."""
        if (kind, slices - 1) == (self._kind, self._last.maximum()):
            return
        with QSignalBlocker(self._first), QSignalBlocker(self._last):
            for number in (self._first, self._last):
                number.setRange(0, max(slices - 1, 0))
            self._first.setValue(0)
            self._last.setValue(max(slices - 1, 0))
        self._kind = kind
        self._refill()

    def value(self) -> Extent:
        """Return what is chosen."""
        part: Part = self._part.currentData()
        return Extent(part, (self._first.value(), self._last.value()) if part == "range" else None)

    def setValue(self, value: Extent) -> None:
        """Show `value` without telling anybody; what is not offered leaves it as it is."""
        index = self._part.findData(value.part)
        if index < 0:
            return
        with QSignalBlocker(self._part), QSignalBlocker(self._first), QSignalBlocker(self._last):
            self._part.setCurrentIndex(index)
            if value.slices is not None:
                self._first.setValue(value.slices[0])
                self._last.setValue(value.slices[1])
        self._show_parts()

    def _refill(self) -> None:
        with QSignalBlocker(self._part):
            self._part.clear()
            for part, words in _WORDS[self._kind].items():
                self._part.addItem(words, part)
        for widget in (self, self._part):
            widget.setToolTip(_TIPS[self._kind])
        self._show_parts()

    def _show_parts(self) -> None:
        for number in (self._first, self._to, self._last):
            number.setVisible(self._part.currentData() == "range")
        self.setVisible(self._kind != "plane")
        if self._label is not None:
            self._label.setVisible(self._kind != "plane")

    def _on_changed(self) -> None:
        self._show_parts()
        self.valueChanged.emit(self.value())

    def _on_first_changed(self, value: int) -> None:
        if value > self._last.value():
            with QSignalBlocker(self._last):
                self._last.setValue(value)
        self.valueChanged.emit(self.value())

    def _on_last_changed(self, value: int) -> None:
        if value < self._first.value():
            with QSignalBlocker(self._first):
                self._first.setValue(value)
        self.valueChanged.emit(self.value())


def _number(name: str) -> QSpinBox:
    box = QSpinBox()
    box.setAccessibleName(name)
    box.setToolTip(f"{name}, counted from 0 as the slider below the image does")
    box.setKeyboardTracking(False)
    box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    return box
