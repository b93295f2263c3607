"""Label images as answers: TIFF and PNG files, alone or in a folder in LViT layout."""

from __future__ import annotations

import csv
import re
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import DatasetError, InputError, LabelsError
from napari_amvlm.imaging import bounded_numbers, read_mask
from napari_amvlm.imaging.folder import SUFFIXES, normal_form, prompt_folders, read_classes
from napari_amvlm.imaging.whole_masks import is_whole_of
from napari_amvlm.imports.imported_masks import Answers, ImageReference, ImportedMasks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray


_MOST_PIECES = 4
"""Of an object, on average: branches of one cell meet outside the plane."""


_MARK = re.compile(r"^mask_|_(cp_masks?|masks?|labels?|seg|segmentation|gt|instances)$", re.IGNORECASE)
"""What programs put before or behind the name of an image to call its label image."""


def read_label_folder(folder: Path, prompt: str | None) -> Iterator[ImportedMasks]:
    """Yield the label images of a folder that has `labelcol/`.

    Raises
    ------
    DatasetError
        There is no `labelcol/`, no label image in it, or two of one stem.
    """
    labels = folder / "labelcol"
    files = [path for path in sorted(labels.iterdir()) if _is_label(path)] if labels.is_dir() else []
    if not files:
        raise DatasetError(f"{folder} has no label images in labelcol/: give a folder that has, or single files.")
    by_stem: dict[str, Path] = {}
    for path in files:
        if (other := by_stem.setdefault(normal_form(path.stem), path)) != path:
            raise DatasetError(f"{other} and {path.name} have the same stem: rename or remove one.")
    for path in files:
        yield read_label_file(path, prompt)


def read_label_file(path: Path, prompt: str | None) -> ImportedMasks:
    """Return what one label image holds.

    Its values are classes where a `classes.csv` lies beside it or one folder higher, and the numbers of objects of
    `prompt` where that is given. `reviewed/`, `masks/` and `objects/` beside its folder, as the export writes them, are
    read too. Its image is called like it, or without what Cellpose and others add: `a_cp_masks.png` is of `a`.

    Raises
    ------
    InputError
        It is not clear what the values mean.
    DatasetError
        `classes.csv` or `images.csv` cannot be read.
    """
    root = path.parent.parent
    classes = () if prompt else read_classes(path.parent / "classes.csv") or read_classes(root / "classes.csv")
    if not classes and not prompt:
        raise InputError(f"{path} has no classes.csv that says what its values mean: add one, or give --prompt.")
    name, sha256 = image_table(path.parent, root).get(normal_form(path.stem), (path.stem, None))
    plain = _MARK.sub("", path.stem)
    reference = ImageReference(name, sha256, path=None, also="" if plain == name else plain)
    if prompt:
        return ImportedMasks(path, reference, partial(_objects_of_one_prompt, path, prompt))
    return ImportedMasks(path, reference, partial(_classes_of, path, dict(classes)))


def _is_label(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _objects_of_one_prompt(path: Path, prompt: str, shape: tuple[int, int]) -> Answers:
    from skimage.measure import label

    labels = bounded_numbers(_labels(path, shape))
    mask = labels > 0
    values, problems = len(np.unique(labels[mask])), []
    # An object may be in some pieces, but so many are classes, or borders that were smoothed.
    shared = values > 1 and int(label(labels, connectivity=2).max(initial=0)) > _MOST_PIECES * values
    if shared:
        problems.append(
            f"{path}: its {values} values do not number objects, for each has more than {_MOST_PIECES} pieces on "
            "average: all above 0 is foreground, and every piece an object."
        )
    # One value alone says foreground, not that all of it is one object.
    objects = {prompt: labels} if values > 1 and not shared else {}
    return Answers({prompt: mask}, objects, _reviewed(path, shape), tuple(problems))


def _classes_of(path: Path, classes: Mapping[int, str], shape: tuple[int, int]) -> Answers:
    labels = _labels(path, shape)
    unknown = sorted(set(np.unique(labels).tolist()) - {0, *classes})
    if unknown:
        raise LabelsError(f"{path} has the values {unknown}, which classes.csv does not know: add them there.")
    masks = {prompt: labels == value for value, prompt in classes.items() if (labels == value).any()}
    objects: dict[str, NDArray[Any]] = {}
    folders = prompt_folders(list(classes.values()))
    for value, prompt in classes.items():
        file = beside(path, "masks", folders[prompt])
        if file is not None:
            whole = read_mask(file, shape) > 0
            if is_whole_of(whole, labels, value):
                masks[prompt] = whole
        file = beside(path, "objects", folders[prompt])
        if file is not None:
            objects[prompt] = bounded_numbers(_labels(file, shape))
            masks[prompt] = objects[prompt] > 0
    if not masks:
        raise LabelsError(f"{path} is empty, so it does not say which of {', '.join(classes.values())} was looked for.")
    return Answers(masks, objects, _reviewed(path, shape))


def _labels(path: Path, shape: tuple[int, int]) -> NDArray[Any]:
    labels = read_mask(path, shape)
    if labels.min(initial=0) < 0:
        raise LabelsError(f"{path} has values below 0: number objects and classes from 1 on.")
    return labels


def _reviewed(path: Path, shape: tuple[int, int]) -> NDArray[np.bool_] | None:
    file = beside(path, "reviewed")
    return None if file is None else read_mask(file, shape) > 0


def beside(path: Path, *folders: str) -> Path | None:
    """Return the label image of the same stem in another folder of an export, None where there is none."""
    if path.parent.name != "labelcol":
        return None
    folder = path.parent.parent.joinpath(*folders)
    files = (folder / f"{path.stem}{suffix}" for suffix in (path.suffix, *SUFFIXES))
    return next((file for file in files if file.is_file()), None)


def image_table(*folders: Path) -> dict[str, tuple[str, str | None]]:
    """Return name and hash of the images by the stem, in normal form, of their label images, out of `images.csv`."""
    for path in (folder / "images.csv" for folder in folders):
        if not path.is_file():
            continue
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                rows = [row for row in csv.DictReader(file, strict=True) if row["stem"]]
                known = {row["stem"]: (row["name"] or row["stem"], row["sha256"] or None) for row in rows}
                return {normal_form(stem): image for stem, image in known.items()}
        except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
            raise DatasetError(f"{path} cannot be read as stem,name,sha256 ({error!r}): mend or remove it.") from error
    return {}
