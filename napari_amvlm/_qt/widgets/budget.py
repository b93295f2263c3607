"""The device to learn on, and the learning time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QWidget

from napari_amvlm._qt.layout import NumberBox, list_box, row_of

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Budget:
    """A device by its torch name ("auto" until the devices are known), and minutes."""

    device: str = "auto"
    minutes: float = 5.0


class BudgetRow(QWidget):
    """Device and minutes."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        # widgets
        self._device = list_box("Device", "Where the model learns; the best device comes first")
        self._device.addItem("Best available", "auto")
        self._minutes = NumberBox("99.9 min")
        self._minutes.setRange(0.1, 24 * 60)
        self._minutes.setDecimals(1)
        self._minutes.setSingleStep(1.0)
        self._minutes.setValue(5.0)
        self._minutes.setSuffix(" min")
        self._minutes.setAccessibleName("Budget in minutes")
        self._minutes.setToolTip("How long to learn; you can keep working, pause, or stop earlier")
        # layout
        row_of(self._device, self._minutes, wide=self._device, within=self)

    def value(self) -> Budget:
        """Return device and minutes."""
        return Budget(str(self._device.currentData()), float(self._minutes.value()))

    def setValue(self, value: Budget) -> None:
        """Show `value`; a device that is not listed is added under its own name."""
        if self._device.findData(value.device) < 0:
            self._device.addItem(value.device, value.device)
        self._device.setCurrentIndex(self._device.findData(value.device))
        self._minutes.setValue(value.minutes)

    def setDevices(self, devices: Mapping[str, str]) -> None:
        """List the available devices, `{"cuda:0": "NVIDIA RTX 4070", ...}`, best first."""
        chosen = self._device.currentData()
        with QSignalBlocker(self._device):
            self._device.clear()
            for name, description in devices.items():
                self._device.addItem(description, name)
            self._device.setCurrentIndex(max(0, self._device.findData(chosen)))
