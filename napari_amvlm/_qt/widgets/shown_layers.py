"""What is shown over the image, and how much of it was reviewed."""

from __future__ import annotations

from dataclasses import dataclass

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QCheckBox, QGridLayout, QLabel, QSizePolicy, QWidget

NEVER = "#202020"
RIGHT = "#3b9dff"
CORRECTED = "#ff9f1c"
"""Colours of the three kinds of pixel; told apart also by people who do not see red and green."""


@dataclass(frozen=True)
class Shown:
    """Which layers are shown: the masks, all as outlines, what was reviewed, and where the model is unsure."""

    masks: bool = True
    outlines: bool = False
    reviewed: bool = False
    uncertainty: bool = False


class ShownLayers(QWidget):
    """Four boxes, and a line that says how much was reviewed and corrected.

    Signals
    -------
    valueChanged : Shown
    """

    valueChanged = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        # widgets
        self.masks = QCheckBox("masks")
        self.outlines = QCheckBox("outlines")
        self.reviewed = QCheckBox("reviewed")
        self.uncertainty = QCheckBox("unsure")
        self._boxes = {
            "Masks": self.masks,
            "Masks as outlines": self.outlines,
            "Reviewed": self.reviewed,
            "Where the model is unsure": self.uncertainty,
        }
        for name, box in self._boxes.items():
            box.setAccessibleName(f"Show: {name.lower()}")
        self._summary = QLabel()
        self._summary.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._summary.setAccessibleName("How much was reviewed")
        # layout
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(2)
        for column, box in enumerate((self.masks, self.reviewed, self.uncertainty)):
            grid.addWidget(box, 0, column)
        grid.addWidget(self.outlines, 1, 0)
        grid.addWidget(self._summary, 2, 0, 1, 3)
        grid.setColumnStretch(2, 1)
        # signals
        for box in self._boxes.values():
            box.toggled.connect(lambda: self.valueChanged.emit(self.value()))
        self.setValue(Shown())
        self.setSummary(0.0, 0)

    def value(self) -> Shown:
        """Return what is shown."""
        return Shown(*(box.isChecked() for box in self._boxes.values()))

    def setValue(self, value: Shown) -> None:
        """Show `value` without telling anybody."""
        states = (value.masks, value.outlines, value.reviewed, value.uncertainty)
        for box, on in zip(self._boxes.values(), states, strict=True):
            with QSignalBlocker(box):
                box.setChecked(on)

    def setSummary(self, reviewed: float, corrected: int) -> None:
        """Say which share of the image was reviewed for the chosen prompt, 0 to 1, and how many pixels corrected."""
        dot = "\N{BLACK SQUARE}"
        self._summary.setText(
            f'<span style="color:{RIGHT}">{dot}</span> reviewed {reviewed:.0%} \N{MIDDLE DOT} '
            f'<span style="color:{CORRECTED}">{dot}</span> corrected {corrected}'
        )

    def summary(self) -> str:
        """Return the line as plain words."""
        return self._summary.text()

    def setTips(self, *tips: str) -> None:
        """Say in the tooltips what the boxes do, and with which key, in their order."""
        for box, tip in zip(self._boxes.values(), tips, strict=True):
            box.setToolTip(tip)
