"""The probability from which a pixel belongs to the mask."""

from __future__ import annotations

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QDoubleSpinBox, QHBoxLayout, QSlider, QWidget


class ThresholdSlider(QWidget):
    """A slider and a number, 0 to 1.

    Signals
    -------
    valueChanged : float
        While the slider is dragged as well.
    dragStarted, dragEnded
        The mouse took and left the handle: one drag is one step of undo.
    """

    valueChanged = Signal(float)
    dragStarted = Signal()
    dragEnded = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        # widgets
        self._slider = QSlider(Qt.Orientation.Horizontal)
        self._slider.setRange(0, 100)
        self._slider.setPageStep(5)
        self._slider.setMinimumWidth(60)
        self._number = QDoubleSpinBox()
        self._number.setRange(0.0, 1.0)
        self._number.setDecimals(2)
        self._number.setSingleStep(0.01)
        self._number.setKeyboardTracking(False)
        self._number.setFixedWidth(72)
        tip = "Lower paints more, higher less.\nWorks on stored probabilities: the model does not run again."
        for part, name in ((self._slider, "Threshold slider"), (self._number, "Threshold")):
            part.setToolTip(tip)
            part.setAccessibleName(name)
        # layout
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._slider, 1)
        row.addWidget(self._number)
        # signals
        self._slider.valueChanged.connect(lambda step: self._on_changed(step / 100))
        self._number.valueChanged.connect(self._on_changed)
        self._slider.sliderPressed.connect(self.dragStarted)
        self._slider.sliderReleased.connect(self.dragEnded)
        self.setValue(0.5)

    def value(self) -> float:
        """Return the threshold."""
        return float(self._number.value())

    def setValue(self, value: float) -> None:
        """Show `value` without telling anybody."""
        with QSignalBlocker(self._slider), QSignalBlocker(self._number):
            self._slider.setValue(round(100 * value))
            self._number.setValue(value)

    def _on_changed(self, value: float) -> None:
        self.setValue(value)
        self.valueChanged.emit(self.value())
