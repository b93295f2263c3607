"""A question inside the dock before something is done: it blocks nothing, and can be put off until napari closes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QFrame, QGridLayout, QPushButton, QWidget

from napari_amvlm._qt.layout import wrapped_label

if TYPE_CHECKING:
    from collections.abc import Callable

_quiet: set[str] = set()


class Confirm(QFrame):
    """A sentence, two buttons, and a box that says not to ask so again.

    Signals
    -------
    shownChanged : bool
        There is a question, or none any longer.
    """

    shownChanged = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._kind = ""
        self._then: Callable[[], None] | None = None
        # widgets
        self._text = wrapped_label()
        self.yes, self.no = QPushButton("Yes"), QPushButton("Cancel")
        self.yes.setToolTip("Do it")
        self.no.setToolTip("Leave everything as it is")
        self.quiet = QCheckBox("do not ask again")
        self.quiet.setToolTip("Until napari is closed")
        # layout
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(4)
        grid.addWidget(self._text, 0, 0, 1, 3)
        for column, part in enumerate((self.yes, self.no, self.quiet)):
            grid.addWidget(part, 1, column)
        grid.setRowStretch(0, 1)
        # signals
        self.yes.clicked.connect(self._on_yes)
        self.no.clicked.connect(self.withdraw)

    def text(self) -> str:
        """Return the question; empty while there is none."""
        return self._text.text() if self._then is not None else ""

    def ask(self, kind: str, text: str, yes: str, then: Callable[[], None]) -> None:
        """Call `then` once the answer is yes; at once if questions of this kind are not to be asked again."""
        if kind in _quiet:
            then()
            return
        self._kind, self._then = kind, then
        self._text.setText(text)
        self.yes.setText(yes)
        self.yes.setToolTip(yes)
        self.quiet.setChecked(False)
        self.shownChanged.emit(True)

    def withdraw(self) -> None:
        """Take the question back; nothing is done."""
        if self._then is not None:
            self._then = None
            self.shownChanged.emit(False)

    def _on_yes(self) -> None:
        then = self._then
        if self.quiet.isChecked():
            _quiet.add(self._kind)
        self.withdraw()
        if then is not None:
            then()


def ask_again() -> None:
    """Ask questions of every kind again."""
    _quiet.clear()
