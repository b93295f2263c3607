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
        self._slider.setAccessibleName("Threshold slider")
        self._number.setAccessibleName("Threshold")
        self.setKeys("", "")
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

    def stepBy(self, by: float) -> None:
        """Move the threshold, as a person would."""
        self._number.setValue(self._number.value() + by)

    def setKeys(self, lower: str, higher: str) -> None:
        """Say in the tooltip which keys change the threshold."""
        keys = f"\nKeys: {lower} down, {higher} up." if lower and higher else ""
        for part in (self._slider, self._number):
            part.setToolTip(
                f"Lower paints more, higher less.\nWorks on stored probabilities: the model does not run again.{keys}"
            )

    def _on_changed(self, value: float) -> None:
        self.setValue(value)
        self.valueChanged.emit(self.value())
