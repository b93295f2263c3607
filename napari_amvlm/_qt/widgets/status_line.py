"""One line that says what happened last."""

from __future__ import annotations

from typing import Literal

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QSizePolicy, QWidget

from napari_amvlm.wording import capitalised

Level = Literal["info", "warning", "error"]


class StatusLine(QLabel):
    """A wrapping, selectable text; warnings and errors are coloured.

    Parameters
    ----------
    lines
        Height in lines of text, which never changes then; a longer text is cut off, and whole in the tooltip. With 0
        the height follows the text.
    """

    def __init__(self, parent: QWidget | None = None, *, lines: int = 0) -> None:
        super().__init__(parent)
        if lines:
            self.setFixedHeight(lines * self.fontMetrics().lineSpacing() + 4)
            self.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        self._level: Level = "info"
        self._colours = {"info": "", "warning": "", "error": ""}
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.MinimumExpanding)
        self.setAccessibleName("Status")

    def value(self) -> tuple[Level, str]:
        """Return the level and the text shown."""
        return self._level, self.text()

    def setValue(self, level: Level, text: str) -> None:
        """Show `text`; the whole of it is in the tooltip as well."""
        self._level = level
        text = text if level == "info" else capitalised(text)
        self.setText(text)
        self.setToolTip(text)
        self._recolour()

    def setColours(self, *, warning: str, error: str) -> None:
        """Take the colours of the theme."""
        self._colours.update(warning=warning, error=error)
        self._recolour()

    def _recolour(self) -> None:
        colour = self._colours[self._level]
        self.setStyleSheet(f"QLabel {{ color: {colour}; }}" if colour else "")
