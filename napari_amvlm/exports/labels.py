"""Label images in LViT layout: `labelcol/` with values 1..K, a `classes.csv`, and `img/` where it is wanted."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_amvlm.errors import DatasetError, InputError, ProjectBusyError, ProjectError, StorageError
from napari_amvlm.exports.annotated import IMAGE_SUFFIXES, annotated_images, file_stems, project_prompts
from napari_amvlm.exports.label_files import (
    write_classes,
    write_image_table,
    write_png,
    write_tiff,
)
from napari_amvlm.files import disk_errors, write_atomically
from napari_amvlm.imaging.folder import SUFFIXES, normal_form, prompt_folders
from napari_amvlm.review import OverlapRule, compose_classes, disputed_pixels
from napari_amvlm.wording import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_amvlm.exports.annotated import AnnotatedImage
    from napari_amvlm.project import Project

_ENDINGS = {"tiff": ".tif", "png": ".png"}
_TABLE = "images.csv"
"""Every export writes it last: where it is missing, the label images are somebody else's."""


def export_labels(
    project: Project, root: Path, kind: Literal["tiff", "png"], *, images: bool = False, objects: bool = False
) -> list[str]:
    """Write one label image for every accepted image; `evaluate` and `fine-tune --labelled` read the folder.

    Parameters
    ----------
    root
        Folder to write to: `labelcol/`, where one prompt wins each pixel; `masks/PROMPT/`, 0/255, with every prompt's
        mask whole; `reviewed/`, 0/255, for images that were not reviewed everywhere.
    images
        Write the images to `img/` too.
    objects
        Write the numbers of objects to `objects/PROMPT/` too, whole as the masks.

    An earlier export there is replaced: what it holds of an image and this one does not, is removed, and so is all of
    an image whose masks cannot be read any more.

    Returns
    -------
    list of str
        What a reader should know: pixels that two prompts claimed, and what nobody looked at.

    Raises
    ------
    InputError
        `labelcol/` holds label images that no export wrote, or one of another image: its values would be read by
        another `classes.csv`.
    DatasetError, ProjectError, StorageError
        See `export_coco`.
    """
    prompts = project_prompts(project)
    _refuse_others(root, {normal_form(stem).casefold() for _, stem in file_stems(project)})
    folders = prompt_folders(prompts)
    rule, order = project.prompts.overlap_rule(), project.prompts.overlap_order()
    notes: list[str] = []
    table: list[tuple[str, str, str]] = []
    for image in annotated_images(project, notes):
        table.append((image.stem, image.record.name, image.file_hash))
        labels, hidden = merged_labels(image.masks, prompts, rule=rule, order=order)
        written = [_write(root / "labelcol", image.stem, labels, kind)]
        if image.reviewed is not None:
            written.append(_write(root / "reviewed", image.stem, image.reviewed.astype(np.uint8) * 255, kind))
        for prompt, mask in image.masks.items():
            written.append(_write(root / "masks" / folders[prompt], image.stem, mask.astype(np.uint8) * 255, kind))
        if objects:
            for prompt, numbers in image.objects.items():
                fitting = _fitting(numbers, kind, image.stem)
                written.append(_write(root / "objects" / folders[prompt], image.stem, fitting, kind))
        _remove_others(root, image.stem, written)
        if images:
            try:
                _write_image(project, image, root / "img")
            except (ProjectBusyError, StorageError):
                raise
            except ProjectError as error:
                notes.append(f"{image.stem}: its masks are there, but not the image itself: {error}")
        if hidden:
            notes.append(overlap_note(image.stem, hidden, rule))
    exported = {stem for stem, _, _ in table}
    for _, stem in file_stems(project):
        if stem not in exported:
            _remove_others(root, stem, ())  # of an earlier export: the new classes.csv may name its values otherwise
    write_classes(root / "classes.csv", prompts)
    write_image_table(root / _TABLE, table)
    return notes


def overlap_note(stem: str, pixels: int, rule: OverlapRule) -> str:
    """Say which prompt has the pixels of a label image that several masks claim."""
    winner = "of the smallest mask" if rule is OverlapRule.SMALLEST else "that comes first in the project"
    return f"{stem}: several prompts claim {counted(pixels, 'pixel')}; labelcol/ has the one {winner}."


def merged_labels(
    masks: Mapping[str, NDArray[np.bool_]],
    prompts: Sequence[str],
    *,
    rule: OverlapRule = OverlapRule.SMALLEST,
    order: Sequence[str] = (),
) -> tuple[NDArray[Any], int]:
    """Return one label image `(H, W)` and the number of pixels that several masks claim.

    Parameters
    ----------
    masks
        For each prompt a mask `(H, W)`.
    prompts
        All prompts of the export; the first has the value 1.
    rule, order
        Who wins a pixel that several masks claim: see `napari_amvlm.review.compose_classes`.

    Examples
    --------
    >>> lungs, left = np.array([[True, True, False]]), np.array([[False, True, False]])
    >>> merged_labels({"left lung": left, "lungs": lungs}, ["lungs", "left lung"])
    (array([[1, 2, 0]], dtype=uint8), 1)
    """
    values = {prompt: number for number, prompt in enumerate(prompts, start=1)}
    labels = compose_classes(masks, values, rule=rule, order=order)
    return labels, int(np.count_nonzero(disputed_pixels(masks)))


def _fitting(numbers: NDArray[np.integer], kind: Literal["tiff", "png"], stem: str) -> NDArray[Any]:
    """Return object numbers in an unsigned type that the format has."""
    fitting = numbers.astype(np.min_scalar_type(int(numbers.max(initial=0))))
    if kind == "png" and fitting.dtype.itemsize > 2:
        raise DatasetError(f"{stem} has objects numbered above 65535, which PNG cannot hold: export as tiff.")
    return fitting


def _write(folder: Path, stem: str, array: NDArray[Any], kind: Literal["tiff", "png"]) -> Path:
    """Write an array in the format that is wanted; return its file."""
    path = folder / f"{stem}{_ENDINGS[kind]}"
    if kind == "tiff":
        write_tiff(path, array, axes="YX")
    else:
        write_png(path, array)
    return path


def _refuse_others(root: Path, stems: Collection[str]) -> None:
    """Raise InputError where `labelcol/` holds what no export wrote, or an image of none of these case-folded names."""
    folder = root / "labelcol"
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    labels = [path for path in files if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]
    if labels and not (root / _TABLE).is_file():
        raise InputError(
            f"{folder} holds label images, but {root} no {_TABLE} of a finished export; empty it, or give another one."
        )
    for path in labels:
        if normal_form(path.stem).casefold() not in stems:
            raise InputError(
                f"{path} is of no image in this export, whose classes.csv may give its values another meaning; remove "
                "it, or give a new or an empty folder."
            )


def _remove_others(root: Path, stem: str, written: Collection[Path]) -> None:
    """Remove what an earlier export wrote of an image and this one did not, for it would be read as a part of it."""
    below = [folder for name in ("masks", "objects") if (root / name).is_dir() for folder in (root / name).iterdir()]
    for folder in (root / "labelcol", root / "reviewed", *below):
        for ending in _ENDINGS.values():
            path = folder / f"{stem}{ending}"
            if path not in written and path.is_file():
                with disk_errors(path):
                    path.unlink()


def _write_image(project: Project, image: AnnotatedImage, folder: Path) -> None:
    """Copy the image's file, or write its pixels where there is no such file."""
    pixels = project.images.load(image.record)
    path = project.images.get(image.record.id).path
    if path.is_file() and path.suffix.casefold() in IMAGE_SUFFIXES:
        copy = folder / f"{image.stem}{path.suffix}"
        write_atomically(copy, lambda temporary: shutil.copyfile(path, temporary), make_folder=True)
    else:
        write_tiff(folder / f"{image.stem}.tif", pixels, axes="YX" if pixels.ndim == 2 else "YXS")
