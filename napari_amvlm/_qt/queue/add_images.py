"""Images that are added to the project: open layers, files, and folders."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_amvlm._qt.corrections import ImageSource, default_project, enter_image
from napari_amvlm._qt.layers import labels as label_layers
from napari_amvlm.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from napari_amvlm._qt.workspace import Workspace
    from napari_amvlm.project import Project


class ImageAdder(QObject):
    """Adds images to the open project, which is made first where there is none.

    Signals
    -------
    progressed : float, str
        Share of the images that were added, and the name of the next; a share of 1 ends it.
    """

    progressed = Signal(float, str)

    def __init__(self, viewer: Any, workspace: Workspace, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._workspace = workspace

    def add_open_images(self) -> None:
        """Add every open image layer that is a plane."""
        sources: list[ImageSource] = []
        refused: list[str] = []
        for layer in label_layers.images(self._viewer):
            try:
                label_layers.check_plane(layer)
                sources.append(ImageSource.of(layer))
            except ImageError as error:
                refused.append(str(error))
        if not sources:
            message = refused[0] if refused else "No image is open; use File > Open or Add files."
            self._workspace.said.emit("warning", message)
            return
        self._add([(source.name, partial(enter_image, source=source)) for source in sources], refused)

    def add_files(self, paths: Sequence[Path]) -> None:
        """Add image files by reference; they are not copied."""
        self._add([(path.name, partial(_enter_file, path=path)) for path in paths], [])

    def _add(self, entries: Sequence[tuple[str, Callable[[Project], object]]], refused: list[str]) -> None:
        def work(project: Project) -> tuple[int, list[str]]:
            before, problems = project.images.counts().images, list(refused)
            for index, (name, enter) in enumerate(entries):
                self.progressed.emit(index / len(entries), f"{name}, {index + 1} of {len(entries)}")
                try:
                    enter(project)
                except ImageError as error:
                    problems.append(str(error))
            return project.images.counts().images - before, problems

        def done(result: tuple[int, list[str]]) -> None:
            added, problems = result
            end(
                "warning" if problems else "info",
                " ".join([f"Added to the project: {count(added, 'image')}.", *problems[:1]]),
            )

        def end(level: str, text: str) -> None:
            self.progressed.emit(1.0, "")
            self._workspace.said.emit(level, text)

        def begin() -> None:
            self._workspace.with_project(work, done, lambda text: end("error", text), long=True)

        if self._workspace.project is not None:
            begin()
        else:
            first = next(iter(label_layers.images(self._viewer)), None)
            self._workspace.open_project(default_project(first), begin)


def count(number: int, noun: str) -> str:
    """Return a number and its noun, `1 image` or `2 images`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _enter_file(project: Project, path: Path) -> object:
    return project.images.add_file(path)
