"""Runs a grid: rows by label fractions by seeds, one run after the other.

    python -m training.ablate training/recipes/ablation-monuseg.toml --data PATH --out runs/ablation \
        --start css-icl=runs/css-icl/css-icl.safetensors --minutes 480

Finished runs are skipped and an unfinished one goes on, so the same command can be stopped and given again.
"""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_amvlm.cli.console import progress, quiet
from napari_amvlm.device import resolve_device
from napari_amvlm.errors import Cancelled, InputError
from napari_amvlm.learning.loop import never
from napari_amvlm.models.catalog import find_model
from napari_amvlm.models.text_encoder import load_text_encoder
from training import command
from training.runs.folder import RunFolder
from training.runs.grid import Grid, make_runs
from training.runs.kept import begin_grid
from training.runs.random_start import RANDOM
from training.runs.recipe import read_recipe
from training.semi_supervised import execute

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from training.runs.grid import GridRun
    from training.runs.learning import Show
    from training.runs.recipe import RunRecipe

log = logging.getLogger("training.ablate")


def ablate(
    runs: Sequence[GridRun[RunRecipe]],
    data: Path,
    out: Path,
    *,
    device: torch.device,
    should_stop: Callable[[], bool] = never,
    show: Show = quiet,
) -> int:
    """Make the runs that are not finished, and return how many are left.

    Parameters
    ----------
    runs
        See `Grid.runs`.
    data
        The data set's folder, or one that holds it.
    should_stop
        Asked before every run and step.
    show
        Told the share of the present run that is done, and a note.

    Raises
    ------
    InputError
        A run cannot be made; those before it are.
    """
    for start in dict.fromkeys(run.recipe.start for run in runs if run.recipe.method == "amvlm"):
        if start != RANDOM:
            find_model(start)  # missing weights are reported before the first run
    text_encoder = functools.cache(load_text_encoder)

    def make(recipe: RunRecipe, folder: Path) -> bool:
        # A finished run comes back at once, or is refused if it has other settings.
        encoder = None if RunFolder(folder).finished else text_encoder()
        try:
            scores = execute(
                recipe, data, folder, device=device, text_encoder=encoder, should_stop=should_stop, show=show
            )
        except Cancelled as stopped:
            log.info("%s", stopped)
            return False
        log.info("%s: Dice %.4f", folder, scores["scores"][recipe.prompts][recipe.protocols[0]]["dice"])
        return True

    return make_runs(runs, out, make, finished=lambda folder: RunFolder(folder).finished, over=should_stop)


def start_files(given: Sequence[str]) -> dict[str, Path]:
    """Return the files of `NAME=FILE`.

    Raises
    ------
    InputError
        One is not of that form.
    """
    files: dict[str, Path] = {}
    for item in given:
        name, equals, file = item.partition("=")
        if not equals or not name or not file:
            raise InputError(f"--start {item!r} must look like NAME=FILE.safetensors.")
        files[name] = Path(file)
    return files


def main(
    grid: command.GridArgument,
    data: command.DataOption,
    out: command.OutOption,
    minutes: command.MinutesOption = None,
    kept: command.KeptOption = None,
    start: Annotated[list[str] | None, typer.Option(metavar="NAME=FILE", help="Weights that rows name.")] = None,
    row: command.RowOption = None,
    settings: command.SettingsOption = None,
    device: command.DeviceOption = "auto",
) -> None:
    """Make the runs of a grid."""
    wanted = read_recipe(Grid, grid, settings)
    starts = start_files(start or ())
    unused = starts.keys() - {row.start for row in wanted.rows}
    if unused:
        raise InputError(f"No row of {grid} starts from {', '.join(sorted(unused))}; take that --start out.")
    runs = list(wanted.only(row or ()).runs(starts, str(grid)))
    begin_grid(wanted, out, kept)
    with command.sitting(minutes) as over, progress("Learning") as show:
        left = ablate(runs, data, out, device=resolve_device(device), should_stop=over, show=show)
    done = f"{len(runs) - left} of {len(runs)} runs are finished"
    typer.echo(f"{done}; python -m training.report {out} writes the tables.")


if __name__ == "__main__":
    command.run(main)
