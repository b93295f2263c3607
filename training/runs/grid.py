"""Grids of runs: rows (settings) by seeds, and for single runs by label fractions."""

from __future__ import annotations

import itertools
import logging
import re
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, Self, TypeVar

from pydantic import BaseModel, Field, field_validator

from napari_amvlm.config import Config
from napari_amvlm.errors import InputError
from training.datasets.asking import PromptMode  # noqa: TC001 - pydantic reads it
from training.datasets.splits import Labels  # noqa: TC001 - pydantic reads it
from training.runs.recipe import RunRecipe, validated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

GRID = "grid.json"
"""File beside the runs of a grid: the names of its rows in their order."""

log = logging.getLogger("training.grid")


class NamedRow(Config):
    """One row of a grid: what it changes in the grid's recipe; `name` is that of the row in tables."""

    name: str = Field(min_length=1)


RowT = TypeVar("RowT", bound=NamedRow)
RecipeT = TypeVar("RecipeT", bound=BaseModel)


class GridRun(NamedTuple, Generic[RecipeT]):
    """One run of a grid: the name of its row, its folder relative to that of the grid, and its recipe."""

    row: str
    folder: str
    recipe: RecipeT


class RowGrid(Config, Generic[RowT]):
    """A sequence of runs.

    Attributes
    ----------
    recipe
        What all runs share: fields of their recipe but for name and seed.
    seeds
        Every row is run with each; all runs of a seed come before the next seed.
    rows
        Rows in the order of the table.
    """

    recipe: dict[str, Any]
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    rows: tuple[RowT, ...] = Field(min_length=1)

    @field_validator("rows")
    @classmethod
    def _check_names(cls, rows: tuple[RowT, ...]) -> tuple[RowT, ...]:
        folders = [folder_name(row.name) for row in rows]
        twice = sorted({name for name in folders if folders.count(name) > 1})
        if twice:
            raise ValueError(f"rows need names that differ in letters or digits, but {', '.join(twice)} comes twice")
        return rows

    def only(self, names: Sequence[str]) -> Self:
        """Return the grid with the rows of these names alone; all, if none is given.

        Raises
        ------
        InputError
            There is no row of such a name.
        """
        there = {folder_name(row.name): row for row in self.rows}
        wanted = {folder_name(name) for name in names} or there.keys()
        missing = sorted(wanted - there.keys())
        if missing:
            raise InputError(f"There is no row {', '.join(missing)}; choose from: {', '.join(there)}.")
        return self.model_copy(update={"rows": tuple(row for name, row in there.items() if name in wanted)})


class Row(NamedRow):
    """A row of an ablation.

    Attributes
    ----------
    start
        Weights that the row starts from: a name given on the command line by `--start NAME=FILE`, an installed model or
        a file; None leaves the recipe's.
    prompts, score_prompts
        Ways of asking; None leaves the recipe's.
    learning
        Fields of `LearningConfig` on top of the recipe's.
    """

    kind: Literal["amvlm", "plain-unet"] = "amvlm"
    start: str | None = None
    prompts: PromptMode | None = None
    score_prompts: tuple[PromptMode, ...] | None = None
    learning: dict[str, Any] = Field(default_factory=dict)


class Grid(RowGrid[Row]):
    """Runs of `training.ablate`; all of one seed come before the next seed.

    Attributes
    ----------
    fractions
        Labels of the columns.
    tasks
        What each task changes in the recipe, its data set at least; none: the recipe's own data set alone.
    """

    fractions: tuple[Labels, ...] = Field(min_length=1)
    tasks: tuple[dict[str, Any], ...] = ()

    @field_validator("tasks")
    @classmethod
    def _check_tasks(cls, tasks: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        names = [task.get("dataset") for task in tasks]
        if None in names or len(set(names)) < len(names):
            raise ValueError("every task needs a dataset of its own")
        return tasks

    def runs(self, starts: Mapping[str, Path], where: str) -> Iterator[GridRun[RunRecipe]]:
        """Yield every run, in their order.

        Parameters
        ----------
        starts
            Files of the weights that rows name.

        Raises
        ------
        InputError
            A row's settings do not fit.
        """
        for seed, task, labels, row in itertools.product(self.seeds, self.tasks or ({},), self.fractions, self.rows):
            folder = cell_folder(row, labels, seed)
            if task:
                folder = f"{folder_name(task['dataset'])}/{folder}"
            values = self._values(row, starts) | task | {"labels": labels, "seed": seed}
            yield GridRun(row.name, folder, validated(RunRecipe, values, f"{where}, row {row.name!r}"))

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


def make_runs(
    runs: Sequence[GridRun[RecipeT]],
    out: Path,
    make: Callable[[RecipeT, Path], bool],
    *,
    finished: Callable[[Path], bool],
    over: Callable[[], bool],
) -> int:
    """Make the runs that are not finished, one after the other, and return how many are left.

    Parameters
    ----------
    make
        Called with recipe and folder, also for a finished run, to check that it has the same settings; returns whether
        it is finished now.
    finished
        Tells whether a folder holds a finished run.
    """
    for number, (_, folder, recipe) in enumerate(runs, start=1):
        if not finished(out / folder):
            if over():
                break
            log.info("%d of %d: %s", number, len(runs), folder)
        if not make(recipe, out / folder):
            break
    return sum(not finished(out / run.folder) for run in runs)


def cell_folder(row: NamedRow, labels: Labels, seed: int) -> str:
    """Return the folder of a run, relative to that of its grid."""
    return f"{folder_name(row.name)}/labels-{folder_name(str(labels))}/seed-{seed}"


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
