"""A progress bar with a text and, where the work can be cancelled, a button."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QGridLayout, QProgressBar, QPushButton, QWidget

from napari_amvlm._qt.widgets.eliding import ElidingLine


class ProgressRow(QWidget):
    """Shows how far some work is.

    Signals
    -------
    cancelled
        The button was pressed.
    """

    cancelled = Signal()

    def __init__(self, *, button: str = "Cancel", shortcut: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        # widgets
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._bar.setMinimumHeight(22)
        self._bar.setAccessibleName("Progress")
        self._text = ElidingLine("")
        self._text.setAccessibleName("Progress as text")
        self._button: QPushButton | None = None
        # layout
        # the text lies on the bar, so that nothing moves when it appears
        row = QGridLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setColumnStretch(0, 1)
        row.addWidget(self._bar, 0, 0)
        row.addWidget(self._text, 0, 0)
        if button:
            self._button = QPushButton(button)
            self._button.setToolTip(f"Stop this now; nothing is lost{f' ({shortcut})' if shortcut else ''}")
            if shortcut:
                self._button.setShortcut(shortcut)
            row.addWidget(self._button, 0, 1)
        # signals
        if self._button is not None:
            self._button.clicked.connect(self.cancelled)
        self.setIdle()

    def value(self) -> float | None:
        """Return the share done, 0 to 1; None while idle or of unknown length."""
        if self._bar.maximum() == 0 or not self._bar.isEnabled():
            return None
        return self._bar.value() / self._bar.maximum()

    def text(self) -> str:
        """Return the text beside the bar."""
        return self._text.text()

    def setBusy(self, text: str) -> None:
        """Show that something runs whose length is not known."""
        self._bar.setEnabled(True)
        self._bar.setRange(0, 0)
        self._show(text, True)

    def setProgress(self, fraction: float, text: str) -> None:
        """Show the share done."""
        self._bar.setEnabled(True)
        self._bar.setRange(0, 1000)
        self._bar.setValue(round(1000 * min(max(fraction, 0.0), 1.0)))
        self._show(text, True)

    def setIdle(self) -> None:
        """Show that nothing runs."""
        self._bar.setRange(0, 1000)
        self._bar.setValue(0)
        self._bar.setEnabled(False)
        self._show("", False)

    def setCancelEnabled(self, enabled: bool) -> None:
        """Grey the button out once it was pressed."""
        if self._button is not None:
            self._button.setEnabled(enabled)

    def _show(self, text: str, running: bool) -> None:
        self._text.setText(text)
        self.setCancelEnabled(running)
