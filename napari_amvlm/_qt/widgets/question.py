"""A question inside the dock: it blocks nothing and waits as long as it takes."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFrame, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget


class Question(QFrame):
    """A sentence and two answers; hidden while there is nothing to ask.

    Signals
    -------
    answered : bool
        True for the first answer.
    """

    answered = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("question")
        # widgets
        self._text = QLabel()
        self._text.setWordWrap(True)
        self._text.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.MinimumExpanding)
        self._yes = QPushButton("Yes")
        self._no = QPushButton("No")
        for button in (self._yes, self._no):
            button.setToolTip(button.text())
        # layout
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 6, 8, 6)
        column.addWidget(self._text)
        column.addWidget(self._yes)
        column.addWidget(self._no)
        # signals
        self._yes.clicked.connect(lambda: self._on_answer(True))
        self._no.clicked.connect(lambda: self._on_answer(False))
        self.hide()

    def text(self) -> str:
        """Return the question; empty while there is none."""
        return self._text.text() if not self.isHidden() else ""

    def ask(self, text: str, yes: str, no: str) -> None:
        """Show the question."""
        self._text.setText(text)
        self._yes.setText(yes)
        self._no.setText(no)
        self._yes.setToolTip(yes)
        self._no.setToolTip(no)
        self.show()

    def setColours(self, *, edge: str) -> None:
        """Take the colours of the theme."""
        self.setStyleSheet(f"#question {{ border: 1px solid {edge}; border-radius: 3px; }}")

    def withdraw(self) -> None:
        """Take the question back without an answer."""
        self.hide()

    def _on_answer(self, yes: bool) -> None:
        self.hide()
        self.answered.emit(yes)
