"""Closing napari while threads run: ask if something would be lost, then stop cleanly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import QMainWindow, QMessageBox, QWidget

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_amvlm._qt.workspace import Workspace

_NAME = "napari_amvlm_close_guard"


class CloseGuard(QObject):
    """Looks at the main window's close event before napari does.

    While the model learns it asks; on "yes" the window stays until every thread has ended, and then closes by
    itself.  A close that comes from a program (`viewer.close()`) is not asked about, for it cannot be refused.
    """

    def __init__(self, window: QMainWindow, workspace: Workspace, ask: Callable[[QWidget], bool] | None = None) -> None:
        super().__init__(window)
        self.setObjectName(_NAME)
        self._window = window
        self._workspace = workspace
        self.ask = ask or ask_to_stop
        self._by_program = False
        self._waiting = False
        window.installEventFilter(self)
        # `viewer.close()` closes the canvas, which lies in the central widget, before it closes the window
        centre = window.centralWidget()
        self._canvases: list[QObject] = [] if centre is None else list(centre.children())
        for canvas in self._canvases:
            canvas.installEventFilter(self)
        window.destroyed.connect(workspace.shut_down)
        workspace.busyChanged.connect(self._on_busy_changed)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Hold the window's close event back while it has to wait."""
        if event is None or event.type() != QEvent.Type.Close:
            return False
        if watched is not self._window:
            self._by_program = True
            return False
        if not self._waiting:
            self._workspace.remember_position()
        if self._by_program:
            self._workspace.shut_down()
            return False
        if not self._may_close():
            event.ignore()
            return True
        return False

    def _may_close(self) -> bool:
        if self._waiting:
            return not self._workspace.threads()
        if self._workspace.learning() is not None and not self.ask(self._window):
            return False
        # the run may have ended while the question stood open
        if not self._workspace.threads():
            return True
        self._waiting = True
        self._window.setWindowTitle("napari: stopping, then closing")
        self._window.setCursor(Qt.CursorShape.BusyCursor)
        self._workspace.stop_all()
        return False

    def _on_busy_changed(self) -> None:
        if self._waiting and not self._workspace.threads():
            QTimer.singleShot(0, self._close)

    def _close(self) -> None:
        # past napari's own override, which would ask a second question and forget whether to quit
        QMainWindow.close(self._window)


def guard_window(widget: QWidget, workspace: Workspace) -> CloseGuard | None:
    """Guard the main window that `widget` is docked in, once; None while it is in none."""
    window = widget.parentWidget()
    while window is not None and not isinstance(window, QMainWindow):
        window = window.parentWidget()
    if window is None:
        return None
    guard = window.findChild(CloseGuard, _NAME)
    return guard if isinstance(guard, CloseGuard) else CloseGuard(window, workspace)


def ask_to_stop(window: QWidget) -> bool:
    """Ask whether to stop the learning run and close."""
    box = QMessageBox(window)
    box.setIcon(QMessageBox.Icon.Question)
    box.setWindowTitle("The model is learning")
    box.setText("The model is still learning. Stop it and close napari?")
    box.setInformativeText("Accepted masks are on the disk. What this run learnt so far is not kept.")
    stop = box.addButton("Stop and close", QMessageBox.ButtonRole.AcceptRole)
    keep = box.addButton("Keep learning", QMessageBox.ButtonRole.RejectRole)
    box.setDefaultButton(keep)
    box.exec()
    return box.clickedButton() is stop
