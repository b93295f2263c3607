"""Who has the keyboard: the image, unless a person types into a field or goes through a list."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QAbstractItemView, QAbstractSpinBox, QComboBox, QLineEdit, QWidget

_ENTER = {Qt.Key.Key_Return, Qt.Key.Key_Enter}
_OF_LISTS = {
    *_ENTER,
    *(Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_PageUp, Qt.Key.Key_PageDown, Qt.Key.Key_Home, Qt.Key.Key_End),
}


def leave_keyboard(dock: QWidget, canvas: QWidget) -> None:
    """Let clicks in a dock give the keyboard to the canvas; Tab still reaches everything.

    Fields take it by a click, and give it back by Enter; the arrows of a number give it back at once. A list has it
    after a click for the keys that go through it; all others go on to the canvas.
    """
    for widget in dock.findChildren(QWidget):
        if widget.window() is not dock.window() or widget.focusProxy() is not None:
            continue  # a list that pops up, or a part of another widget
        if isinstance(widget, QAbstractItemView):
            widget.installEventFilter(_List(widget))
        elif isinstance(widget, QAbstractSpinBox):
            widget.installEventFilter(_Number(widget, canvas))
        elif not isinstance(widget, QLineEdit) and not (isinstance(widget, QComboBox) and widget.isEditable()):
            by_tab = widget.focusPolicy() & Qt.FocusPolicy.TabFocus
            widget.setFocusPolicy(Qt.FocusPolicy.TabFocus if by_tab else Qt.FocusPolicy.NoFocus)
    # what takes no click leaves it to the dock around it
    dock.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
    dock.setFocusProxy(canvas)


class _List(QObject):
    """Lets keys that are of no use to a list pass to the window, which hands them to the canvas."""

    def eventFilter(self, _watched: QObject | None, event: QEvent | None) -> bool:
        if not isinstance(event, QKeyEvent) or event.type() != QEvent.Type.KeyPress or event.key() in _OF_LISTS:
            return False
        event.ignore()
        return True


class _Number(QObject):
    """Gives the keyboard back after a click on the arrows of a number, and after Enter."""

    def __init__(self, box: QAbstractSpinBox, canvas: QWidget) -> None:
        super().__init__(box)
        self._canvas = canvas

    def eventFilter(self, _watched: QObject | None, event: QEvent | None) -> bool:
        kind = event.type() if event is not None else None
        entered = isinstance(event, QKeyEvent) and kind == QEvent.Type.KeyPress and event.key() in _ENTER
        if entered or kind == QEvent.Type.MouseButtonRelease:
            QTimer.singleShot(0, self._canvas.setFocus)  # after the number itself has heard of it
        return False
