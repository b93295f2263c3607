"""In which plane the slices of a volume lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox, QSizePolicy, QWidget

if TYPE_CHECKING:
    from napari_amvlm.imaging import Plane

_PLANES: tuple[Plane, ...] = ("axial", "coronal", "sagittal")


class PlaneChoice(QComboBox):
    """Axial, coronal or sagittal; hidden where nothing says how an image lies in the patient.

    Signals
    -------
    chosen : str
        A person chose another plane.
    """

    chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._label: QWidget | None = None
        self.addItems(_PLANES)
        self.setAccessibleName("Plane")
        self.setToolTip("Cut the volume anew, as a layer of its own; nothing is resampled, and no mask is lost")
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setValue(None)
        self.activated.connect(lambda: self.chosen.emit(self.currentText()))

    def setLabel(self, label: QWidget | None) -> None:
        """Show and hide a label with the choice."""
        self._label = label
        self.setValue(None)

    def setValue(self, plane: Plane | None) -> None:
        """Show a plane without telling anybody; None hides the choice."""
        with QSignalBlocker(self):
            self.setCurrentIndex(self.findText(plane or ""))
        for widget in (self, self._label):
            if widget is not None:
                widget.setVisible(plane is not None)
