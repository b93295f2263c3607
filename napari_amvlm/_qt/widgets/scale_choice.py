"""How the image is looked at: resized as a whole, or in tiles; and whether objects are told apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QCheckBox, QToolButton, QWidget

from napari_amvlm._qt.layout import NumberBox, list_box, row_of

_CHOICES: dict[str, str] = {"auto": "auto", "whole": "whole image", "tiles": "tiles"}


@dataclass(frozen=True)
class ScaleSettings:
    """What the model is to look at."""

    scale: Literal["auto", "whole", "tiles"] = "auto"
    magnification: float = 1.0


class ScaleChoice(QWidget):
    """Working scale, magnification of the tiles.

    Signals
    -------
    valueChanged : ScaleSettings
    estimateAsked
        A person wants an estimate of the magnification, which is offered where no pixel size is known.
    """

    valueChanged = Signal(object)
    estimateAsked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        # widgets
        self._scale = list_box(
            "Working scale",
            "whole image: resized to fit, for anatomy such as lungs\n"
            "tiles: at full resolution, for small things such as nuclei\n"
            "auto: as the nearest thing the model was taught",
        )
        for key, text in _CHOICES.items():
            self._scale.addItem(text, key)
        self._magnification = NumberBox("x1.00")
        self._magnification.setRange(0.1, 8.0)
        self._magnification.setDecimals(2)
        self._magnification.setSingleStep(0.25)
        self._magnification.setValue(1.0)
        self._magnification.setPrefix("x")
        self._magnification.setKeyboardTracking(False)
        self._magnification.setAccessibleName("Magnification")
        self.estimate = QToolButton()
        self.estimate.setText("?")
        self.estimate.setAccessibleName("Estimate the magnification")
        self.estimate.setToolTip(
            "No pixel size is known: estimate the magnification from the image; click again to use it"
        )
        self.estimate.setFixedWidth(12)  # beside a number and a choice that are not cut off
        self.estimate.hide()
        self.setNote("")
        # layout
        row_of(self._scale, self._magnification, self.estimate, wide=self._scale, within=self, spacing=1)
        # signals
        self.estimate.clicked.connect(self.estimateAsked)
        self._scale.currentIndexChanged.connect(self._on_changed)
        self._magnification.valueChanged.connect(self._on_changed)

    def value(self) -> ScaleSettings:
        """Return the settings."""
        return ScaleSettings(self._scale.currentData(), float(self._magnification.value()))

    def setValue(self, value: ScaleSettings) -> None:
        """Show `value` without telling anybody."""
        with QSignalBlocker(self._scale), QSignalBlocker(self._magnification):
            self._scale.setCurrentIndex(self._scale.findData(value.scale))
            self._magnification.setValue(value.magnification)
            self._magnification.setEnabled(value.scale != "whole")

    def setNote(self, note: str) -> None:
        """Show where the magnification comes from."""
        tip = (
            "Tiles only: enlarge (above 1) or shrink (below 1) the image before the model sees it,\n"
            "so that things have the size it was taught, for example x 2 for a 20x scan of nuclei"
        )
        self._magnification.setToolTip(f"{tip}\n{note}" if note else tip)

    def _on_changed(self) -> None:
        self._magnification.setEnabled(self._scale.currentData() != "whole")
        self.valueChanged.emit(self.value())


class InstancesBox(QCheckBox):
    """Whether touching objects are told apart, each with a label value of its own."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("separate objects", parent)
        self.setAccessibleName("Separate objects")
        self.setToolTip("Give every object (instance) a label value of its own and part those that touch")

    def setValue(self, on: bool) -> None:
        """Show whether objects are told apart, without telling anybody."""
        with QSignalBlocker(self):
            self.setChecked(on)
