"""Data folders in LViT layout: images, masks, class names and captions, paired by file stem."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from napari_amvlm.errors import DatasetError
from napari_amvlm.imaging.captions import read_captions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike, NDArray

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm")
"""Endings of the files that count as images and masks, in any case."""

MasksWanted = Literal["required", "optional", "none"]

_MASK_FOLDERS = ("labelcol", "instances")
_MASK_PREFIX = "mask_"
_LISTED = 5


@dataclass(frozen=True)
class ImagePair:
    """An image of a data folder, with what is known about it.

    Attributes
    ----------
    name
        Stem of the image file.
    image
        The image file.
    mask
        The file of its mask; None if it has none, or masks were not asked for.
    caption
        The sentence about it, None if there is none.
    reviewed
        The file that says which pixels somebody looked at, above 0; None if that is all of them.
    """

    name: str
    image: Path
    mask: Path | None
    caption: str | None
    reviewed: Path | None = None

    def required_mask(self) -> Path:
        """Return `mask`.

        Raises
        ------
        DatasetError
            There is none.
        """
        if self.mask is None:
            raise DatasetError(
                f"{self.image} has no mask; add one of the same name to labelcol/ or take the image out."
            )
        return self.mask


@dataclass(frozen=True)
class DataFolder:
    """A data folder.

    Attributes
    ----------
    root
        The folder.
    pairs
        Its images, sorted by name; at least one.
    classes
        Mask values and their prompts, in the order of `classes.csv`; empty where masks show one thing.
    """

    root: Path
    pairs: tuple[ImagePair, ...]
    classes: tuple[tuple[int, str], ...]


def read_folder(root: str | Path, *, masks: MasksWanted = "required") -> DataFolder:
    """Describe a data folder without opening its images.

    The layout is that of LViT: `img/`, and masks in `labelcol/` (0/255, or class values with a `classes.csv` of
    `value,prompt`) or `instances/` (a number for each object).  A mask has its image's stem, or that behind
    `mask_`.  Where only a part of an image was reviewed, a file in `reviewed/` says which, as in exports of projects.
    Captions come from files named `*_text.xlsx` or `*_text.csv`.  Where masks are not required, a folder that holds
    images and no `img/` will do.

    Parameters
    ----------
    root
        The folder.
    masks
        "required": every image must have one; "optional": an image may have none; "none": masks and classes are not
        looked at.

    Raises
    ------
    DatasetError
        Something is missing or does not fit; the message says what, and what was found.
    """
    folder = Path(root)
    if masks not in get_args(MasksWanted):
        raise DatasetError(f"Expected masks to be one of {list(get_args(MasksWanted))}, but got {masks!r}.")
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise DatasetError(f"{folder} {what}; give a data folder with img/ and labelcol/.")
    images = _images(folder, masks)
    found = {} if masks == "none" else _masks(folder, images, required=masks == "required")
    captions = read_captions(folder)
    place = folder / "reviewed"
    reviewed = _by_stem(place) if masks != "none" and place.is_dir() else {}
    pairs = tuple(
        ImagePair(
            name, path, found.get(name), captions.get(name) or captions.get(_MASK_PREFIX + name), reviewed.get(name)
        )
        for name, path in images.items()
    )
    by_value = any(mask.parent.name == "labelcol" for mask in found.values())
    return DataFolder(folder, pairs, read_classes(folder / "classes.csv") if by_value else ())


def binary_mask(labels: ArrayLike, value: int | None = None) -> NDArray[np.bool_]:
    """Return where `labels` show one thing: the pixels of class `value`, or, if None, all above 0.

    Examples
    --------
    >>> binary_mask([[0, 1, 2]]).tolist(), binary_mask([[0, 1, 2]], 2).tolist()
    ([[False, True, True]], [[False, False, True]])
    """
    values = np.asarray(labels)
    return np.asarray(values > 0 if value is None else values == value, dtype=np.bool_)


def _images(root: Path, masks: MasksWanted) -> dict[str, Path]:
    """Return the image files by stem."""
    place = root / "img"
    if not place.is_dir():
        if masks == "required":
            raise DatasetError(f"{root} has no folder img/, only {_contents(root)}; put the images into img/.")
        place = root
    images = _by_stem(place)
    if not images:
        raise DatasetError(
            f"{place} holds no image, only {_contents(place)}; expected files ending in {', '.join(SUFFIXES)}."
        )
    return images


def _masks(root: Path, images: dict[str, Path], *, required: bool) -> dict[str, Path]:
    """Return the mask files by the stem of their image."""
    places = [root / name for name in _MASK_FOLDERS if (root / name).is_dir()]
    if not places:
        if required:
            raise DatasetError(
                f"{root} has no folder labelcol/ or instances/, only {_contents(root)}; put the masks into labelcol/."
            )
        return {}
    found: dict[str, Path] = {}
    strangers: list[str] = []
    for stem, path in _by_stem(places[0]).items():
        name = stem if stem in images else stem.removeprefix(_MASK_PREFIX)
        if name in found:
            raise DatasetError(f"{found[name]} and {path} are both masks of the image {name}; remove one.")
        if name in images:
            found[name] = path
        else:
            strangers.append(path.name)
    if strangers:
        raise DatasetError(f"{places[0]} has masks without an image in img/ of the same stem: {_listed(strangers)}.")
    without = [images[name].name for name in images if name not in found]
    if without and required:
        raise DatasetError(
            f"{root} has images without a mask of the same stem in {places[0].name}/: {_listed(without)}; "
            "add the masks or take the images out."
        )
    return found


def _by_stem(place: Path) -> dict[str, Path]:
    """Return the visible image files of one folder by stem, sorted by it."""
    found: dict[str, Path] = {}
    for path in sorted(place.iterdir()):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith(".") or not path.is_file():
            continue
        if path.stem in found:
            raise DatasetError(f"{found[path.stem]} and {path.name} have the same stem; rename or remove one.")
        found[path.stem] = path
    return dict(sorted(found.items()))


def read_classes(path: Path) -> tuple[tuple[int, str], ...]:
    """Return mask values and prompts out of a `classes.csv`, without 0, the background; empty if there is no file.

    Raises
    ------
    DatasetError
        It has not the columns `value,prompt`, or a row that cannot be used.
    """
    if not path.is_file():
        return ()
    wanted = f"{path}: expected a header value,prompt and a row for each class, for instance 1,left lung"
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file, skipinitialspace=True, strict=True))
            classes = [(int(row["value"]), " ".join(row["prompt"].split())) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DatasetError(f"{wanted}, but it cannot be read so ({error!r}).") from error
    classes = [(value, prompt) for value, prompt in classes if value != 0]
    if not classes or any(value < 0 or not prompt for value, prompt in classes):
        raise DatasetError(f"{wanted}, with values above 0 and no empty prompt, but got {classes}.")
    for what in ([str(value) for value, _ in classes], [prompt.casefold() for _, prompt in classes]):
        twice = [item for item, count in Counter(what).items() if count > 1]
        if twice:
            raise DatasetError(f"{path}: {_listed(twice)} stands there more than once; give each class one row.")
    return tuple(classes)


def _contents(place: Path) -> str:
    """Say what is in a folder."""
    names = sorted(path.name + "/" * path.is_dir() for path in place.iterdir() if not path.name.startswith("."))
    return _listed(names) if names else "nothing"


def _listed(names: Iterable[str]) -> str:
    """Return the first few names, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - _LISTED} more" if len(every) > _LISTED else ""
    return ", ".join(every[:_LISTED]) + more
