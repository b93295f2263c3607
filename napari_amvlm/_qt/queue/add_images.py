"""Images that are added to the project: open layers, files, and folders."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.layers import Layer
from qtpy.QtCore import QObject, Signal

from napari_amvlm._qt.corrections import ImageSource, default_project, enter_image
from napari_amvlm._qt.layers import labels as label_layers
from napari_amvlm._qt.widgets.add_button import ENDINGS
from napari_amvlm._reader import read_layers
from napari_amvlm.errors import ImageError
from napari_amvlm.imaging import image_kind, open_images, passed_over
from napari_amvlm.imaging.formats.limits import LARGEST_PLANE
from napari_amvlm.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from napari_amvlm._qt.workspace import Workspace
    from napari_amvlm._reader import LayerData
    from napari_amvlm.project import Project

    Enter = Callable[[Project], object]


@dataclass
class _Added:
    """What became of images: how many are new or there already, layers of stacks and slides, and what went wrong."""

    count: int = 0
    known: int = 0
    layers: list[LayerData] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)


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
        self._cancelled = False

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
        self._add(lambda: [(source.name, partial(enter_image, source=source)) for source in sources], refused)

    def add_files(self, paths: Sequence[Path]) -> None:
        """Add image files and those in folders, by reference.

        Stacks and slides are opened in the viewer instead: their slices and regions are added when they are accepted.
        """
        self._add(
            lambda: [(path.name, path) for path in image_files(paths)], [], [path for path in paths if path.is_dir()]
        )

    def cancel(self) -> None:
        """Stop after the image that is being added."""
        self._cancelled = True

    def _add(
        self,
        find: Callable[[], Sequence[tuple[str, Path | Enter]]],
        refused: Sequence[str],
        folders: Iterable[Path] = (),
    ) -> None:
        self._cancelled = False

        def work(project: Project) -> _Added:
            before, added = project.images.counts().images, _Added(problems=list(refused))
            entries = find()
            added.passed_over = [other.name for folder in folders for other in passed_over(folder)]
            for index, (name, entry) in enumerate(entries):
                if self._cancelled:
                    break
                self._tell(index / len(entries), f"Adding {name}, {index + 1} of {len(entries)}")
                try:
                    if callable(entry):
                        entry(project)
                        added.known += 1
                    else:
                        added.known += _enter_file(project, entry, added.layers)
                except ImageError as error:
                    added.problems.append(str(error))
            added.count = project.images.counts().images - before
            added.known -= added.count
            return added

        def done(added: _Added) -> None:
            for data, options, kind in added.layers:
                self._viewer.add_layer(Layer.create(data, options, kind))
            said = list[str]()
            if added.count or not added.layers:
                said.append(f"Added to the project: {counted(added.count, 'image')}.")
            if added.known:
                said.append(f"There already, by their content: {counted(added.known, 'image')}.")
            if added.layers:
                said.append("Stacks and slides are open in the viewer; accept slices or regions to add these.")
            if added.passed_over:
                said.append(f"Images in these folders were left out: {', '.join(added.passed_over)}; add them too.")
            if added.problems:
                said.append(f"Not added: {counted(len(added.problems), 'image')}. {added.problems[0]}")
            end("warning" if added.problems or added.passed_over else "info", " ".join(said))

        def end(level: str, text: str) -> None:
            self._tell(1.0, "")
            self._workspace.said.emit(level, text)

        def begin() -> None:
            self._workspace.with_project(work, done, lambda text: end("error", text), long=True)

        if self._workspace.project is not None:
            begin()
        else:
            first = next(iter(label_layers.images(self._viewer)), None)
            self._workspace.open_project(default_project(first), begin)

    def _tell(self, share: float, name: str) -> None:
        with contextlib.suppress(RuntimeError):  # the dock was closed: what was asked for is done nevertheless
            self.progressed.emit(share, name)


def image_files(paths: Sequence[Path]) -> list[Path]:
    """Return files as they are, and of folders the images in them; of a data folder those in its `img`."""
    files: list[Path] = []
    for path in paths:
        if not path.is_dir() or image_kind(path) is not None:
            files.append(path)
            continue
        folder = path / "img" if (path / "img").is_dir() else path
        files += [each for each in sorted(folder.iterdir()) if _is_image(each)]
    return list(dict.fromkeys(files))


def _is_image(path: Path) -> bool:
    if path.is_dir():
        return image_kind(path) is not None
    return path.name.lower().endswith(ENDINGS) or image_kind(path) == "dicom"


def _enter_file(project: Project, path: Path, layers: list[LayerData]) -> bool:
    """Add a plane to the project, or append the layers of a stack or a slide, and tell whether it is a plane."""
    images = open_images(path)
    height, width = images[0].data.shape[:2]
    if len(images) == 1 and images[0].axes == "YX" and not images[0].smaller and height * width <= LARGEST_PLANE:
        project.images.add_file(path)
        return True
    layers += read_layers(str(path))
    return False
