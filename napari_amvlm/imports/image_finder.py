"""Which image of a project a file of another program means."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from napari_amvlm.errors import DatasetError, LabelsError
from napari_amvlm.files import sha256_of_file
from napari_amvlm.imaging import read_image
from napari_amvlm.imaging.folder import SUFFIXES, normal_form
from napari_amvlm.imaging.formats.kinds import has_image_ending
from napari_amvlm.imaging.image_data import image_name
from napari_amvlm.project.records import ImageRecord

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from napari_amvlm.imports.imported_masks import ImageReference
    from napari_amvlm.project import Project


_ORIENTATION = 274
_NOT_ADDED = -1
_ON_ITS_SIDE = (5, 6, 7, 8)


class ImageFinder:
    """Finds images: by content, then by name in the project, then as a file that is added to the project.

    Parameters
    ----------
    folder
        Where images lie that may have to be added; None is beside the imported file.
    add
        Whether images are added; else they are only described, with an id that no image has.
    """

    def __init__(self, project: Project, folder: Path | None, *, add: bool = True) -> None:
        self._project, self._folder, self._add = project, folder, add
        self._images = project.images.all()

    def find(self, reference: ImageReference, named: NamedImages) -> ImageRecord:
        """Return the image that a file means.

        Parameters
        ----------
        named
            All images that the file names.

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
        if reference.pixels is not None:
            return self._added_pixels(reference, reference.pixels())
        alone = not named.has_others_like(reference)
        record = self._found(reference, named, alone=alone)
        if record is None and reference.also and named.is_one(reference.also):
            path = reference.path and reference.path.parent / reference.also
            record = self._found(replace(reference, name=reference.also, path=path), named, alone=True)
        if record is None and not alone:
            raise DatasetError(
                f"{reference.name} is one of several images called {_file_name(reference)} in one file, and no image "
                f"of {self._project.root} lies in such a folder: add it to the project first, or say with --images "
                "where it lies."
            )
        if record is None:
            mend = "" if reference.path else ", or call this file like its image"
            raise DatasetError(
                f"no image of {self._project.root} is called {reference.name}: add it to the project first, or "
                f"say with --images where it lies{mend}."
            )
        if reference.shape is not None and not _fits(reference.shape, record):
            raise LabelsError(
                f"the masks of {reference.name} are for {_size(reference.shape)} pixels, but the image has "
                f"{_size(record.shape)}: it was changed, or is another one."
            )
        if reference.sha256 and record.source == "file" and record.sha256 != reference.sha256:
            raise LabelsError(
                f"the masks of {reference.name} are for another image than {record.path}, which has the same name: put "
                "the original there, or add it under a name of its own."
            )
        if record.id != _NOT_ADDED:
            self._project.images.locate(record)
        return record

    def _found(self, reference: ImageReference, named: NamedImages, *, alone: bool) -> ImageRecord | None:
        record = self._by_content(reference)
        if record is None:
            record = self._by_name(reference) if alone else self._by_folder(reference, named)
        return record or self._added(reference, alone=alone)

    def knows(self, reference: ImageReference) -> bool:
        """Tell whether the project has an image of this content or name; `DatasetError` where it has several."""
        return (self._by_content(reference) or self._by_name(reference)) is not None

    def _by_content(self, reference: ImageReference) -> ImageRecord | None:
        same = (r for r in self._images if reference.sha256 and r.sha256 == reference.sha256)
        return next(same, None)

    def _by_name(self, reference: ImageReference) -> ImageRecord | None:
        name = _file_name(reference)
        records = [r for r in self._images if normal_form(r.name) == name]
        records = records or [r for r in self._images if _stem(normal_form(r.name)) == _stem(name)]
        records = records or [r for r in self._images if normal_form(image_name(Path(r.name))) == name]
        records = records or [r for r in self._images if normal_form(r.name).casefold() == name.casefold()]
        if len(records) > 1 and reference.shape is not None:
            records = [r for r in records if r.shape == reference.shape]
        within = [r for r in records if _path_parts(r)[-len(_parts(reference)) :] == _parts(reference)]
        if len(_parts(reference)) > 1 and not within and _exact_file(reference, self._folder) is not None:
            return None  # they lie in other folders, and the file that is meant is there
        records = within if len(records) > 1 and len(within) == 1 else records
        if len(records) > 1:
            raise DatasetError(
                f"{len(records)} images of {self._project.root} are called {name}: rename the files, or import into a "
                "project that has one of them."
            )
        return records[0] if records else None

    def _by_folder(self, reference: ImageReference, named: NamedImages) -> ImageRecord | None:
        """Return the image whose folders are those of `reference` and of none of the others."""
        records = [record for record in self._images if named.meant_by(record) == reference.name]
        return records[0] if len(records) == 1 else None

    def _added(self, reference: ImageReference, *, alone: bool) -> ImageRecord | None:
        path = _file_of(reference, self._folder) if alone else _exact_file(reference, self._folder)
        if path is None:
            return None
        if not self._add:
            digest = sha256_of_file(path)
            known = next((record for record in self._images if record.sha256 == digest), None)
            if known is not None:
                return known
            height, width = read_image(path).data.shape[:2]
            return ImageRecord(_NOT_ADDED, path.name, path, (height, width), "", "file", stored=False, held_out=False)
        record = self._project.images.add_file(path)
        # The same content under another name may be in the project already.
        self._images = [*(r for r in self._images if r.id != record.id), record]
        return record

    def _added_pixels(self, reference: ImageReference, pixels: NDArray[Any]) -> ImageRecord:
        """Return a slice of a scan that is added to the project: by its file where the scan is that file alone."""
        path = reference.path
        if not self._add:
            height, width = pixels.shape[:2]
            where = path or Path(reference.name)
            return ImageRecord(_NOT_ADDED, reference.name, where, (height, width), "", "array", False, False)
        if path is not None and path.is_file():
            return self._project.images.add_file(path)
        return self._project.images.add_array(pixels, name=reference.name)


class NamedImages:
    """The images that one file names, of which several may be called alike but for their folders or endings."""

    def __init__(self, references: Iterable[ImageReference]) -> None:
        names: dict[str, set[str]] = {}
        self._also: Counter[str] = Counter()
        self._by_end: dict[tuple[str, ...], str | None] = {}
        for reference in references:
            if reference.pixels is not None:
                continue
            names.setdefault(_stem(_file_name(reference)).casefold(), set()).add(reference.name)
            self._also[reference.also or _file_name(reference)] += 1
            parts = _parts(reference)
            for first in range(len(parts)):
                # None where it is the end of several.
                if self._by_end.setdefault(parts[first:], reference.name) != reference.name:
                    self._by_end[parts[first:]] = None
        self._shared = {stem for stem, many in names.items() if len(many) > 1}

    def has_others_like(self, reference: ImageReference) -> bool:
        """Tell whether the file names other images that are called like this one."""
        return _stem(_file_name(reference)).casefold() in self._shared

    def is_one(self, also: str) -> bool:
        """Tell whether one image alone that the file names may have this name."""
        return self._also[also] == 1

    def meant_by(self, record: ImageRecord) -> str | None:
        """Return the name that a record's path ends like most; None where it ends like none, or like several."""
        parts = _path_parts(record)
        ends = (parts[first:] for first in range(len(parts)))
        return next((self._by_end[end] for end in ends if end in self._by_end), None)


def _plain_name(reference: ImageReference) -> str:
    name = unquote(reference.name.partition("?")[0]) if "://" in reference.name else reference.name
    return normal_form(name.replace("\\", "/"))


def _file_name(reference: ImageReference) -> str:
    return PurePosixPath(_plain_name(reference)).name


def _parts(reference: ImageReference) -> tuple[str, ...]:
    """Return folders and name in the form in which they are compared."""
    return tuple(part.casefold() for part in _plain_name(reference).split("/") if part not in ("", ".", ".."))


def _path_parts(record: ImageRecord) -> tuple[str, ...]:
    folders = record.path.parent.parts if record.source == "file" and not record.stored else ()
    return tuple(normal_form(part).casefold() for part in (*folders, record.name))


def _exact_file(reference: ImageReference, folder: Path | None) -> Path | None:
    """Return the file that lies where a file says, with all folders that it names; None where there is none."""
    path = reference.path if folder is None else folder / reference.name
    if path is None or not path.is_file():
        return None
    parts, end = tuple(normal_form(part).casefold() for part in path.parts), _parts(reference)
    return path if parts[-len(end) :] == end else None


def _file_of(reference: ImageReference, folder: Path | None) -> Path | None:
    """Return the file that is meant, in `folder` or beside the imported file; names are compared by normal form."""
    if folder is None:
        exact = reference.path
    else:
        exact = folder / reference.name
    if exact is not None and exact.is_file():
        return exact
    directory = folder if folder is not None else exact and exact.parent
    if directory is None or not directory.is_dir():
        return None
    name = _file_name(reference)
    files = [path for path in sorted(directory.iterdir()) if path.is_file() and not path.name.startswith(".")]
    same = [path for path in files if normal_form(path.name) == name]
    if folder is not None:
        same += [path for path in files if path.suffix.lower() in SUFFIXES and normal_form(path.stem) == _stem(name)]
        same += [path for path in files if has_image_ending(path) and normal_form(image_name(path)) == name]
    if not same:
        in_any_case = [path for path in files if normal_form(path.name).casefold() == name.casefold()]
        same = in_any_case if len(in_any_case) == 1 else []
    return next(iter(same), None)


def photo_orientation(path: Path) -> int:
    """Return how an image has to be turned, by the tag of EXIF or TIFF; 1 where nothing says so."""
    from PIL import Image

    try:
        with Image.open(path, formats=("JPEG", "PNG", "TIFF")) as image:
            return int(image.getexif().get(_ORIENTATION, 1))
    except (OSError, ValueError, TypeError, SyntaxError):
        return 1


def _fits(shape: tuple[int, int], record: ImageRecord) -> bool:
    """Tell whether masks are for an image of this size, be it as it is shown or as it lies in its file."""
    if shape == record.shape:
        return True
    return shape == record.shape[::-1] and photo_orientation(record.path) in _ON_ITS_SIDE


def _stem(name: str) -> str:
    return Path(name).stem if Path(name).suffix.lower() in SUFFIXES else name


def _size(shape: tuple[int, int]) -> str:
    return f"{shape[0]}x{shape[1]}"
