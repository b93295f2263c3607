"""One dock with a tab for each thing a person does: Annotate, Learn, Queue."""

from __future__ import annotations

import gc
from math import ceil
from typing import TYPE_CHECKING

from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow, QTabWidget, QVBoxLayout, QWidget

from napari_amvlm._qt import settings
from napari_amvlm._qt.annotate.dock import AnnotateDock
from napari_amvlm._qt.layers.camera import FittedView
from napari_amvlm._qt.learn.dock import LearnDock
from napari_amvlm._qt.queue.dock import QueueDock
from napari_amvlm._qt.timers import single_shot
from napari_amvlm._qt.workspace import Workspace, unwrapped, workspace_for

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Image
    from qtpy.QtGui import QHideEvent, QResizeEvent, QShowEvent

NAME = "AMVLM"

CANVAS_SHARE = 0.55
"""The image has at least this share of the window's width when the dock is opened."""

_WIDTH = 300
_NARROW = 264
"""Width of napari's own docks, pixels, in a window that has no more room for them."""

_UNLIMITED = (1 << 24) - 1

_REST = 500
"""Milliseconds after an image came into view before objects are frozen."""

_CLOSED = 16
"""After so many closed images, what is left of them is looked for."""


class MainDock(QWidget):
    """The three docks as tabs that share one workspace; the chosen tab, the side and the width are remembered.

    Parameters
    ----------
    viewer : napari.Viewer
    workspace : Workspace, optional
        By default the viewer's own.
    """

    def __init__(self, viewer: napari.viewer.Viewer, workspace: Workspace | None = None) -> None:
        super().__init__()
        viewer = unwrapped(viewer)
        self._window: QMainWindow | None = None
        self._closed = 0
        # widgets
        self.workspace = workspace or workspace_for(viewer)
        self.annotate = AnnotateDock(viewer, self.workspace)
        self.learn = LearnDock(viewer, self.workspace)
        self.queue = QueueDock(viewer, self.workspace)
        self.view = FittedView(viewer, self._is_of_project, self)
        self._canvas = viewer.window._qt_viewer.canvas.native
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        for name, dock in (("Annotate", self.annotate), ("Learn", self.learn), ("Queue", self.queue)):
            self.tabs.addTab(dock, name)
        self.show_tab(settings.read_layout().tab)
        # layout
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.tabs)
        # signals
        self.tabs.currentChanged.connect(lambda _index: self._remember())
        self.workspace.modelChanged.connect(self._freeze_objects)
        self._rest = single_shot(self, _REST, self._freeze_objects)
        images = self.queue.queue.images
        for brought in (self.annotate.prompts.predicted, self.queue.queue.ahead.changed, images.shown):
            brought.connect(self._rest.start)
        images.closed.connect(self._on_closed)

    def show_tab(self, name: str) -> None:
        """Bring a tab to the front: "Annotate", "Learn" or "Queue"."""
        for index in range(self.tabs.count()):
            if self.tabs.tabText(index) == name:
                self.tabs.setCurrentIndex(index)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Take the remembered side and width once the dock is in a window."""
        super().showEvent(event)
        self._freeze_objects()
        if self._window is None:
            QTimer.singleShot(0, self._settle)
        else:
            self._limit_neighbours()

    def hideEvent(self, event: QHideEvent | None) -> None:
        """Give napari's docks their room back, and the garbage collector its objects."""
        super().hideEvent(event)
        gc.unfreeze()
        self._limit_neighbours(_UNLIMITED)

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Remember the width."""
        super().resizeEvent(event)
        self._remember()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Follow the size of the window."""
        if event is not None and event.type() == QEvent.Type.Resize and isalive(self):
            self._limit_neighbours()
        return False

    def _settle(self) -> None:
        dock = self._dock()
        window = dock.parentWidget() if dock is not None else None
        if dock is None or not isinstance(window, QMainWindow):
            return
        layout = settings.read_layout()
        if layout.side == "left":
            window.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, dock)
        self._window = window
        window.installEventFilter(self)
        dock.dockLocationChanged.connect(lambda _area: self._remember())
        self._limit_neighbours()
        window.resizeDocks([dock], [layout.width or _WIDTH], Qt.Orientation.Horizontal)
        QTimer.singleShot(0, self._make_room)

    def _freeze_objects(self) -> None:
        """Let the garbage collector pass over what the model and open images brought in, while the dock is in view.

        napari collects whenever a layer is removed, which takes a third of a second over the objects of torch, and
        5 ms over those of each open image.
        """
        if self.workspace.model_state == "ready" and self.isVisible():
            if self._closed >= _CLOSED:
                self._closed = 0
                gc.unfreeze()  # to find what is left of images that were closed
            gc.collect()
            gc.freeze()

    def _on_closed(self, count: int) -> None:
        self._closed += count

    def _make_room(self) -> None:
        """Take width from this dock where the image has too little."""
        dock, window = self._dock(), self._window
        if not isalive(self) or dock is None or window is None:
            return
        missing = ceil(CANVAS_SHARE * window.width()) - self._canvas.width()
        if missing > 0:
            window.resizeDocks([dock], [dock.width() - missing], Qt.Orientation.Horizontal)

    def _limit_neighbours(self, limit: int | None = None) -> None:
        """Keep napari's own docks narrow while the window is: they take 320 pixels by themselves."""
        dock, window = self._dock(), self._window
        if window is None or dock is None or not isalive(window):
            return
        if limit is None:
            has_room = window.width() * (1 - CANVAS_SHARE) > 2 * _WIDTH + 50
            limit = _UNLIMITED if has_room else _NARROW
        for other in window.findChildren(QDockWidget):
            beside = Qt.DockWidgetArea.LeftDockWidgetArea | Qt.DockWidgetArea.RightDockWidgetArea
            if other is not dock and window.dockWidgetArea(other) & beside and other.objectName().startswith("layer "):
                other.setMinimumWidth(min(limit, 50))
                other.setMaximumWidth(limit)

    def _remember(self) -> None:
        dock, window = self._dock(), self._window
        if window is None or dock is None or not self.isVisible() or dock.isFloating():
            return
        left = window.dockWidgetArea(dock) == Qt.DockWidgetArea.LeftDockWidgetArea
        tab = self.tabs.tabText(self.tabs.currentIndex())
        settings.write_layout(settings.DockLayout(tab, "left" if left else "right", self.width()))

    def _dock(self) -> QDockWidget | None:
        parent = self.parentWidget()
        while parent is not None and not isinstance(parent, QDockWidget):
            parent = parent.parentWidget()
        return parent

    def _is_of_project(self, image: Image) -> bool:
        """Tell whether an image was opened from the project, with a view of its own."""
        annotation = self.workspace.annotations.get(image)
        return annotation is not None and annotation.image_id is not None
