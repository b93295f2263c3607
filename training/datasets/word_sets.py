"""Sets of images for a vocabulary: an index file or a recipe names them, and nothing about them is written in code."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError

from napari_amvlm.config import Config, ScaleName
from napari_amvlm.errors import DatasetError
from training.datasets.registry import subject_in, with_one_group

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Split = Literal["subjects", "hash", "none"]
"""How validation images are chosen: a share of the subjects, one subject in eight by hash, or none."""


class SetSpec(Config):
    """One set of images in LViT layout, as a row of `sets.csv` or a table of a recipe says.

    Attributes
    ----------
    folder
        Its folder, relative to the index file or to the data folder; empty: `name`.
    prompts
        Words that its masks show, in the order of the index; empty: those of `classes.csv`.
    modality
        How the images were made, in words, for instance "chest X-ray".
    kind
        "tiles": looked at at native scale; "whole": resized to one canvas.
    licence, weights
        Licence of the data, and which weights it may train.
    subject
        Regular expression whose first group is the subject in a file's stem; empty: every image is its own.
    share
        Share of all images drawn that come from the set; None: what is left is balanced over sets and words.
    paired
        Words whose masks show a left and a right one in a picture seen from the front: the sides become words too.
    absent
        Taught words that none of its images shows, beside those that its modality excludes.
    source
        Who made the data, for the credits of pictures.
    notes
        Free text; "partial truth" marks sets that leave objects unnamed.
    """

    name: str = Field(min_length=1)
    folder: str = ""
    prompts: tuple[str, ...] = ()
    modality: str = ""
    kind: ScaleName
    licence: str = "not stated"
    weights: str = "own"
    subject: Annotated[str, AfterValidator(lambda pattern: pattern and with_one_group(pattern))] = ""
    split: Split = "subjects"
    share: float | None = Field(None, gt=0, lt=1)
    paired: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    source: str = ""
    notes: str = ""

    @property
    def partial(self) -> bool:
        """Whether objects are left unnamed, so that what is not named is unknown and not background."""
        return "partial truth" in self.notes.casefold()

    def subject_of(self, stem: str) -> str:
        """Return the subject of the file called `stem`; the stem itself where nothing is known."""
        found = subject_in(self.subject, stem) if self.subject else None
        return stem if found is None else found


_SAID = ("modality", "kind", "licence", "weights", "subject", "notes")
"""Columns of an index that are fields of `SetSpec`."""


def read_index(path: Path, weights: tuple[str, ...] = ()) -> tuple[SetSpec, ...]:
    """Read an index of sets, and return those whose column `weights` is one of `weights` (empty: all).

    Raises
    ------
    DatasetError
        The file is missing or has a row that cannot be used.
    """
    specs: list[SetSpec] = []
    for number, row in enumerate(_rows(path, ("set", "prompts", *_SAID)), start=2):
        values: dict[str, Any] = {key: row[key] for key in _SAID}
        values |= {"name": row["set"], "folder": str(path.parent / row["set"]), "source": row.get("source", "")}
        values["prompts"] = tuple(p.strip() for p in row["prompts"].split(";") if p.strip())
        try:
            specs.append(SetSpec.model_validate(values))
        except ValidationError as error:
            first = error.errors()[0]
            raise DatasetError(
                f"{path}, line {number} (set {row['set']!r}): {first['loc'][0]} is {first.get('input')!r}, but "
                f"{first['msg'].removeprefix('Value error, ')}; correct that line."
            ) from error
    if not specs:
        raise DatasetError(f"{path} names no set; give it a row for each set.")
    unknown = set(weights) - {spec.weights for spec in specs}
    if unknown:
        raise DatasetError(f"{path} has no set whose weights are {sorted(unknown)}; see its column `weights`.")
    return tuple(spec for spec in specs if not weights or spec.weights in weights)


def read_wordings(path: Path) -> dict[str, tuple[str, ...]]:
    """Read a table of `prompt,wording`: for each word the ways in which people say it.

    Raises
    ------
    DatasetError
        The file is missing or is no such table.
    """
    wordings_of: dict[str, list[str]] = {}
    for row in _rows(path, ("prompt", "wording")):
        prompt, wording = (" ".join(row[key].split()) for key in ("prompt", "wording"))
        if prompt and wording and wording not in wordings_of.setdefault(prompt, []):
            wordings_of[prompt].append(wording)
    return {prompt: tuple(wordings) for prompt, wordings in wordings_of.items()}


def _rows(path: Path, wanted: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of a table that has the columns `wanted`."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file, strict=True, restval=""))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"{path} cannot be read ({error}); expected a table with columns {', '.join(wanted)}."
        ) from error
    missing = [name for name in wanted if rows and name not in rows[0]]
    if missing or not rows:
        raise DatasetError(f"{path} lacks {', '.join(missing) or 'any row'}; expected columns {', '.join(wanted)}.")
    return rows
