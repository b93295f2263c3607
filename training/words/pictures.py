"""A small picture of each word, out of sets whose licence lets it be passed on, with the source beside it."""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from scipy import ndimage

from napari_amvlm.files import write_atomically
from napari_amvlm.imaging.spine_levels import LEVELS
from training.words.corpus import load_set, split_subjects

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.datasets.word_sets import SetSpec
    from training.words.corpus import LabelledImage

SIDE = 96
"""Side of a picture, pixels."""
CREDITS = "credits.csv"
"""Which picture is out of which set: word, file, set, source, licence."""
_HEADS = ("word", "file", "set", "source", "licence")
_OPEN = re.compile(r"CC0|CC BY \d")
_OUTLINE = (255, 163, 26)
_AROUND = 2.2
"""Side of the part that is shown, in sides of the box around the word's largest piece."""


def may_be_shown(spec: SetSpec) -> bool:
    """Tell whether images of a set may be in the manual: those under CC0 or CC BY, and not share-alike."""
    return _OPEN.match(spec.licence) is not None


def draw_words(words: Sequence[str], sets: Iterable[SetSpec], data: Path, folder: Path) -> list[dict[str, str]]:
    """Write a picture of each word that a set shows which may be shown, and the credits; return these.

    Parameters
    ----------
    words
        Names of concepts.
    sets
        Where images come from, in this order; training images alone, since validation images are for scores.
    data, folder
        Where the sets lie, and where the pictures go.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows: dict[str, dict[str, str]] = {}
    for spec in filter(may_be_shown, sets):
        images = split_subjects(load_set(spec, data))[0]
        for word in words:
            best = max(
                ((m.sum(), i, m) for i in images if (m := _mask(i, word)).any()), key=lambda t: t[0], default=None
            )
            if word in rows or best is None:
                continue
            name = f"{re.sub(r'[^a-z0-9]+', '-', word.casefold()).strip('-')}.jpg"
            picture = Image.fromarray(_picture(best[1].image, best[2]))
            picture.save(folder / name, "JPEG", quality=72)
            credit = (word, name, spec.name, spec.source or spec.name, spec.licence)
            rows[word] = dict(zip(_HEADS, credit, strict=True))
    found = [rows[word] for word in words if word in rows]

    def write(path: Path) -> None:
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, _HEADS, lineterminator="\n")
            table.writeheader()
            table.writerows(found)

    write_atomically(folder / CREDITS, write)
    return found


def read_credits(folder: Path) -> list[dict[str, str]]:
    """Return the credits of the pictures in a folder; none where there is no file of them."""
    path = folder / CREDITS
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _mask(image: LabelledImage, word: str) -> NDArray[np.bool_]:
    if word in LEVELS and image.levels is not None:
        return np.asarray(image.levels == LEVELS.index(word) + 1)
    known = word in (*image.words, *image.spec.paired)
    return image.mask(word) if known else np.zeros(image.labels.shape, np.bool_)


def _picture(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return the part of an image around the largest piece of a mask, outlined, uint8 `(SIDE, SIDE, 3)`."""
    pieces, _ = ndimage.label(mask)
    largest = int(np.bincount(pieces.ravel())[1:].argmax()) + 1
    rows, columns = ndimage.find_objects((pieces == largest).astype(np.uint8))[0]
    box = max(rows.stop - rows.start, columns.stop - columns.start)
    side = int(np.clip(_AROUND * box, 64, max(mask.shape)))
    top, left = (int((s.start + s.stop - side) / 2) for s in (rows, columns))
    top, left = (
        min(max(0, start), size - side) if size > side else (size - side) // 2
        for start, size in zip((top, left), mask.shape, strict=True)
    )
    around = tuple(
        (max(0, -start), max(0, start + side - size)) for start, size in zip((top, left), mask.shape, strict=True)
    )
    part = np.pad(image, (*around, (0, 0)))[max(0, top) :, max(0, left) :][:side, :side]
    inside = np.pad(mask, around)[max(0, top) :, max(0, left) :][:side, :side]
    small = np.array(Image.fromarray(part).resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    shape = np.array(Image.fromarray(inside.astype(np.uint8) * 255).resize((SIDE, SIDE), Image.Resampling.BOX)) > 127
    small[shape & ~ndimage.binary_erosion(shape, iterations=2, border_value=1)] = _OUTLINE
    return small
