"""Runs a grid of short pretraining runs that differ in the parts of step 1, and compares what each has aligned.

    python -m training.ablate_step_one training/recipes/ablation-step-one.toml --data PATH --out runs/step-one

Finished runs are skipped and an unfinished one goes on, so the same command can be stopped and given again; `--minutes`
bounds one sitting. `--row NAME` takes some rows alone, so that several commands can share a grid, and `--kept FILE`
counts the runs as finished that `training.report --keep` kept of another folder. The tables of what is finished are
written at the end: Dice of the text mask and of the segmentation, how often an image finds its caption among one of
each meaning, and the spread of its similarity over paraphrases, with paired tests against the first row.
"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import Field

from napari_amvlm.device import resolve_device
from napari_amvlm.learning.loop import never
from napari_amvlm.models.catalog import DEFAULT, WEIGHTS
from napari_amvlm.models.text_encoder import load_text_encoder
from training.command import (
    DataSetsOption,
    DeviceOption,
    GridArgument,
    KeptOption,
    MinutesOption,
    OutOption,
    RowOption,
    SettingsOption,
    run_command,
    sitting,
)
from training.pretrain import pretrain
from training.pretraining.aligned import load_aligned
from training.pretraining.data import is_validation, load_taught_images, spread_evenly
from training.pretraining.paraphrases import compared, retrieval, summary
from training.pretraining.recipe import Recipe
from training.pretraining.step_one_table import markdown, tables
from training.runs.folder import RunFolder
from training.runs.grid import GridRun, NamedRow, RowGrid, folder_name, make_runs
from training.runs.kept import ALIGNED, begin_grid
from training.runs.markdown import write_tables
from training.runs.recipe import read_recipe, validated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch

    from napari_amvlm.models.text_encoder import TextEncoder
    from training.pretraining.data import TaughtImage


class StepOneRow(NamedRow):
    """One row: fields of `StepOneConfig` on top of those of the grid's recipe."""

    step_one: dict[str, Any] = Field(default_factory=dict)


class StepOneGrid(RowGrid[StepOneRow]):
    """Short pretraining runs; `held_out` validation images of each data set are scored."""

    held_out: int = Field(8, ge=1)

    def runs(self, where: str) -> Iterator[GridRun[Recipe]]:
        """Yield every run, in their order.

        Raises
        ------
        InputError
            A row's settings do not fit.
        """
        for seed in self.seeds:
            for row in self.rows:
                name = folder_name(row.name)
                step_one = {**self.recipe.get("step_one", {}), **row.step_one}
                values = self.recipe | {"name": name, "seed": seed, "step_one": step_one}
                yield GridRun(row.name, f"{name}/seed-{seed}", validated(Recipe, values, f"{where}, row {row.name!r}"))


def run_grid(
    runs: Sequence[GridRun[Recipe]],
    images: list[TaughtImage],
    data: Path,
    out: Path,
    device: torch.device,
    *,
    start: Path,
    text_encoder: TextEncoder | None = None,
    should_stop: Callable[[], bool] = never,
) -> int:
    """Make the runs that are not finished, and return how many are left.

    Parameters
    ----------
    runs
        See `StepOneGrid.runs`.
    images
        Training images, and the validation images to score on.
    start
        Weights to go on from, where the recipe names some.
    text_encoder
        A loaded text encoder to share.
    should_stop
        Asked before every step and run; the run's state is kept then.
    """
    validation = [i for i in images if is_validation(i.source, i.name)]

    def finished(folder: Path) -> bool:
        return (folder / ALIGNED).is_file()

    def make(recipe: Recipe, folder: Path) -> bool:
        given = None if recipe.start is None else start
        how: dict[str, Any] = {"start": given, "text_encoder": text_encoder, "should_stop": should_stop}
        if not pretrain(recipe, images, data, folder, device, **how):
            return False
        if not finished(folder):
            RunFolder(folder).write(ALIGNED, aligned_scores(folder, validation, device, text_encoder))
        return True

    return make_runs(runs, out, make, finished=finished, over=should_stop)


def aligned_scores(
    run: Path, validation: Sequence[TaughtImage], device: torch.device, text_encoder: TextEncoder | None = None
) -> dict[str, Any]:
    """Return what a run has aligned: the figures of `summary`, `retrieval`, and each image's spreads."""
    state = load_aligned(run, device, text_encoder=text_encoder)
    rows = compared(state, validation)
    spreads = {row.image: row.spread("right captions") for row in rows}
    return {**summary(state, rows), "retrieval": retrieval(state, validation), "spread_per_image": spreads}


def main(
    grid: GridArgument,
    data: DataSetsOption,
    out: OutOption,
    minutes: MinutesOption = None,
    kept: KeptOption = None,
    row: RowOption = None,
    settings: SettingsOption = None,
    start: Annotated[Path, typer.Option(help="Weights to go on from, where the recipe names some.")] = WEIGHTS
    / f"{DEFAULT}.safetensors",
    device: DeviceOption = "auto",
) -> None:
    """Make the runs of a grid of step 1, and write their tables."""
    wanted = read_recipe(StepOneGrid, grid, settings)
    chosen = list(wanted.only(row or ()).runs(str(grid)))
    begin_grid(wanted, out, kept)
    recipe = chosen[0].recipe
    images = _images(data, recipe, wanted.held_out)
    encoder = load_text_encoder(recipe.model.text_encoder)
    with sitting(minutes) as over:
        left = run_grid(
            chosen, images, data, out, resolve_device(device), start=start, text_encoder=encoder, should_stop=over
        )
    report = tables(out)
    write_tables(out, "step-one", report, markdown(report))
    typer.echo(f"{len(chosen) - left} of {len(chosen)} runs are finished; wrote {out / 'step-one.md'}.")


def _images(data: Path, recipe: Recipe, held_out: int) -> list[TaughtImage]:
    """Return all training images, and some validation images of each data set."""
    chosen: list[TaughtImage] = []
    for source in recipe.sources:
        every = list(load_taught_images(data, source, whole=recipe.model.whole))
        chosen += [i for i in every if not is_validation(source, i.name)]
        chosen += spread_evenly([i for i in every if is_validation(source, i.name)], held_out)
    return chosen


if __name__ == "__main__":
    run_command(main)
