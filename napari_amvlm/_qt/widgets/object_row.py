"""What can be done with single objects of the labels layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox, QGridLayout, QLabel, QPushButton, QSizePolicy, QWidget

if TYPE_CHECKING:
    from collections.abc import Sequence

_NONE = "no object picked"


class ObjectRow(QWidget):
    """Pick objects in the image, then merge, split, lock or unlock them, or give them to another prompt.

    Signals
    -------
    pickToggled : bool
        Clicks in the image pick objects from now on, or do not.
    mergeRequested, splitRequested
    lockRequested : bool
    moveRequested : str
        The prompt that the picked objects are to belong to.
    """

    pickToggled = Signal(bool)
    mergeRequested = Signal()
    splitRequested = Signal()
    lockRequested = Signal(bool)
    moveRequested = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._value: tuple[int, ...] = ()
        # widgets
        self.pick = QPushButton("Pick")
        self.pick.setCheckable(True)
        self.pick.setToolTip("Click objects in the image to pick them, and again to let them go")
        self._picked = QLabel(_NONE)
        self._picked.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._picked.setAccessibleName("Picked objects")
        self.merge = _button("Merge", "Make one object of the picked ones")
        self.split = _button("Split", "Part each picked object where the model was least sure (watershed)")
        self.lock = _button("Lock", "No model paints over the picked objects; accepting an object locks it")
        self.unlock = _button("Unlock", "Let the model paint over the picked objects, though they were accepted")
        self.target = QComboBox()
        self.target.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.target.setAccessibleName("Prompt to move the picked objects to")
        self.target.setToolTip("Give the picked objects to another prompt (relabel)")
        # layout
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(4)
        grid.addWidget(self.pick, 0, 0)
        grid.addWidget(self._picked, 0, 1, 1, 3)
        for column, button in enumerate((self.merge, self.split, self.lock, self.unlock)):
            grid.addWidget(button, 1, column)
            grid.setColumnStretch(column, 1)
        grid.addWidget(self.target, 2, 0, 1, 4)
        # signals
        self.pick.toggled.connect(self.pickToggled)
        self.merge.clicked.connect(self.mergeRequested)
        self.split.clicked.connect(self.splitRequested)
        self.lock.clicked.connect(lambda: self.lockRequested.emit(True))
        self.unlock.clicked.connect(lambda: self.lockRequested.emit(False))
        self.target.activated.connect(self._on_move)
        self.setPrompts(())
        self.setValue(())

    def value(self) -> tuple[int, ...]:
        """Return the label values of the picked objects."""
        return self._value

    def setValue(self, values: Sequence[int]) -> None:
        """Show which objects are picked."""
        self._value = tuple(sorted(values))
        text = f"picked: {', '.join(map(str, self._value))}" if self._value else _NONE
        self._picked.setText(text)
        self._picked.setToolTip(text)
        for widget in (self.split, self.lock, self.unlock, self.target):
            widget.setEnabled(bool(self._value))
        self.merge.setEnabled(len(self._value) > 1)

    def setPrompts(self, prompts: Sequence[str]) -> None:
        """List the prompts that objects can be given to."""
        with QSignalBlocker(self.target):
            self.target.clear()
            self.target.addItem("move to ...")
            self.target.addItems(list(prompts))

    def _on_move(self, index: int) -> None:
        if index > 0:
            self.moveRequested.emit(self.target.itemText(index))
            self.target.setCurrentIndex(0)


def _button(text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    button.setMinimumWidth(40)
    return button
