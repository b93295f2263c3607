"""The Queue dock: what is to be done in a project, and what teaches most."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from napari_amvlm._qt import keys
from napari_amvlm._qt.close_guard import guard_window
from napari_amvlm._qt.notices import notify
from napari_amvlm._qt.queue.panel import QueuePanel
from napari_amvlm._qt.queue.queue import queue_work_for
from napari_amvlm._qt.theme import theme_colours
from napari_amvlm._qt.widgets.queue_list import QueueEntry
from napari_amvlm._qt.workspace import Workspace, unwrapped, workspace_for
from napari_amvlm.session.export import export_project

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import napari.viewer
    from qtpy.QtGui import QShowEvent

    from napari_amvlm._qt.widgets.status_line import Level
    from napari_amvlm.project import QueueItem


class QueueDock(QWidget):
    """Binds the panel to the queue that it shares with the Annotate dock.

    Parameters
    ----------
    viewer : napari.Viewer
    workspace : Workspace, optional
        By default the viewer's own.
    """

    def __init__(self, viewer: napari.viewer.Viewer, workspace: Workspace | None = None) -> None:
        super().__init__()
        self._viewer = unwrapped(viewer)
        self.workspace = workspace or workspace_for(self._viewer)
        self.queue = queue_work_for(self._viewer, self.workspace)
        # widgets
        self.panel = QueuePanel()
        # layout
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.panel)
        # napari pushes a dock that does not want the height to the top, and halves it
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        # signals
        panel, queue = self.panel, self.queue
        panel.list.chosen.connect(queue.go)
        panel.list.filtered.connect(self._on_filtered)
        panel.list.picturesWanted.connect(queue.load_thumbnails)
        panel.step.stepped.connect(queue.step)
        panel.sort_button.clicked.connect(self.sort)
        panel.skip_button.clicked.connect(queue.skip)
        panel.export_button.requested.connect(self.export)
        panel.progress.cancelled.connect(queue.cancel)
        queue.changed.connect(self._refresh)
        queue.said.connect(self._on_queue_said)
        queue.scoring.connect(self._on_scoring)
        queue.thumbnailsReady.connect(panel.list.addPictures)
        self.workspace.projectOpened.connect(self._on_project_opened)
        self._viewer.events.theme.connect(self._on_theme_changed)
        keys.on_change(self._on_keys_changed, self)
        self._on_keys_changed()
        self._on_theme_changed()
        self._refresh()

    def showEvent(self, event: QShowEvent | None) -> None:
        """Guard the window that the dock has come to lie in."""
        super().showEvent(event)
        guard_window(self, self.workspace)

    def sort(self) -> None:
        """Put what would teach the served model most first."""
        self.queue.sort(tuple(self.workspace.prompts))

    def export(self, kind: str, path: Path) -> None:
        """Write the accepted masks of the project to `path`, in a thread."""

        def done(written: tuple[str, list[str]]) -> None:
            words, notes = written
            self.say("warning" if notes else "info", " ".join([words, *notes[:1]]))

        self.say("info", "Exporting ...")
        self.workspace.with_project(
            lambda project: export_project(project, kind, path),
            done,
            lambda text: self.say("error", text),
            long=True,
        )

    def say(self, level: Level, text: str) -> None:
        """Tell the person something."""
        notify(self.panel.status, level, text)

    def _on_queue_said(self, level: Level, text: str) -> None:
        # the Annotate dock, where it is open, shows the same words over the canvas
        self.panel.status.setValue(level, text)

    def _refresh(self) -> None:
        current = self.queue.current
        scores = self.workspace.view.scores if self.workspace.view is not None else {}
        entries = [_entry(item, scores.get(item.id, {})) for item in self.queue.items()]
        self.panel.list.setValue(entries, current.id if current else None)
        self.panel.step.setValue(self.queue.words())
        self.panel.skip_button.setEnabled(current is not None)
        self.panel.sort_button.setEnabled(bool(self.queue.items()))

    def _on_filtered(self, statuses: Any) -> None:
        self.queue.statuses = statuses

    def _on_scoring(self, share: float, words: str) -> None:
        if share < 1:
            self.panel.progress.setProgress(share, words)
        else:
            self.panel.progress.setIdle()

    def _on_project_opened(self, _left: object) -> None:
        self.panel.list.forgetPictures()

    def _on_keys_changed(self) -> None:
        self.panel.setKeys(keys.words)

    def _on_theme_changed(self, _event: Any = None) -> None:
        if isalive(self):
            self.panel.setColours(theme_colours(self._viewer.theme))


def _entry(item: QueueItem, scores: Mapping[str, tuple[float, float]]) -> QueueEntry:
    region = item.region
    where = "" if region is None else f" at {region.y}, {region.x}"
    why = tuple(f"{prompt}: disagreement {d:.1%}, doubt {e:.1%}" for prompt, (d, e) in scores.items())
    return QueueEntry(item.id, item.name + where, item.status, item.image_id, item.held_out, why)
