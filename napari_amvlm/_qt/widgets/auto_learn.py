"""Automatic learning while a person annotates: on or off, and how often."""

from __future__ import annotations

from dataclasses import dataclass

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QCheckBox, QSpinBox, QWidget

from napari_amvlm._qt.layout import row_of


@dataclass(frozen=True)
class AutoLearn:
    """Off, or a short run after every so many accepted images."""

    on: bool = False
    after: int = 4


class AutoLearnRow(QWidget):
    """A tick box and a number.

    Signals
    -------
    valueChanged : AutoLearn
    """

    valueChanged = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        tip = (
            "A short run in the background after every so many newly accepted images.\n"
            "A better model serves; a worse one never does. Off unless you tick it."
        )
        # widgets
        self._on = QCheckBox("Learn while I annotate")
        self._on.setToolTip(tip)
        self._after = QSpinBox()
        self._after.setRange(1, 1000)
        self._after.setMinimumWidth(66)
        self._after.setKeyboardTracking(False)
        self._after.setAccessibleName("Accepted images from one run to the next")
        self._after.setToolTip(tip)
        # layout
        row_of(self._on, self._after, wide=self._on, within=self, spacing=2)
        # signals
        self._on.toggled.connect(self._on_changed)
        self._after.valueChanged.connect(self._on_changed)
        self.setValue(AutoLearn())

    def value(self) -> AutoLearn:
        """Return whether, and after how many images."""
        return AutoLearn(self._on.isChecked(), int(self._after.value()))

    def setValue(self, value: AutoLearn) -> None:
        """Show `value` without a signal."""
        with QSignalBlocker(self._on), QSignalBlocker(self._after):
            self._on.setChecked(value.on)
            self._after.setValue(value.after)
            self._after.setEnabled(value.on)

    def _on_changed(self) -> None:
        self._after.setEnabled(self._on.isChecked())
        self.valueChanged.emit(self.value())
