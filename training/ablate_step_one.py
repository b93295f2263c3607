"""Runs a grid of short pretraining runs that differ in the parts of step 1, and compares what each has aligned.

    python -m training.ablate_step_one training/recipes/ablation-step-one.toml --data PATH --out runs/step-one

Finished runs are skipped and an unfinished one goes on, so the same command can be stopped and given again; `--minutes`
bounds one sitting. `--row NAME` takes some rows alone, so that several commands can share a grid. The tables of what is
finished are written at the end: Dice of the text mask and of the segmentation, how often an image finds its caption
among one of each meaning, and the spread of its similarity over paraphrases, with paired tests against the first row.
"""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import Field, field_validator

from napari_amvlm.config import Config
from napari_amvlm.device import resolve_device
from napari_amvlm.errors import InputError
from napari_amvlm.models.catalog import DEFAULT, WEIGHTS
from napari_amvlm.models.text_encoder import load_text_encoder
from training.command import run_command
from training.pretrain import pretrain
from training.pretraining.aligned import load_aligned
from training.pretraining.data import is_validation, load_taught_images, spread_evenly
from training.pretraining.paraphrases import compared, retrieval, summary
from training.pretraining.recipe import Recipe
from training.pretraining.step_one_table import ALIGNED, markdown, tables
from training.runs.folder import RunFolder
from training.runs.grid import check_row_names, folder_name
from training.runs.recipe import read_toml, validated, with_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch

    from napari_amvlm.models.text_encoder import TextEncoder
    from training.pretraining.data import TaughtImage

log = logging.getLogger("training.ablate_step_one")


class StepOneRow(Config):
    """One row: what it changes in the grid's recipe.

    Attributes
    ----------
    name
        Of the row in tables.
    step_one
        Fields of `StepOneConfig` on top of the recipe's.
    """

    name: str = Field(min_length=1)
    step_one: dict[str, Any] = Field(default_factory=dict)


class StepOneGrid(Config):
    """Short pretraining runs.

    Attributes
    ----------
    recipe
        What all runs share: fields of `Recipe` but for name and seed.
    held_out
        Validation images of each data set that the runs are scored on.
    seeds
        Every row is run with each; all rows of a seed come before the next.
    rows
        Rows in the order of the table.
    """

    recipe: dict[str, Any]
    held_out: int = Field(8, ge=1)
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    rows: tuple[StepOneRow, ...] = Field(min_length=1)

    @field_validator("rows")
    @classmethod
    def _check_names(cls, rows: tuple[StepOneRow, ...]) -> tuple[StepOneRow, ...]:
        check_row_names(row.name for row in rows)
        return rows

    def runs(self, where: str) -> Iterator[tuple[str, str, Recipe]]:
        """Yield row, folder (relative) and recipe of every run, in their order.

        Parameters
        ----------
        where
            The grid's file, for messages.

        Raises
        ------
        InputError
            A row's settings do not fit.
        """
        for seed in self.seeds:
            for row in self.rows:
                step_one = {**self.recipe.get("step_one", {}), **row.step_one}
                values = self.recipe | {"name": folder_name(row.name), "seed": seed, "step_one": step_one}
                folder = f"{folder_name(row.name)}/seed-{seed}"
                yield row.name, folder, validated(Recipe, values, f"{where}, row {row.name!r}")


def run_grid(
    runs: Sequence[tuple[str, str, Recipe]],
    images: list[TaughtImage],
    data: Path,
    out: Path,
    device: torch.device,
    *,
    start: Path,
    minutes: float | None = None,
    text_encoder: TextEncoder | None = None,
) -> int:
    """Make the runs that are not finished, and return how many are left.

    Parameters
    ----------
    runs
        See `StepOneGrid.runs`.
    images
        Training images, and the validation images to score on.
    data
        Folder that holds the data sets.
    out
        Folder of all runs.
    device
        Where to compute.
    start
        Weights to go on from, where the recipe names some.
    minutes
        Of this sitting; None works until all is done.
    text_encoder
        A loaded text encoder to share.
    """
    ends = None if minutes is None else time.monotonic() + minutes * 60
    validation = [i for i in images if is_validation(i.source, i.name)]
    for number, (_, folder, recipe) in enumerate(runs):
        left = None if ends is None else (ends - time.monotonic()) / 60
        path = out / folder
        if (path / ALIGNED).is_file():
            continue
        if left is not None and left <= 0:
            return len(runs) - number
        log.info("%d of %d: %s", number + 1, len(runs), folder)
        begun_at = None if recipe.start is None else start
        finished = pretrain(recipe, images, data, path, device, start=begun_at, minutes=left, text_encoder=text_encoder)
        if not finished:
            return len(runs) - number
        RunFolder(path).write(ALIGNED, aligned_scores(path, validation, device, text_encoder))
    return 0


def aligned_scores(
    run: Path, validation: Sequence[TaughtImage], device: torch.device, text_encoder: TextEncoder | None = None
) -> dict[str, Any]:
    """Return what a run has aligned: the figures of `summary`, `retrieval`, and each image's spreads."""
    state = load_aligned(run, device, text_encoder=text_encoder)
    rows = compared(state, validation)
    spreads = {row.image: row.spread("right captions") for row in rows}
    return {**summary(state, rows), "retrieval": retrieval(state, validation), "spread_per_image": spreads}


def main(
    grid: Annotated[Path, typer.Argument(help="TOML file of the grid.")],
    data: Annotated[Path, typer.Option(help="Folder that holds the data sets.")],
    out: Annotated[Path, typer.Option(help="Folder of all runs; finished ones there are skipped.")],
    minutes: Annotated[float | None, typer.Option(help="Length of this sitting; the same command goes on.")] = None,
    row: Annotated[list[str] | None, typer.Option(help="Only the row of this name; may be repeated.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Changes the grid, e.g. recipe.steps=100.")
    ] = None,
    start: Annotated[Path, typer.Option(help="Weights to go on from, where the recipe names some.")] = WEIGHTS
    / f"{DEFAULT}.safetensors",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps.")] = "auto",
) -> None:
    """Make the runs of a grid of step 1, and write their tables."""
    wanted = validated(StepOneGrid, with_settings(read_toml(grid), settings or ()), str(grid))
    runs = list(wanted.runs(str(grid)))
    unknown = sorted({*(row or ())} - {name for name, _, _ in runs})
    if unknown:
        there = ", ".join(of_grid.name for of_grid in wanted.rows)
        raise InputError(f"There is no row {', '.join(unknown)}; choose from: {there}.")
    chosen = [run for run in runs if not row or run[0] in row]
    images = _images(data, chosen[0][2], wanted.held_out)
    left = run_grid(
        chosen,
        images,
        data,
        out,
        resolve_device(device),
        start=start,
        minutes=minutes,
        text_encoder=load_text_encoder(chosen[0][2].model.text_encoder),
    )
    found = tables(runs, out)
    (out / "step-one.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    (out / "step-one.md").write_text(markdown(found), encoding="utf-8")
    typer.echo(f"{len(chosen) - left} of {len(chosen)} runs are finished; wrote {out / 'step-one.md'}.")


def _images(data: Path, recipe: Recipe, held_out: int) -> list[TaughtImage]:
    """Return all training images, and some validation images of each data set."""
    found: list[TaughtImage] = []
    for source in recipe.sources:
        every = list(load_taught_images(data, source, whole=recipe.model.whole))
        found += [i for i in every if not is_validation(source, i.name)]
        found += spread_evenly([i for i in every if is_validation(source, i.name)], held_out)
    return found


if __name__ == "__main__":
    run_command(main)
