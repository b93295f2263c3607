"""Grids of runs: rows (settings) by label fractions by seeds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from napari_amvlm.config import Config
from napari_amvlm.errors import InputError
from training.datasets.asking import PromptMode  # noqa: TC001 - pydantic reads it
from training.datasets.splits import Labels  # noqa: TC001 - pydantic reads it
from training.runs.recipe import RunRecipe, validated

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

GRID = "grid.json"
"""File beside the runs of a grid: the names of its rows in their order."""


class Row(Config):
    """One row of an ablation: what it changes in the grid's recipe.

    Attributes
    ----------
    name
        Of the row in tables.
    kind
        "amvlm" or "plain-unet".
    start
        Weights that the row starts from: a name given on the command line by `--start NAME=FILE`, an installed model or
        a file; None leaves the recipe's.
    prompts, score_prompts
        Ways of asking; None leaves the recipe's.
    learning
        Fields of `LearningConfig` on top of the recipe's.
    """

    name: str = Field(min_length=1)
    kind: Literal["amvlm", "plain-unet"] = "amvlm"
    start: str | None = None
    prompts: PromptMode | None = None
    score_prompts: tuple[PromptMode, ...] | None = None
    learning: dict[str, Any] = Field(default_factory=dict)


class Grid(Config):
    """A sequence of runs.

    Attributes
    ----------
    recipe
        What all runs share: fields of `RunRecipe` but for name, labels and seed.
    fractions
        Labels of the columns.
    seeds
        Every cell is run with each; all cells of a seed come before the next seed.
    rows
        Rows in the order of the table.
    """

    recipe: dict[str, Any]
    fractions: tuple[Labels, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    rows: tuple[Row, ...] = Field(min_length=1)

    @field_validator("rows")
    @classmethod
    def _check_names(cls, rows: tuple[Row, ...]) -> tuple[Row, ...]:
        check_row_names(row.name for row in rows)
        return rows

    def runs(self, starts: Mapping[str, Path], where: str) -> Iterator[tuple[str, RunRecipe]]:
        """Yield the folder (relative) and the recipe of every run, in their order.

        Parameters
        ----------
        starts
            Files of the weights that rows name.
        where
            The grid's file, for messages.

        Raises
        ------
        InputError
            A row's settings do not fit.
        """
        for seed in self.seeds:
            for labels in self.fractions:
                for row in self.rows:
                    folder = f"{folder_name(row.name)}/labels-{folder_name(str(labels))}/seed-{seed}"
                    values = self._values(row, starts) | {"labels": labels, "seed": seed}
                    yield folder, validated(RunRecipe, values, f"{where}, row {row.name!r}")

    def _values(self, row: Row, starts: Mapping[str, Path]) -> dict[str, Any]:
        values = dict(self.recipe) | {"name": row.name, "method": row.kind}
        values["learning"] = {**self.recipe.get("learning", {}), **row.learning}
        if row.start is not None:
            values["start"] = str(starts.get(row.start, row.start))
        if row.kind == "plain-unet":
            values |= {"prompts": "fixed", "score_prompts": ()}
        for key in ("prompts", "score_prompts"):
            if getattr(row, key) is not None:
                values[key] = getattr(row, key)
        return values


def check_row_names(names: Iterable[str]) -> None:
    """Raise `ValueError` if two rows would share a folder."""
    folders = [folder_name(name) for name in names]
    twice = sorted({name for name in folders if folders.count(name) > 1})
    if twice:
        raise ValueError(f"rows need names that differ in letters or digits, but {', '.join(twice)} comes twice")


def folder_name(name: str) -> str:
    """Return a name as a folder is called.

    Examples
    --------
    >>> folder_name("+ CSS/ICL pretraining"), folder_name("25%")
    ('css-icl-pretraining', '25-percent')
    """
    words = re.findall(r"[a-z0-9.]+", name.casefold().replace("%", " percent"))
    if not words:
        raise InputError(f"{name!r} has no letter or digit to call a folder by; choose another name.")
    return "-".join(words)
