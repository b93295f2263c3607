"""The Queue dock: the images of a project, what is still to do, and what teaches most."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_amvlm._qt import keys
from napari_amvlm._qt.dock import Dock
from napari_amvlm._qt.layers.image import layer_path
from napari_amvlm._qt.queue.add_images import ImageAdder
from napari_amvlm._qt.queue.panel import QueuePanel
from napari_amvlm._qt.queue.queue import queue_for
from napari_amvlm._qt.widgets.queue_list import QueueEntry
from napari_amvlm.session.export import export_project
from napari_amvlm.wording import shortened

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import napari.viewer

    from napari_amvlm._qt.workspace import Workspace
    from napari_amvlm.project import QueueItem
    from napari_amvlm.session.export import Choice


class QueueDock(Dock):
    """The queue, which it shares with the Annotate dock; see `Dock` for the parameters."""

    panel: QueuePanel

    def __init__(self, viewer: napari.viewer.Viewer, workspace: Workspace | None = None) -> None:
        super().__init__(viewer, QueuePanel(), workspace)
        self.queue = queue_for(self._viewer, self.workspace)
        self.adder = ImageAdder(self._viewer, self.workspace, self)
        # signals
        panel, queue = self.panel, self.queue
        panel.list.chosen.connect(queue.go)
        panel.list.filtered.connect(self._on_filtered)
        panel.list.picturesWanted.connect(queue.load_thumbnails)
        panel.step.stepped.connect(queue.step)
        panel.add_button.pathsPicked.connect(self.adder.add_files)
        panel.add_button.openImagesRequested.connect(self.adder.add_open_images)
        panel.pathsDropped.connect(self.adder.add_files)
        panel.sort_button.clicked.connect(self.sort)
        panel.skip_button.clicked.connect(queue.skip)
        panel.export_button.requested.connect(self.export)
        panel.progress.cancelled.connect(queue.cancel)
        panel.progress.cancelled.connect(self.adder.cancel)
        self.adder.progressed.connect(self._on_progressed)
        queue.changed.connect(self._refresh)
        queue.scoring.connect(self._on_progressed)
        queue.images.shown.connect(lambda _annotation: panel.status.setValue("info", ""))  # it was about another image
        queue.thumbnailsReady.connect(panel.list.addPictures)
        self.workspace.projectOpened.connect(self._on_project_opened)
        keys.on_change(self._on_keys_changed, self)
        self._on_keys_changed()
        self._refresh()

    def sort(self) -> None:
        """Put first what would teach the served model most."""
        self.queue.sort(tuple(self.workspace.prompts))

    def export(self, kind: Choice, path: Path) -> None:
        """Write the accepted masks of the project to `path`, in a thread; open images are scans that they lie in."""
        scans = list(dict.fromkeys(filter(None, map(layer_path, self._viewer.layers))))

        def done(exported: tuple[str, list[str]]) -> None:
            message, notes = exported
            self.say("warning" if notes else "info", " ".join([message, *notes[:1]]))

        self.say("info", "Exporting ...")
        self.workspace.with_project(
            lambda project: export_project(project, kind, path, scans),
            done,
            lambda text: self.say("error", text),
            long=True,
        )

    def _refresh(self) -> None:
        current = self.queue.current
        scores = self.workspace.view.scores if self.workspace.view is not None else {}
        entries = [_entry(item, scores.get(item.id, {})) for item in self.queue.items()]
        self.panel.list.setValue(entries, current.id if current else None)
        self.panel.step.setValue(self.queue.position_text())
        self.panel.skip_button.setEnabled(current is not None)
        self.panel.sort_button.setEnabled(bool(self.queue.items()))

    def _on_filtered(self, statuses: Any) -> None:
        self.queue.statuses = statuses

    def _on_progressed(self, share: float, message: str) -> None:
        if share < 1:
            self.panel.progress.setProgress(share, message)
        else:
            self.panel.progress.setIdle()

    def _on_project_opened(self, _state: object) -> None:
        self.panel.list.forgetPictures()

    def _on_keys_changed(self) -> None:
        self.panel.setKeys(keys.key_text)


def _entry(item: QueueItem, scores: Mapping[str, tuple[float, float]]) -> QueueEntry:
    region = item.region
    where = "" if region is None else f" at {region.y}, {region.x}"
    why = tuple(f"{shortened(prompt)}: disagreement {d:.1%}, doubt {e:.1%}" for prompt, (d, e) in scores.items())
    return QueueEntry(item.id, item.name + where, item.status, item.image_id, item.held_out, why)
