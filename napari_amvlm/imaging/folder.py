"""Data folders in LViT layout: images, masks, class names and captions, paired by file stem."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from napari_amvlm.errors import DatasetError, ImageError
from napari_amvlm.imaging.captions import read_captions
from napari_amvlm.imaging.formats.kinds import image_kind
from napari_amvlm.imaging.image_data import image_name
from napari_amvlm.imaging.reading import read_image, read_mask
from napari_amvlm.imaging.values import to_rgb01
from napari_amvlm.wording import tidied

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike, NDArray

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm")
"""Endings of the files that count as images and masks, in any case."""

MasksWanted = Literal["required", "optional", "none"]

_MASK_FOLDERS = ("labelcol", "instances")
DATA_FOLDERS = frozenset(("img", *_MASK_FOLDERS, "masks", "objects", "reviewed"))
_MASK_PREFIX = "mask_"
_LISTED = 5
_DEVICE = re.compile(
    r"(con|prn|aux|nul|(com|lpt)[0-9\N{SUPERSCRIPT ONE}\N{SUPERSCRIPT TWO}\N{SUPERSCRIPT THREE}]) *", re.I
)
"""Names that Windows keeps for devices, with any ending."""


@dataclass(frozen=True)
class ImagePair:
    """An image of a data folder, with what is known about it.

    Attributes
    ----------
    mask
        The file of its mask; None if it has none, or masks were not asked for.
    caption
        The sentence about it, None if there is none.
    reviewed
        The file that says which pixels somebody looked at, above 0; None if that is all of them.
    objects
        The file in `instances/` with a number for each object; None if there is none.
    whole
        Prompts with the files of their whole masks in `masks/`, as exports write them; empty if there is none.
    """

    name: str
    image: Path
    mask: Path | None
    caption: str | None
    reviewed: Path | None = None
    objects: Path | None = None
    whole: tuple[tuple[str, Path], ...] = ()

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

    def pixels(self) -> NDArray[np.float32]:
        """Read the image as models look at it, float32 `(H, W, 3)` in [0, 1]; raise `ImageError` as `read_image`."""
        return to_rgb01(read_image(self.image).data, name=self.name)

    def labels(self, shape: tuple[int, ...]) -> NDArray[Any]:
        """Read the mask of the image, which has this `shape`, `(H, W)` or `(H, W, 3)`, as `read_mask` does."""
        return read_mask(self.required_mask(), shape[:2])


@dataclass(frozen=True)
class DataFolder:
    """A data folder.

    Attributes
    ----------
    pairs
        Its images, sorted by name; at least one.
    classes
        Mask values and their prompts, in the order of `classes.csv`; empty where masks show one thing.
    """

    root: Path
    pairs: tuple[ImagePair, ...]
    classes: tuple[tuple[int, str], ...]

    def check_values(self, labels: NDArray[np.integer], path: Path) -> None:
        """Make sure that `classes.csv`, if there is one, names every value above 0 of a mask.

        Raises
        ------
        DatasetError
            It does not: what the mask shows there would be taken for background.
        """
        unknown = set(np.unique(labels).tolist()) - {0, *(value for value, _ in self.classes)}
        if self.classes and unknown:
            raise DatasetError(f"{path} holds the value {min(unknown)}, which classes.csv does not name; add it there.")


def read_folder(root: str | Path, *, masks: MasksWanted = "required") -> DataFolder:
    """Describe a data folder without opening its images.

    The layout is that of LViT: `img/`, and masks in `labelcol/` (0/255, or class values with a `classes.csv` of
    `value,prompt`) or `instances/` (a number for each object); where both are there, `instances/` tells the objects
    of the masks apart, and may lack images.  A mask has its image's stem, or that behind `mask_`.  Where only a part of
    an image was reviewed, a file in `reviewed/` says which, as in exports of projects, and `masks/PROMPT/` has the
    masks of each prompt of `classes.csv` whole: see `answered_masks`.
    Captions come from files named `*_text.xlsx` or `*_text.csv`.  Where masks are not required, a folder that holds
    images and no `img/` will do.

    Parameters
    ----------
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
    by_name = {} if masks == "none" else _masks(folder, images, required=masks == "required")
    captions = {normal_form(stem): caption for stem, caption in read_captions(folder).items()}
    reviewed = _by_stem(folder / "reviewed") if masks != "none" and (folder / "reviewed").is_dir() else {}
    objects = _by_stem(folder / "instances") if masks != "none" and (folder / "instances").is_dir() else {}
    by_value = any(mask.parent.name == "labelcol" for mask in by_name.values())
    classes = read_classes(folder / "classes.csv") if by_value else ()
    whole = {
        prompt: _by_stem(folder / "masks" / name)
        for prompt, name in prompt_folders([prompt for _, prompt in classes]).items()
        if (folder / "masks" / name).is_dir()
    }
    pairs = tuple(
        ImagePair(
            name,
            path,
            by_name.get(name),
            captions.get(name) or captions.get(_MASK_PREFIX + name),
            reviewed.get(name),
            objects.get(name) or objects.get(_MASK_PREFIX + name),
            tuple((prompt, files[name]) for prompt, files in whole.items() if name in files),
        )
        for name, path in images.items()
    )
    return DataFolder(folder, pairs, classes)


def file_slug(prompt: str) -> str:
    """Return `prompt` as a file name: letters and digits of any script, joined by hyphens."""
    return portable(re.sub(r"[\W_]+", "-", normal_form(prompt.casefold())).strip("-")[:60] or "prompt")


def portable(name: str) -> str:
    """Return a file name with a hyphen where Windows would take it for a device and could not make the file.

    Examples
    --------
    >>> portable("con"), portable("AUX.v2"), portable("contour")
    ('con-', 'AUX-.v2', 'contour')
    """
    stem, dot, ending = name.partition(".")
    return f"{stem}-{dot}{ending}" if _DEVICE.fullmatch(stem) else name


def prompt_folders(prompts: Sequence[str]) -> dict[str, str]:
    """Return a folder name for each prompt: its `file_slug`, with a number where an earlier prompt has that already."""
    folders: dict[str, str] = {}
    for prompt in prompts:
        slug, number = file_slug(prompt), 2
        folder = slug
        while folder in folders.values():
            folder, number = f"{slug}-{number}", number + 1
        folders[prompt] = folder
    return folders


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
    folder = root / "img"
    if not folder.is_dir():
        if masks == "required":
            raise DatasetError(f"{root} has no folder img/, {visible_contents(root)}; put the images into img/.")
        folder = root
    images = _by_stem(folder)
    if not images:
        raise DatasetError(
            f"{folder} holds no image, {visible_contents(folder)}; expected files ending in {', '.join(SUFFIXES)}."
        )
    return images


def _masks(root: Path, images: dict[str, Path], *, required: bool) -> dict[str, Path]:
    """Return the mask files by the stem of their image."""
    folders = [root / name for name in _MASK_FOLDERS if (root / name).is_dir()]
    if not folders:
        if required:
            raise DatasetError(
                f"{root} has no folder labelcol/ or instances/, {visible_contents(root)}; put the masks into labelcol/."
            )
        return {}
    masks: dict[str, Path] = {}
    unmatched: list[str] = []
    for stem, path in _by_stem(folders[0]).items():
        name = stem if stem in images else stem.removeprefix(_MASK_PREFIX)
        if name in masks:
            raise DatasetError(f"{masks[name]} and {path} are both masks of the image {name}; remove one.")
        if name in images:
            masks[name] = path
        else:
            unmatched.append(path.name)
    if unmatched:
        raise DatasetError(f"{folders[0]} has masks without an image in img/ of the same stem: {_listed(unmatched)}.")
    without = [images[name].name for name in images if name not in masks]
    if without and required:
        raise DatasetError(
            f"{root} has images without a mask of the same stem in {folders[0].name}/: {_listed(without)}; "
            "add the masks or take the images out."
        )
    return masks


def _by_stem(folder: Path) -> dict[str, Path]:
    """Return the visible image files of one folder by stem, composed to Unicode's normal form, and sorted by it.

    DICOM files count whatever they are called.
    """
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.is_file():
            continue
        if path.suffix.lower() in SUFFIXES:
            stem = normal_form(path.stem)
        elif _is_dicom(path):
            stem = normal_form(image_name(path))
        else:
            continue
        if stem in files:
            raise DatasetError(f"{files[stem]} and {path.name} have the same stem; rename or remove one.")
        files[stem] = path
    return dict(sorted(files.items()))


def normal_form(name: str) -> str:
    """Return a name in the form in which names are compared: systems store the same letters in two ways."""
    return unicodedata.normalize("NFC", name)


def _is_dicom(path: Path) -> bool:
    try:
        return path.name.upper() != "DICOMDIR" and image_kind(path) == "dicom"
    except ImageError:
        return False


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
            classes = [(int(row["value"]), tidied(row["prompt"])) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DatasetError(f"{wanted}, but it cannot be read so ({error!r}).") from error
    classes = [(value, prompt) for value, prompt in classes if value != 0]
    if not classes or any(value < 0 or not prompt for value, prompt in classes):
        raise DatasetError(f"{wanted}, with values above 0 and no empty prompt, but got {classes}.")
    for what in ([str(value) for value, _ in classes], [prompt for _, prompt in classes]):
        twice = [item for item, count in Counter(what).items() if count > 1]
        if twice:
            raise DatasetError(f"{path}: {_listed(twice)} stands there more than once; give each class one row.")
    return tuple(classes)


def visible_contents(folder: Path) -> str:
    """Say what alone is in a folder, for instance "only img/"."""
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir() if not path.name.startswith("."))
    return f"only {_listed(names)}" if names else "for it is empty"


def _listed(names: Iterable[str]) -> str:
    """Return the first few names, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - _LISTED} more" if len(every) > _LISTED else ""
    return ", ".join(every[:_LISTED]) + more
