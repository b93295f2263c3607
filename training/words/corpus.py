"""Sets of images in memory: uint8, resized once, with labels, subjects, and the split for validation."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_amvlm.errors import DatasetError
from napari_amvlm.imaging import read_folder, resize
from napari_amvlm.imaging.captions import read_captions
from napari_amvlm.imaging.spine_levels import spine_levels
from training.pretraining.data import held_out, is_held_out, left_right_lungs, median_diameter

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_amvlm.imaging import DataFolder, ImagePair
    from training.datasets.word_sets import SetSpec

LONG_SIDE = {"whole": 384, "tiles": 1024}
"""Images with a longer side are reduced to this many pixels when they are read."""

_SHARE = 0.22
"""Share of a set's subjects that validation gets."""


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """An image and what its labels say.

    Attributes
    ----------
    name, subject, spec
        File stem, whom it is of, and the set.
    image
        uint8 `(H, W, 3)`.
    labels
        uint8 `(H, W)`: 0, or 1 + the index of the word in `words`.
    words
        Words of the set, in the order of the labels.
    caption
        A sentence about the image, where the set has any.
    object_size
        Median diameter of an object in pixels; 0 where images are seen whole.
    levels
        uint8 `(H, W)`: numbered levels of the spine, see `levels.LEVELS`; None where they cannot be told.
    """

    name: str
    subject: str
    spec: SetSpec
    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    words: tuple[str, ...]
    caption: str | None = None
    object_size: float = 0.0
    levels: NDArray[np.uint8] | None = None

    @property
    def key(self) -> str:
        """`SET/NAME`."""
        return f"{self.spec.name}/{self.name}"

    @property
    def pixels(self) -> NDArray[np.float32]:
        """The image as models look at it, float32 `(H, W, 3)` in [0, 1]."""
        return self.image.astype(np.float32) / np.float32(255)

    def shown(self) -> tuple[str, ...]:
        """Return the words that the labels show."""
        present = set(np.unique(self.labels).tolist())
        return tuple(word for index, word in enumerate(self.words, start=1) if index in present)

    def mask(self, word: str) -> NDArray[np.bool_]:
        """Return where `word` is, `(H, W)`; the word for a pair is the union of its left and right one."""
        return word_mask(self.labels, self.words, word)


def word_mask(labels: NDArray[np.uint8], words: Sequence[str], word: str) -> NDArray[np.bool_]:
    """Return where `labels` show `word`: a class, or both of a pair that the classes name by side."""
    if word in words:
        return np.asarray(labels == words.index(word) + 1)
    sides = sided(word)
    return np.isin(labels, [index for index, each in enumerate(words, start=1) if each in sides])


def sided(word: str) -> tuple[str, str]:
    """Return the left and the right one of a pair: "lungs" -> "left lung", "right lung"."""
    one = word.removesuffix("s")
    return f"left {one}", f"right {one}"


def load_set(spec: SetSpec, data: Path) -> list[LabelledImage]:
    """Read a set into memory; images that `sample_data` ships are left out.

    Raises
    ------
    DatasetError
        The folder is empty or missing, a mask holds a value that no class has, the classes are not the prompts, the
        captions are those of other images, or an image of a stained section is gray.
    """
    root = data / (spec.folder or spec.name)
    folder = read_folder(root)
    captions = read_captions(root)
    if captions and not any(pair.caption for pair in folder.pairs):
        raise DatasetError(
            f"{root} has captions of {next(iter(captions))!r} and others, but of none of its images; put the right "
            "table there or take it away."
        )
    values = dict(folder.classes)
    if spec.prompts and folder.classes and set(values.values()) != set(spec.prompts):
        raise DatasetError(
            f"{root / 'classes.csv'} names {', '.join(values.values())}, but the index has {', '.join(spec.prompts)} "
            f"for {spec.name}; make both agree."
        )
    if not folder.classes and len(spec.prompts) != 1:
        raise DatasetError(
            f"{root} has no classes.csv, and {len(spec.prompts)} prompts are given; give one prompt or a classes.csv."
        )
    words = tuple(values.values()) or spec.prompts
    kept_out = held_out(spec.name)
    return [_load(spec, pair, folder, words) for pair in folder.pairs if not is_held_out(pair.name, kept_out)]


def _load(spec: SetSpec, pair: ImagePair, folder: DataFolder, words: tuple[str, ...]) -> LabelledImage:
    pixels = pair.pixels()
    if "histology" in spec.modality and not np.ptp(pixels, axis=2).any():
        raise DatasetError(
            f"{pair.image} is gray, but {spec.name} is {spec.modality}, a stained section; correct the modality."
        )
    found = pair.labels(pixels.shape)
    size = median_diameter(found) if spec.kind == "tiles" and len(words) == 1 else 0.0
    labels = np.zeros(found.shape, np.uint8)
    if folder.classes:
        folder.check_values(found, pair.required_mask())
        for index, (value, _) in enumerate(folder.classes, start=1):
            labels[found == value] = index
    else:
        labels[found > 0] = 1
    image = (pixels * 255).round().astype(np.uint8)
    side = LONG_SIDE[spec.kind]
    if max(labels.shape) > side:
        factor = side / max(labels.shape)
        height, width = pixels.shape[:2]
        shape = (round(height * factor), round(width * factor))
        image = resize(image.astype(np.float32), shape).round().clip(0, 255).astype(np.uint8)
        labels = _reduced(labels, shape)
        size *= factor
    for word in spec.paired:
        if words == (word,):
            left, right = left_right_lungs(labels > 0)
            labels, words = np.where(left, 1, np.where(right, 2, 0)).astype(np.uint8), sided(word)
    levels = spine_levels(labels, words) if "vertebrae" in words else None
    return LabelledImage(pair.name, spec.subject_of(pair.name), spec, image, labels, words, pair.caption, size, levels)


def _reduced(labels: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Return labels at a smaller shape by their pixels' centres."""
    rows, columns = (((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip(shape, labels.shape, strict=True))
    return np.asarray(labels[rows][:, columns], np.uint8)


def words_of(images: Iterable[LabelledImage]) -> dict[str, str]:
    """Return every word that the images' sets teach, and its kind.

    Raises
    ------
    DatasetError
        A word is in sets of both kinds, or a word of a set is never shown.
    """
    found: dict[str, tuple[str, str]] = {}
    shown: dict[str, set[str]] = {}
    sets: dict[str, LabelledImage] = {}
    for image in images:
        sets[image.spec.name] = image
        shown.setdefault(image.spec.name, set()).update(image.shown())
    for name, image in sets.items():
        for word in (*image.words, *image.spec.paired):
            other = found.setdefault(word, (image.spec.kind, name))
            if other[0] != image.spec.kind:
                raise DatasetError(
                    f"{word!r} is in tiles in one of {other[1]} and {name} and whole in the other; a word is looked at "
                    "in one way, so change `kind` or the word."
                )
        never = [word for word in image.words if word not in shown[name]]
        if never:
            raise DatasetError(f"No mask of {name} shows {never[0]!r}; add an image that does or take the class out.")
    return {word: kind for word, (kind, _) in found.items()}


def split_subjects(images: Sequence[LabelledImage]) -> tuple[list[LabelledImage], list[LabelledImage]]:
    """Return the images for training and for validation, each in the given order.

    Of each set, about 22 per cent of the subjects are for validation: those whose names have the lowest hashes. A set
    of one subject is all for training. A subject is passed over if the rest would lack a word, or be fewer than half
    of the images.
    """
    validation: set[str] = set()
    for name in dict.fromkeys(image.spec.name for image in images):
        validation |= _held_out_keys([image for image in images if image.spec.name == name])
    return [i for i in images if i.key not in validation], [i for i in images if i.key in validation]


def _held_out_keys(images: list[LabelledImage]) -> set[str]:
    spec = images[0].spec
    subjects = {image.subject for image in images}
    hashes = {subject: zlib.crc32(f"{spec.name}/{subject}".encode()) for subject in subjects}
    if spec.split == "none":
        return set()
    if spec.split == "hash":
        return {image.key for image in images if hashes[image.subject] % 8 == 0}
    wanted = max(1, round(_SHARE * len(subjects))) if len(subjects) > 1 else 0
    every = {word for image in images for word in image.shown()}
    chosen: set[str] = set()
    for subject in sorted(subjects, key=lambda s: (hashes[s], s)):
        if len(chosen) == wanted:
            break
        rest = [image for image in images if image.subject not in chosen | {subject}]
        if 2 * len(rest) >= len(images) and {word for image in rest for word in image.shown()} == every:
            chosen.add(subject)
    return {image.key for image in images if image.subject in chosen}
