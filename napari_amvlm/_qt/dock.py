"""What all docks share: a panel in a viewer, the workspace, and messages to the person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from qtpy.compat import isalive
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from napari_amvlm._qt.close_guard import guard_window
from napari_amvlm._qt.keyboard import leave_keyboard
from napari_amvlm._qt.theme import theme_colours
from napari_amvlm._qt.workspace import Workspace, unwrapped, workspace_for

if TYPE_CHECKING:
    import napari.viewer
    from qtpy.QtGui import QShowEvent

    from napari_amvlm._qt.theme import Colours
    from napari_amvlm._qt.widgets.status_line import Level, StatusLine


class DockPanel(Protocol):
    """The widgets of a dock: of them this module needs a status line and a way to set colours."""

    status: StatusLine

    def setColours(self, colours: Colours) -> None:
        """Take the colours of the theme."""


class Dock(QWidget):
    """A panel that is bound to a viewer, and to the workspace that all docks of the viewer share.

    Every dock shows the messages of the workspace in its status line.

    Parameters
    ----------
    viewer : napari.Viewer
    panel : QWidget
        A `DockPanel`; it fills the dock.
    workspace : Workspace, optional
        By default the viewer's own.
    """

    panel: DockPanel

    def __init__(self, viewer: napari.viewer.Viewer, panel: Any, workspace: Workspace | None = None) -> None:
        super().__init__()
        self._viewer = unwrapped(viewer)
        self.workspace = workspace or workspace_for(self._viewer)
        self.panel = panel
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(panel)
        # napari pushes a dock that does not want the height to the top, and halves it
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        window = getattr(self._viewer, "window", None)  # a viewer may have none
        if window is not None:
            leave_keyboard(self, window._qt_viewer.canvas.native)
        self.workspace.said.connect(panel.status.setValue)
        self._viewer.events.theme.connect(self._on_theme_changed)
        self._on_theme_changed()

    def showEvent(self, event: QShowEvent | None) -> None:
        """Guard the window that the dock is in now."""
        super().showEvent(event)
        guard_window(self, self.workspace)

    def say(self, level: Level, text: str) -> None:
        """Show a message in every dock, and a warning or an error over the canvas too."""
        self.workspace.said.emit(level, text)

    def _on_theme_changed(self, _event: Any = None) -> None:
        if isalive(self):
            self.panel.setColours(theme_colours(self._viewer.theme))
