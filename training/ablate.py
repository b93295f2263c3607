"""Runs a grid: rows by label fractions by seeds, one run after the other.

    python -m training.ablate training/recipes/ablation-monuseg.toml --data PATH --out runs/ablation \
        --start css-icl=runs/css-icl/css-icl.safetensors --minutes 480

Finished runs are skipped and an unfinished one goes on, so the same command can be stopped and given again.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_amvlm.cli.console import progress
from napari_amvlm.cli.fine_tune import stop_on_interrupt
from napari_amvlm.device import resolve_device
from napari_amvlm.errors import Cancelled, InputError
from napari_amvlm.models.catalog import find_model
from napari_amvlm.models.text_encoder import load_text_encoder
from training.command import run_command
from training.runs.folder import RunFolder
from training.runs.grid import GRID, Grid, folder_name
from training.runs.random_start import RANDOM
from training.runs.recipe import read_toml, validated, with_settings
from training.semi_supervised import execute

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from training.runs.recipe import RunRecipe

log = logging.getLogger("training.ablate")


def ablate(
    runs: Sequence[tuple[str, RunRecipe]],
    data: Path,
    out: Path,
    *,
    device: torch.device,
    minutes: float | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    show: Callable[[float, str], None] = lambda fraction, note: None,
) -> int:
    """Make the runs that are not finished, and return how many are left.

    Parameters
    ----------
    runs
        Folders (relative to `out`) and recipes, see `Grid.runs`.
    data
        The data set's folder, or one that holds it.
    out
        Folder of all runs.
    device
        Where to compute.
    minutes
        Of this sitting; None works until all is done.
    should_stop
        Asked after every step.
    show
        Told the share of the present run that is done, and a note.

    Raises
    ------
    InputError
        A run cannot be made; those before it are.
    """
    ends = None if minutes is None else time.monotonic() + minutes * 60

    def over() -> bool:
        return should_stop() or (ends is not None and time.monotonic() >= ends)

    _check_starts([recipe for _, recipe in runs])
    text_encoder = None
    for number, (folder, recipe) in enumerate(runs):
        if not RunFolder(out / folder).finished:
            if over():
                return _unfinished(runs, out)
            text_encoder = text_encoder or load_text_encoder()
            log.info("%d of %d: %s", number + 1, len(runs), folder)
        try:
            # A finished run comes back at once, or is refused if it was told otherwise.
            scores = execute(
                recipe, data, out / folder, device=device, text_encoder=text_encoder, should_stop=over, show=show
            )
        except Cancelled as stopped:
            log.info("%s", stopped)
            return _unfinished(runs, out)
        log.info("%s: Dice %.4f", folder, scores["scores"][recipe.prompts]["native"]["dice"])
    return 0


def _unfinished(runs: Sequence[tuple[str, RunRecipe]], out: Path) -> int:
    return sum(not RunFolder(out / folder).finished for folder, _ in runs)


def _check_starts(recipes: Sequence[RunRecipe]) -> None:
    """Find out before the first run whether the weights of every row are there."""
    for start in dict.fromkeys(recipe.start for recipe in recipes if recipe.method == "amvlm"):
        if start != RANDOM:
            find_model(start)


def chosen_rows(grid: Grid, names: Sequence[str]) -> Grid:
    """Return the grid with the rows of these names alone; all, if none is given.

    Raises
    ------
    InputError
        There is no row of such a name.
    """
    if not names:
        return grid
    wanted = {folder_name(name) for name in names}
    there = {folder_name(row.name): row for row in grid.rows}
    missing = sorted(wanted - there.keys())
    if missing:
        raise InputError(f"There is no row {', '.join(missing)}; choose from: {', '.join(there)}.")
    return grid.model_copy(update={"rows": tuple(row for name, row in there.items() if name in wanted)})


def start_files(given: Sequence[str]) -> dict[str, Path]:
    """Return the files of `NAME=FILE`.

    Raises
    ------
    InputError
        One is not of that form.
    """
    found: dict[str, Path] = {}
    for item in given:
        name, equals, file = item.partition("=")
        if not equals or not name or not file:
            raise InputError(f"--start {item!r} must look like NAME=FILE.safetensors.")
        found[name] = Path(file)
    return found


def main(
    grid: Annotated[Path, typer.Argument(help="TOML file of the grid.")],
    data: Annotated[Path, typer.Option(help="The data set's folder, or one that holds it under its name.")],
    out: Annotated[Path, typer.Option(help="Folder of all runs; finished ones there are skipped.")],
    minutes: Annotated[float | None, typer.Option(help="Length of this sitting; the same command goes on.")] = None,
    start: Annotated[list[str] | None, typer.Option(metavar="NAME=FILE", help="Weights that rows name.")] = None,
    row: Annotated[list[str] | None, typer.Option(help="Only the row of this name; may be repeated.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Changes the grid, e.g. recipe.minutes=5.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps.")] = "auto",
) -> None:
    """Make the runs of a grid."""
    wanted = validated(Grid, with_settings(read_toml(grid), settings or ()), str(grid))
    runs = list(chosen_rows(wanted, row or ()).runs(start_files(start or ()), str(grid)))
    out.mkdir(parents=True, exist_ok=True)
    RunFolder(out).write(GRID, {"rows": [row.name for row in wanted.rows]})
    with stop_on_interrupt() as stopped, progress("Learning") as show:
        left = ablate(runs, data, out, device=resolve_device(device), minutes=minutes, should_stop=stopped, show=show)
    done = f"{len(runs) - left} of {len(runs)} runs are finished"
    typer.echo(f"{done}; python -m training.report {out} writes the tables.")


if __name__ == "__main__":
    run_command(main)
