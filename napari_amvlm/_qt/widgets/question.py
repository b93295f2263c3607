"""A question inside the dock: it blocks nothing and waits as long as it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFrame, QPushButton, QVBoxLayout, QWidget

from napari_amvlm._qt.layout import wrapped_label

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Question(QFrame):
    """A sentence and a button for each answer; hidden while there is nothing to ask.

    Signals
    -------
    shownChanged : bool
        There is a question, or none any more.
    """

    shownChanged = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("question")
        self._buttons: dict[str, QPushButton] = {}
        self._text = wrapped_label()
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 6, 8, 6)
        column.addWidget(self._text)
        self.hide()

    def text(self) -> str:
        """Return the question; empty while there is none."""
        return self._text.text() if not self.isHidden() else ""

    def answers(self) -> list[str]:
        """Return the answers that can be given; none while there is no question."""
        return list(self._buttons)

    def ask(self, text: str, answers: Mapping[str, Callable[[], object]]) -> None:
        """Show a question; the function of the answer that is clicked is called once."""
        self.withdraw()
        self._text.setText(text)
        for answer, function in answers.items():
            button = QPushButton(answer)
            button.setToolTip(answer)
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # a click leaves the keyboard to the image
            button.clicked.connect(lambda _=False, function=function: self._on_clicked(function))
            self._buttons[answer] = button
            self.layout().addWidget(button)  # type: ignore[union-attr]
        self.show()
        self.shownChanged.emit(True)

    def answer(self, answer: str) -> None:
        """Click an answer."""
        self._buttons[answer].click()

    def setColours(self, *, edge: str) -> None:
        """Take the colours of the theme."""
        self.setStyleSheet(f"#question {{ border: 1px solid {edge}; border-radius: 3px; }}")

    def withdraw(self) -> None:
        """Take the question back without an answer."""
        for button in self._buttons.values():
            button.hide()
            button.deleteLater()
        self._buttons.clear()
        self.hide()
        self.shownChanged.emit(False)

    def _on_clicked(self, function: Callable[[], object]) -> None:
        self.withdraw()
        function()
