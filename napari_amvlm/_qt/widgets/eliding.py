"""A line that ends in dots where there is too little room, and tells all in its tooltip."""

from __future__ import annotations

from qtpy.QtWidgets import QSizePolicy, QWidget
from superqt import QElidingLabel

_PADDING = 8
"""What napari's style sheet leaves free on both sides of a label together, pixels."""


class ElidingLine(QElidingLabel):
    """A `QElidingLabel` that takes the room there is; `text` is all of it, whatever is shown."""

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.setMinimumWidth(40)
        self.setEllipsesWidth(_PADDING)
        self.setText(text)

    def setText(self, text: str | None) -> None:
        """Replace the text."""
        super().setText(text or "")
        self.setToolTip(text)
