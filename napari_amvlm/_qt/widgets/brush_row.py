"""Size of the brush, and how far its strokes spread."""

from __future__ import annotations

from typing import Literal

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QSpinBox, QWidget

from napari_amvlm._qt.layout import list_box, row_of

SpreadTo = Literal["off", "near", "whole"]

_WORDS: dict[SpreadTo, str] = {"off": "off", "near": "near", "whole": "whole"}


class BrushRow(QWidget):
    """The size of the brush in pixels, and beside it how far a stroke spreads.

    Signals
    -------
    valueChanged : str
        "off", "near" or "whole".
    sizeChanged : int
    """

    valueChanged = Signal(str)
    sizeChanged = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        # widgets
        self.brush_size = QSpinBox()
        self.brush_size.setRange(1, 500)
        self.brush_size.setKeyboardTracking(False)
        self.brush_size.setAccessibleName("Brush size")
        self.brush_size.setToolTip("Size of the brush in pixels, as in napari's own controls")
        self.brush_size.setFixedWidth(66)
        self.spread = list_box("How far strokes spread")
        for key, words in _WORDS.items():
            self.spread.addItem(words, key)
        # layout
        row_of(self.brush_size, self.spread, wide=self.spread, within=self)
        # signals
        self.brush_size.valueChanged.connect(self.sizeChanged)
        self.spread.currentIndexChanged.connect(lambda: self.valueChanged.emit(self.value()))
        self.setKey("")

    def value(self) -> SpreadTo:
        """Return how far strokes spread."""
        chosen: SpreadTo = self.spread.currentData()
        return chosen

    def step(self) -> None:
        """Choose the next of off, near and whole image."""
        self.spread.setCurrentIndex((self.spread.currentIndex() + 1) % self.spread.count())

    def showSize(self, size: int) -> None:
        """Show the size of the brush without telling anybody."""
        with QSignalBlocker(self.brush_size):
            self.brush_size.setValue(size)

    def setKey(self, key: str) -> None:
        """Say in the tooltip which key changes the spread."""
        self.spread.setToolTip(
            "off: a stroke changes what it paints or erases\n"
            "near: what looks alike near the stroke follows\n"
            "whole: what looks alike anywhere in the image follows\n"
            "What you painted stays as you painted it." + (f"\nKey: {key}" if key else "")
        )
