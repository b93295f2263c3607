"""The probability from which a pixel belongs to the mask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt
from superqt import QLabeledDoubleSlider

from napari_amvlm._qt.layout import DecimalValidator

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget


class ThresholdSlider(QLabeledDoubleSlider):
    """A slider with its number, 0 to 1; `valueChanged` speaks while it is dragged as well.

    From `sliderPressed` to `sliderReleased` is one step of undo.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self.setRange(0.0, 1.0)
        self._slider.setSingleStep(0.01)
        self._slider.setPageStep(0.05)
        self._slider.setMinimumWidth(60)
        self._slider.setAccessibleName("Threshold slider")
        self._label.setAccessibleName("Threshold")
        self._label.setMinimumWidth(40)
        self._label.setValidator(DecimalValidator(self._label))
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setKeys("", "")
        self.show_value(0.5)

    def show_value(self, value: float) -> None:
        """Show `value` without telling anybody."""
        with QSignalBlocker(self):
            self.setValue(value)

    def step_by(self, by: float) -> None:
        """Move the threshold, as a person would."""
        self.setValue(self.value() + by)

    def setKeys(self, lower: str, higher: str) -> None:
        """Say in the tooltip which keys change the threshold."""
        keys = f"\nKeys: {lower} down, {higher} up." if lower and higher else ""
        for part in (self, self._slider, self._label):
            part.setToolTip(
                f"Lower paints more, higher less.\nWorks on stored probabilities: the model does not run again.{keys}"
            )
