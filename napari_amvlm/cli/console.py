"""What the commands have in common: their shared options, and how they talk to the terminal."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ModelOption = Annotated[
    str | None,
    typer.Option("--model", metavar="M", help="An installed model's name or a .safetensors file; default: amvlm-open."),
]
DeviceOption = Annotated[
    str, typer.Option("--device", metavar="DEVICE", help='Where to compute: "auto", "cpu", "cuda", "cuda:1", "mps".')
]
MagnificationOption = Annotated[
    float, typer.Option("--magnification", min=0.05, max=20.0, help="Resize by this before looking in tiles.")
]


def say(line: str) -> None:
    """Write one line of result to stdout."""
    typer.echo(line)


def remark(line: str) -> None:
    """Write one line that is no result to stderr."""
    typer.echo(line, err=True)


def complain(message: str) -> None:
    """Write an error to stderr, on one line."""
    typer.echo(f"napari-amvlm: {' '.join(message.split())}", err=True)


@contextlib.contextmanager
def progress(description: str) -> Iterator[Callable[[float, str], None]]:
    """Show a progress bar on stderr while the body runs, if stderr is a terminal; else show nothing.

    Yields
    ------
    Callable
        Takes the share that is done, `[0, 1]`, and a short note to show beside the bar.
    """
    if not sys.stderr.isatty():
        yield _no_progress
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=1.0, note="")

        def show(fraction: float, note: str) -> None:
            bar.update(task, completed=fraction, note=note)

        yield show


def _no_progress(fraction: float, note: str) -> None:
    """Show nothing."""
