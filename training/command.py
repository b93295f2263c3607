"""What the commands of this folder share: how they start, their options, how they end, errors on one line."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_amvlm.cli import exit_code
from napari_amvlm.cli.console import remark
from napari_amvlm.cli.fine_tune import stop_on_interrupt
from napari_amvlm.errors import AmvlmError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RecipeArgument = Annotated[Path, typer.Argument(help="TOML file of the recipe.")]
ModelArgument = Annotated[Path, typer.Argument(help="Model file.")]
GridArgument = Annotated[Path, typer.Argument(help="TOML file of the grid.")]
DataOption = Annotated[Path, typer.Option("--data", help="The data set's folder, or one that holds it under its name.")]
DataSetsOption = Annotated[Path, typer.Option("--data", help="Folder that holds the data sets.")]
OutOption = Annotated[Path, typer.Option("--out", help="Folder of the results; what is unfinished there goes on.")]
MinutesOption = Annotated[
    float | None, typer.Option("--minutes", help="Length of this sitting; the same command goes on.")
]
KeptOption = Annotated[
    Path | None, typer.Option("--kept", help="Runs that training.report --keep has kept; they count as finished.")
]
SettingsOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Changes the recipe, e.g. seed=1.")
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, mps.")]
RowOption = Annotated[list[str] | None, typer.Option("--row", help="Only the row of this name; may be repeated.")]


def run(command: Callable[..., Any]) -> None:
    """Run a function as the program's only command, and end the program."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    try:
        app()
    except AmvlmError as error:
        remark(" ".join(str(error).split()))
        raise SystemExit(exit_code(error)) from error


@contextlib.contextmanager
def sitting(minutes: float | None) -> Iterator[Callable[[], bool]]:
    """Yield what tells whether so many minutes from now have passed, or Ctrl+C was pressed; see `stop_on_interrupt`."""
    ends = math.inf if minutes is None else time.monotonic() + minutes * 60
    with stop_on_interrupt() as stopped:
        yield lambda: stopped() or time.monotonic() >= ends
