"""Which image of a project a file of another program means."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from napari_amvlm.errors import DatasetError, LabelsError
from napari_amvlm.imaging.folder import SUFFIXES

if TYPE_CHECKING:
    from napari_amvlm.imports.imported_masks import ImageReference
    from napari_amvlm.project import ImageRecord, Project


class ImageFinder:
    """Finds images: by content, then by name in the project, then as a file that is added to the project.

    Parameters
    ----------
    project
        Open for writing.
    folder
        Where images lie that may have to be added; None is beside the imported file.
    """

    def __init__(self, project: Project, folder: Path | None) -> None:
        self._project, self._folder = project, folder
        self._images = project.images.all()

    def find(self, reference: ImageReference) -> ImageRecord:
        """Return the image that a file means.

        Raises
        ------
        DatasetError
            None fits, or several do.
        LabelsError
            It has another size than its masks.
        ProjectError
            Its file was changed since it was added, or is gone.
        ImageError
            It had to be added, and cannot be read.
        """
        record = self._by_content(reference) or self._by_name(reference) or self._added(reference)
        if record is None:
            raise DatasetError(
                f"no image of {self._project.root} is called {reference.name}: add it to the project first, or "
                "say with --images where it lies."
            )
        if reference.shape is not None and reference.shape != record.shape:
            raise LabelsError(
                f"the masks of {reference.name} are for {_size(reference.shape)} pixels, but the image has "
                f"{_size(record.shape)}: it was changed, or is another one."
            )
        if reference.sha256 and record.source == "file" and record.sha256 != reference.sha256:
            raise LabelsError(
                f"the masks of {reference.name} are for another image than {record.path}, which has the same name: put "
                "the original there, or add it under a name of its own."
            )
        self._project.images.locate(record)
        return record

    def _by_content(self, reference: ImageReference) -> ImageRecord | None:
        found = [r for r in self._images if reference.sha256 and r.sha256 == reference.sha256]
        return found[0] if found else None

    def _by_name(self, reference: ImageReference) -> ImageRecord | None:
        name = PurePosixPath(reference.name.replace("\\", "/")).name
        found = [r for r in self._images if r.name == name]
        found = found or [r for r in self._images if _stem(r.name) == _stem(name)]
        if len(found) > 1 and reference.shape is not None:
            found = [r for r in found if r.shape == reference.shape]
        if len(found) > 1:
            raise DatasetError(
                f"{len(found)} images of {self._project.root} are called {name}: rename the files, or import into a "
                "project that has one of them."
            )
        return found[0] if found else None

    def _added(self, reference: ImageReference) -> ImageRecord | None:
        if self._folder is None:
            places = [] if reference.path is None else [reference.path]
        else:
            places = [self._folder / reference.name]
            places += [self._folder / f"{_stem(reference.name)}{suffix}" for suffix in SUFFIXES]
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            return None
        record = self._project.images.add_file(path)
        # The same content under another name may be in the project already.
        self._images = [*(r for r in self._images if r.id != record.id), record]
        return record


def _stem(name: str) -> str:
    return Path(name).stem if Path(name).suffix.lower() in SUFFIXES else name


def _size(shape: tuple[int, int]) -> str:
    return f"{shape[0]}x{shape[1]}"
