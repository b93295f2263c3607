"""What can be done with single objects of the chosen mask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox, QGridLayout, QPushButton, QWidget

from napari_amvlm._qt.layout import list_box
from napari_amvlm._qt.widgets.eliding import ElidingLine

if TYPE_CHECKING:
    from collections.abc import Sequence

_NONE = "no object picked"


class ObjectRow(QWidget):
    """Draw and pick objects in the image, then merge, split, lock or unlock them, or give them to another prompt.

    Signals
    -------
    valueChanged
        Other objects are picked.
    lockRequested : bool
    moveRequested : str
        The prompt that the picked objects are to belong to.
    takeRequested : str
        The labels layer whose pixels are to be added to the mask.
    """

    valueChanged = Signal()
    lockRequested = Signal(bool)
    moveRequested = Signal(str)
    takeRequested = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._value: tuple[int, ...] = ()
        # widgets
        self.pick = _button(
            "Pick",
            "Click on objects to choose them, and again to let them go.\nClick beside all to add the object under the "
            "pointer, or to let all go.\nDraw a line with Shift to cut. A drag moves the image",
        )
        self.pick.setCheckable(True)
        self.new = _button(
            "New",
            "The next stroke is an object of its own.\nOtherwise a stroke that begins on an object paints that object, "
            "and one that begins beside all is a new one",
        )
        self._picked = ElidingLine(_NONE)
        self._picked.setAccessibleName("Picked objects")
        self.merge = _button("Merge", "Make one object of the picked ones")
        self.split = _button("Split", "Part each picked object where the model was least sure (watershed)")
        self.lock = _button("Lock", "No model paints over the picked objects; accepting an object locks it")
        self.unlock = _button("Unlock", "Let the model paint over the picked objects, though they were accepted")
        self.target = list_box("Prompt to move the picked objects to", "Give the picked objects to another prompt")
        self.source = list_box("Labels layer to take", "Add what a labels layer of yours shows to the mask")
        # layout
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(4)
        grid.addWidget(self.pick, 0, 0)
        grid.addWidget(self.new, 0, 1)
        grid.addWidget(self.source, 0, 2, 1, 2)
        grid.addWidget(self._picked, 1, 0, 1, 4)
        for column, button in enumerate((self.merge, self.split, self.lock, self.unlock)):
            grid.addWidget(button, 2, column)
            grid.setColumnStretch(column, 1)
        grid.addWidget(self.target, 3, 0, 1, 4)
        # signals
        self.lock.clicked.connect(lambda: self.lockRequested.emit(True))
        self.unlock.clicked.connect(lambda: self.lockRequested.emit(False))
        for box, signal in ((self.target, self.moveRequested), (self.source, self.takeRequested)):
            box.activated.connect(lambda index, box=box, signal=signal: _choose(box, index, signal.emit))
        self.setPrompts(())
        self.setLayers(())
        self.setValue(())

    def value(self) -> tuple[int, ...]:
        """Return the numbers of the picked objects."""
        return self._value

    def setValue(self, values: Sequence[int]) -> None:
        """Show which objects are picked."""
        self._value = tuple(sorted(values))
        self._picked.setText(f"picked: {', '.join(map(str, self._value))}" if self._value else _NONE)
        for widget in (self.split, self.lock, self.unlock, self.target):
            widget.setEnabled(bool(self._value))
        self.merge.setEnabled(len(self._value) > 1)
        self.valueChanged.emit()

    def showArea(self, area: str) -> None:
        """Say how large the picked objects are together."""
        self._picked.setText(f"{area} picked: {', '.join(map(str, self._value))}")

    def setPrompts(self, prompts: Sequence[str]) -> None:
        """List the prompts that objects can be given to."""
        _fill(self.target, "move to ...", prompts)

    def setLayers(self, names: Sequence[str]) -> None:
        """List the labels layers that can be taken."""
        _fill(self.source, "take from ...", names)
        self.source.setEnabled(bool(names))


def _button(text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    button.setMinimumWidth(40)
    return button


def _fill(box: QComboBox, title: str, entries: Sequence[str]) -> None:
    if [box.itemText(index) for index in range(1, box.count())] == list(entries) and box.count():
        return
    with QSignalBlocker(box):
        box.clear()
        box.addItem(title)
        box.addItems(list(entries))


def _choose(box: QComboBox, index: int, tell: object) -> None:
    if index > 0 and callable(tell):
        tell(box.itemText(index))
        box.setCurrentIndex(0)
