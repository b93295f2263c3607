"""Which images are meant by files and folders; folders are searched by content."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_amvlm.errors import DatasetError, ImageError
from napari_amvlm.imaging.folder import DATA_FOLDERS, visible_contents
from napari_amvlm.imaging.formats.dicom_files import MAX_FILES, open_dicom_series
from napari_amvlm.imaging.formats.dicom_frames import dicom_groups
from napari_amvlm.imaging.formats.kinds import has_image_ending, image_kind
from napari_amvlm.imaging.formats.ome_sets import set_key
from napari_amvlm.imaging.formats.ome_zarr import is_zarr
from napari_amvlm.imaging.image_data import image_name
from napari_amvlm.imaging.numbered import numbered_stacks, open_numbered
from napari_amvlm.imaging.planes import in_plane
from napari_amvlm.imaging.reading import open_images

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from napari_amvlm.imaging.image_data import ImageData
    from napari_amvlm.imaging.planes import Plane


@dataclass(frozen=True)
class ImageSource:
    """What is opened together: a file, an OME-Zarr folder, the DICOM files of a volume, or the planes of a stack.

    Attributes
    ----------
    files
        The DICOM files of a volume, or the planes of a stack, in the folder `path`; empty for everything else.
    numbered
        Whether `files` are planes that are called by numbers.
    """

    path: Path
    name: str
    files: tuple[Path, ...] = ()
    numbered: bool = False

    def open(self, plane: Plane = "acquired") -> list[ImageData]:
        """Describe its images, as `open_images` does."""
        if not self.files:
            return open_images(self.path, plane)
        if self.numbered:
            return [in_plane(open_numbered(self.files, self.name), plane)]
        return [in_plane(image, plane) for image in open_dicom_series(self.files, self.path)]


def find_sources(paths: Iterable[Path], *, stacks: bool = False, below: bool = True) -> list[ImageSource]:
    """Return the images that are meant, each once; a folder stands for all images in it and in its `img/`.

    With `stacks`, files whose names differ by their last number alone are the planes of one stack. With `below`, a
    folder that holds no image itself, as a disc of a clinic, stands for those in all folders below it.

    In a folder, DICOM files are put together to volumes, whatever they are called. Other files count where their
    ending or their content is that of an image; hidden files do not.

    Raises
    ------
    DatasetError
        A folder holds no image.
    """
    sources: list[ImageSource] = []
    for path in paths:
        if path.is_dir() and not is_zarr(path):
            sources += _in_folder(path, below=below)
        else:
            sources.append(ImageSource(path, image_name(path)))
    unique = {(source.path.resolve(), source.files): source for source in sources}
    return _named_apart(_stacked(unique.values()) if stacks else list(unique.values()))


def _stacked(sources: Iterable[ImageSource]) -> list[ImageSource]:
    """Put planes that are called by numbers together."""
    every = list(sources)
    planes = [source.path for source in every if not source.files and _kind(source.path) in ("plain", "tiff")]
    groups = numbered_stacks(planes)
    taken = {path for _, files in groups for path in files}
    stacks = [ImageSource(files[0].parent, name, tuple(files), numbered=True) for name, files in groups]
    return [*(source for source in every if source.path not in taken), *stacks]


def _named_apart(sources: Sequence[ImageSource]) -> list[ImageSource]:
    """Give the full name, with its ending, to files that only differ by it and have results of one kind."""
    counts = Counter((source.name, is_called_nifti(source.path)) for source in sources)
    return [
        replace(source, name=source.path.name.replace(".", "_"))
        if counts[source.name, is_called_nifti(source.path)] > 1 and not source.files
        else source
        for source in sources
    ]


def is_called_nifti(path: Path) -> bool:
    """Tell whether a file has the name of a NIfTI file."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


def folders_below(folder: Path) -> Iterator[Path]:
    """Yield the visible folders in a folder, and those in them; images that are folders, and links, are left out."""
    if is_zarr(folder):
        return
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink() and not path.name.startswith(".") and not is_zarr(path):
            yield path
            yield from folders_below(path)


def passed_over(folder: Path) -> list[Path]:
    """Return the folders in a folder that hold images which are not opened with its own.

    Those of a data folder are left out: `img/`, and masks of it; so are hidden ones.
    """
    if is_zarr(folder):
        return []
    folders = [path for path in sorted(folder.iterdir()) if path.is_dir() and not is_zarr(path)]
    others = [path for path in folders if path.name not in DATA_FOLDERS and not path.name.startswith(".")]
    return [path for path in others if any(map(_holds_image, (path, *folders_below(path))))]


def _holds_image(folder: Path) -> bool:
    return any(
        is_zarr(path) if path.is_dir() else has_image_ending(path) or _kind(path) is not None
        for path in itertools.islice(folder.iterdir(), MAX_FILES)
        if not path.name.startswith(".")
    )


def _in_folder(folder: Path, *, below: bool) -> list[ImageSource]:
    """Return the images of one folder."""
    folders = [one for one in (folder / "img", folder) if one.is_dir()]
    sources = [source for one in folders for source in _directly_in(one)]
    if not sources and below:
        sources = [
            replace(source, name=" ".join([*one.relative_to(folder).parts[:-1], _within(one.name, source.name)]))
            for one in itertools.islice(folders_below(folder), MAX_FILES)
            for source in _directly_in(one)
        ]
    if not sources:
        raise DatasetError(f"{folder} holds no image, {visible_contents(folder)}; give a folder of images.")
    return sources


def _within(folder: str, name: str) -> str:
    """Return what an image in a folder is called; that of a series has the name of its folder already."""
    return name if name.startswith(folder) else f"{folder} {name}"


def _directly_in(folder: Path) -> list[ImageSource]:
    dicom: list[Path] = []
    sets: set[frozenset[str]] = set()
    sources: list[ImageSource] = []
    for path in itertools.islice(sorted(folder.iterdir()), MAX_FILES):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if is_zarr(path):
                sources.append(ImageSource(path, image_name(path)))
            continue
        kind = _kind(path)
        if kind == "dicom" and path.name.upper() != "DICOMDIR":
            dicom.append(path)
        elif kind == "tiff" and (members := set_key(path)):
            # Each file of a set opens all of it.
            if members not in sets:
                sets.add(members)
                sources.append(ImageSource(path, image_name(path)))
        elif kind != "dicom" and (kind is not None or has_image_ending(path)):
            sources.append(ImageSource(path, image_name(path)))
    return sources + _dicom_sources(dicom, folder)


def _kind(path: Path) -> str | None:
    try:
        return image_kind(path)
    except ImageError:  # it is reported when it is opened
        return None


def _dicom_sources(paths: Sequence[Path], folder: Path) -> list[ImageSource]:
    """Return the volumes of a folder of DICOM files, and the files that are images, or failures, of their own."""
    groups, failed = dicom_groups(paths)
    members = [tuple(dict.fromkeys(frame.path for frame in group)) for group in groups]
    volumes = [files for files in members if len(files) > 1]
    alone = {files[0] for files in members if len(files) == 1} | set(failed)
    names = [folder.name] if len(volumes) == 1 else [f"{folder.name} {number}" for number in range(1, len(volumes) + 1)]
    return [
        *(ImageSource(folder, name, files) for name, files in zip(names, volumes, strict=True)),
        *(ImageSource(path, image_name(path)) for path in sorted(alone)),
    ]
