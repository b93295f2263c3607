"""AMVLM beside its rivals: one backbone, equal steps, several seeds, and one page.

    python -m training.compare training/recipes/compare-monuseg.toml --data PATH --out runs/compare --minutes 480

Finished runs are skipped and an unfinished one goes on, so the same command can be stopped and given again; `--minutes`
bounds one sitting, `--row NAME` takes some rows alone. A row that cannot be run (no captions, no weights of SAM)
stands on the page with its reason, and the others go on; where that is so of all, the command fails. The page,
`compare.md`, is written after each sitting.
"""

from __future__ import annotations

import functools
import itertools
import logging
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Any, Self

import typer
from pydantic import Field, model_validator

from napari_amvlm.device import resolve_device
from napari_amvlm.errors import AmvlmError, Cancelled, InputError
from napari_amvlm.models.text_encoder import load_text_encoder
from training import command
from training.datasets import open_dataset
from training.datasets.splits import Labels  # noqa: TC001 - pydantic reads it
from training.methods import METHODS, NOT_RUN
from training.methods.objectives import SOURCES
from training.methods.protocol import COMMON
from training.pretraining.pairs import CaptionSource  # noqa: TC001 - pydantic reads it
from training.pretraining.step_one import Objective  # noqa: TC001 - pydantic reads it
from training.published import Published, align
from training.report import markdown
from training.runs.charts import draw_losses
from training.runs.folder import SCORES, RunFolder
from training.runs.grid import GridRun, NamedRow, RowGrid, cell_folder, folder_name, make_runs
from training.runs.kept import begin_grid
from training.runs.markdown import table, write_tables
from training.runs.recipe import RunRecipe, read_recipe, validated
from training.runs.results import read_runs, tables
from training.semi_supervised import execute

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch

log = logging.getLogger("training.compare")

_STEP_ONE, _FAILED = "step-one", "not-run.json"
_OURS = "Pan et al., IEEE TMI 44(11), 2025"


class Rival(NamedRow):
    """One row.

    Attributes
    ----------
    method
        "amvlm", or a name of `training.methods.METHODS`.
    objective
        What step 1 minimises before our step 2; None starts from the recipe's `start`.
    step_one
        Fields of step 1 (`training.pretraining.step_one.StepOneConfig`), on top of those of `pairs`; such a row makes a
        step 1 of its own, others share that of their objective.
    settings
        Hyperparameters of the method, where they are not the paper's.
    learning, prompts
        On top of the recipe's.
    """

    method: str = "amvlm"
    objective: Objective | None = None
    step_one: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
    learning: dict[str, Any] = Field(default_factory=dict)
    prompts: str | None = None

    @model_validator(mode="after")
    def _check_step_one(self) -> Self:
        if self.step_one and self.objective is None:
            raise ValueError(f"row {self.name!r} has no step 1; set its objective, or leave out step_one")
        return self

    @property
    def told(self) -> tuple[str, str]:
        """Source of the row, and what is otherwise here."""
        if self.method != "amvlm":
            kind = METHODS[self.method]
            return kind.source, "; ".join(filter(None, (COMMON, kind.departures)))
        if self.objective in SOURCES:
            source, departures = SOURCES[self.objective]
            return source, "; ".join(filter(None, (departures, "then our step 2")))
        return _OURS, "see the recipe"


class Comparison(RowGrid[Rival]):
    """Rows by label fractions by seeds.

    Attributes
    ----------
    fractions
        Labels of the columns.
    captions, epochs, pairs
        Of step 1, as those of `training.published.Published`.
    """

    fractions: tuple[Labels, ...] = Field(min_length=1)
    captions: CaptionSource = "workbook"
    epochs: float | None = Field(None, gt=0)
    pairs: dict[str, Any] = Field(default_factory=dict)

    def runs(self, where: str) -> Iterator[GridRun[RunRecipe]]:
        """Yield every run in its order; `where` is the grid's file, for messages.

        Raises
        ------
        InputError
            A row's settings do not fit, or belong to another method.
        """
        for seed, labels, row in itertools.product(self.seeds, self.fractions, self.rows):
            recipe = validated(RunRecipe, self._values(row, labels, seed), f"{where}, row {row.name!r}")
            yield GridRun(row.name, cell_folder(row, labels, seed), recipe)

    def _values(self, row: Rival, labels: Any, seed: int) -> dict[str, Any]:
        values = dict(self.recipe) | {"name": row.name, "method": row.method, "labels": labels, "seed": seed}
        values["learning"] = {**self.recipe.get("learning", {}), **row.learning}
        if row.method != "amvlm":
            reads = row.method in METHODS and METHODS[row.method].reads_text
            values |= {"settings": row.settings, "published": False, "prompts": "captions" if reads else "fixed"}
            values |= {"score_prompts": (), "start": None}
        elif row.settings:
            raise InputError(f"Row {row.name!r}: settings belong to rivals; put those of amvlm under learning.")
        return values | ({} if row.prompts is None else {"prompts": row.prompts})

    def aligned(self, row: Rival, recipe: RunRecipe) -> Published:
        """Return both steps of a row with an objective of step 1."""
        step_one = {**self.pairs.get("step_one", {}), **row.step_one, "objective": row.objective}
        pairs = {**self.pairs, "seed": recipe.seed, "step_one": step_one}
        return Published(
            captions=self.captions, epochs=self.epochs, pairs=pairs, run=recipe.model_dump(exclude={"start"})
        )


def compare(
    grid: Comparison,
    runs: Sequence[GridRun[RunRecipe]],
    data: Path,
    out: Path,
    *,
    device: torch.device,
    over: Callable[[], bool],
    text_encoder: Callable[[], Any] = load_text_encoder,
) -> int:
    """Make the runs that are not finished, and return how many are left; a row that cannot be run is noted.

    Raises
    ------
    InputError
        Another process works on the folder, or a run there has other settings.
    """
    rows = {row.name: row for row in grid.rows}
    reasons: dict[str, str] = RunFolder(out).read(_FAILED) or {}

    def make(recipe: RunRecipe, folder: Path) -> bool:
        row = rows[recipe.name]
        try:
            if row.objective is not None:
                if RunFolder(folder).finished and not RunFolder(folder).weights.is_file():
                    return True  # a kept run; step 1 made again elsewhere is not the one that it started from
                recipe = recipe.model_copy(update={"start": str(_step_one(grid, row, recipe, data, out, device, over))})
            encoder = None if RunFolder(folder).finished else text_encoder()
            execute(recipe, data, folder, device=device, text_encoder=encoder, should_stop=over)
            reasons.pop(recipe.name, None)
        except Cancelled as stopped:
            log.info("%s", stopped)
            return False
        except AmvlmError as error:
            if RunFolder(folder).finished:
                raise
            reasons[row.name] = str(error)
            log.info("Row %s is left out: %s", row.name, error)
        return True

    with RunFolder(out).held():
        left = make_runs(runs, out, make, finished=lambda folder: RunFolder(folder).finished, over=over)
        RunFolder(out).write(_FAILED, reasons)
    return left


def _step_one(
    grid: Comparison,
    row: Rival,
    recipe: RunRecipe,
    data: Path,
    out: Path,
    device: torch.device,
    over: Callable[[], bool],
) -> Path:
    """Return the weights of a row's step 1; all label fractions of a seed share them."""
    name = folder_name(row.name) if row.step_one else str(row.objective)
    folder = out / _STEP_ONE / name / f"seed-{recipe.seed}"
    split = open_dataset(recipe.spec(), data, recipe, seed=recipe.seed)
    return align(grid.aligned(row, recipe), split, folder, device=device, should_stop=over)


def write_page(grid: Comparison, out: Path) -> Path:
    """Write `compare.md`, `compare.json` and `losses.png` of what is finished, and return the page."""
    reasons = RunFolder(out).read(_FAILED) or {}
    done = {row.name: any((out / folder_name(row.name)).rglob(SCORES)) for row in grid.rows}
    found = tables(read_runs(out)) if any(done.values()) else {"tables": []}
    lines = [f"# {grid.recipe.get('dataset')}: AMVLM beside its rivals", "", markdown(found), "## Rows", ""]
    cells = [
        (row.name, *row.told, "run" if done[row.name] else reasons.get(row.name, "not run yet")) for row in grid.rows
    ]
    cells += [(name, "", "", reason) for name, reason in NOT_RUN.items()]
    lines += [*table(["row", "source", "otherwise here", "state"], cells), ""]
    logs = {row.name: _first_log(out / folder_name(row.name)) for row in grid.rows if done[row.name]}
    if any(logs.values()):
        draw_losses(logs, out / "losses.png")
        lines += ["![Loss on labelled crops over the steps, of each row's first run](losses.png)", ""]
    write_tables(out, "compare", found, "\n".join(lines))
    return out / "compare.md"


def _first_log(row: Path) -> list[dict[str, Any]]:
    first = min(row.rglob(SCORES))
    return RunFolder(first.parent).logged()


def main(
    grid: command.GridArgument,
    data: command.DataOption,
    out: command.OutOption,
    minutes: command.MinutesOption = None,
    kept: command.KeptOption = None,
    row: command.RowOption = None,
    settings: command.SettingsOption = None,
    device: command.DeviceOption = "auto",
) -> None:
    """Run AMVLM and its rivals, and write the page."""
    whole = read_recipe(Comparison, grid, settings)
    runs = list(whole.only(row or ()).runs(str(grid)))
    begin_grid(whole, out, kept)
    with command.sitting(minutes) as over:
        encoder = functools.cache(load_text_encoder)
        left = compare(whole, runs, data, out, device=resolve_device(device), over=over, text_encoder=encoder)
    page = write_page(whole, out)
    reasons = RunFolder(out).read(_FAILED) or {}
    if left == len(runs) and all(run.row in reasons for run in runs):
        first = runs[0].row
        raise InputError(f"No row of {grid} can be run, and {page} says why; of {first!r}: {reasons[first]}")
    typer.echo(f"{len(runs) - left} of {len(runs)} runs are finished; wrote {page}.")


if __name__ == "__main__":
    command.run(main)
