"""Label images in LViT layout: `labelcol/` with values 1..K, a `classes.csv`, and `img/` where it is wanted."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_amvlm.exports.annotated import IMAGE_SUFFIXES, annotated_images, project_prompts, remarks
from napari_amvlm.exports.label_files import write_classes, write_png, write_tiff, written_whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_amvlm.exports.annotated import AnnotatedImage
    from napari_amvlm.project import Project


def export_labels(project: Project, root: Path, kind: Literal["tiff", "png"], *, images: bool = False) -> list[str]:
    """Write one label image for every accepted image; `evaluate` and `fine-tune --labelled` read the folder.

    Parameters
    ----------
    project
        Where the masks are.
    root
        Folder to write to: `labelcol/` (and `reviewed/`, 0/255, for images that were not reviewed everywhere).
    kind
        File format of the label images.
    images
        Write the images to `img/` too.

    Returns
    -------
    list of str
        What a reader should know: pixels that two prompts claimed, and what nobody looked at.

    Raises
    ------
    DatasetError
        Nothing has been accepted.
    StorageError
        The disk refused.
    """
    prompts = project_prompts(project)
    found: list[str] = []
    for image in annotated_images(project):
        labels, hidden = merged_labels(image.masks, prompts)
        _write(root / "labelcol", image.stem, labels, kind)
        if image.reviewed is not None:
            _write(root / "reviewed", image.stem, image.reviewed.astype(np.uint8) * 255, kind)
        if images:
            _write_image(project, image, root / "img")
        found.extend(remarks(image, prompts))
        if hidden:
            found.append(
                f"{image.stem}: {hidden} pixels belong to several prompts; they have the one of the smallest mask."
            )
    write_classes(root / "classes.csv", prompts)
    return found


def merged_labels(masks: Mapping[str, NDArray[np.bool_]], prompts: Sequence[str]) -> tuple[NDArray[Any], int]:
    """Return one label image `(H, W)` and the number of pixels that several masks claim.

    Such a pixel goes to the smallest mask, so that a part ("left lung") is not lost in its whole ("lungs").

    Examples
    --------
    >>> lungs, left = np.array([[True, True, False]]), np.array([[False, True, False]])
    >>> merged_labels({"left lung": left, "lungs": lungs}, ["lungs", "left lung"])
    (array([[1, 2, 0]], dtype=uint8), 1)
    """
    shape = next(iter(masks.values())).shape
    labels = np.zeros(shape, np.min_scalar_type(len(prompts)))
    for prompt in sorted(masks, key=lambda name: -np.count_nonzero(masks[name])):
        labels[masks[prompt]] = prompts.index(prompt) + 1
    claims = np.sum([mask.astype(np.uint16) for mask in masks.values()], axis=0)
    return labels, int(np.count_nonzero(claims > 1))


def _write(folder: Path, stem: str, array: NDArray[Any], kind: Literal["tiff", "png"]) -> None:
    """Write an array in the format that is wanted."""
    if kind == "tiff":
        write_tiff(folder / f"{stem}.tif", array, axes="YX")
    else:
        write_png(folder / f"{stem}.png", array)


def _write_image(project: Project, image: AnnotatedImage, folder: Path) -> None:
    """Copy the image's file, or write its pixels where there is no such file."""
    pixels = project.load_image(image.record)
    path = project.image(image.record.id).path
    if path.is_file() and path.suffix.casefold() in IMAGE_SUFFIXES:
        with written_whole(folder / f"{image.stem}{path.suffix}") as temporary:
            shutil.copyfile(path, temporary)
    else:
        write_tiff(folder / f"{image.stem}.tif", pixels, axes="YX" if pixels.ndim == 2 else "YXS")
