"""Images that go into the project without labels, to be learnt from."""

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


class ImageAdding(QObject):
    """Puts images into the open project, made first where there is none.

    Signals
    -------
    said : level, text
    """

    said = Signal(str, str)

    def __init__(self, viewer: Any, workspace: Workspace, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._workspace = workspace

    def add_open_images(self) -> None:
        """Put every open image layer that can be used into the project."""
        sources: list[ImageSource] = []
        refused: list[str] = []
        for layer in label_layers.images(self._viewer):
            try:
                label_layers.check_plane(layer)
                sources.append(ImageSource.of(layer))
            except ImageError as error:
                refused.append(str(error))
        if not sources:
            self.said.emit("warning", refused[0] if refused else "No image is open; use File > Open or Add files.")
            return
        self._add([partial(enter_image, source=source) for source in sources], refused)

    def add_files(self, paths: Sequence[Path]) -> None:
        """Put image files into the project; they are referred to, not copied."""
        self._add([partial(_enter_file, path=path) for path in paths], [])

    def _add(self, entries: Sequence[Callable[[Project], object]], refused: list[str]) -> None:
        def work(project: Project) -> tuple[int, list[str]]:
            before, problems = project.counts().images, list(refused)
            for enter in entries:
                try:
                    enter(project)
                except ImageError as error:
                    problems.append(str(error))
            return project.counts().images - before, problems

        def done(result: tuple[int, list[str]]) -> None:
            added, problems = result
            words = f"Added to the project: {count(added, 'image')}."
            self.said.emit("warning" if problems else "info", " ".join([words, *problems[:1]]))

        def then() -> None:
            self._workspace.with_project(work, done, lambda text: self.said.emit("error", text), long=True)

        if self._workspace.project is not None:
            then()
        else:
            first = next(iter(label_layers.images(self._viewer)), None)
            self._workspace.open_project(default_project(first), then)


def count(number: int, noun: str) -> str:
    """Return a number and its noun, `1 image` or `2 images`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _enter_file(project: Project, path: Path) -> object:
    return project.add_image(path)
