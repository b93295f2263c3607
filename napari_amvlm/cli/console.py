"""What the commands have in common: their shared options, and how they talk to the terminal."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import Progress

    from napari_amvlm.imaging.turning import Views

ModelOption = Annotated[
    str | None,
    typer.Option("--model", metavar="M", help="An installed model's name or a .safetensors file; default: amvlm-open."),
]
DeviceOption = Annotated[
    str, typer.Option("--device", metavar="DEVICE", help='Where to compute: "auto", "cpu", "cuda", "cuda:1", "mps".')
]
TextModelOption = Annotated[
    str,
    typer.Option(
        "--text-model",
        metavar="FOLDER",
        help="CLIPSeg or SAM 3 for words that the model was not taught: a folder, or hub:OWNER/NAME to fetch it.",
    ),
]
MagnificationOption = Annotated[
    float, typer.Option("--magnification", min=0.05, max=20.0, help="Resize by this before looking in tiles.")
]
ViewsOption = Annotated[
    Literal["1", "4", "8"],
    typer.Option("--views", help="Of what is looked at in tiles: in how many turned views; so many times slower."),
]


_bars: list[Progress] = []
"""The progress bar that is on the terminal now, if any: lines have to be written above it."""


def say(line: str) -> None:
    """Write one line of result to stdout."""
    if _bars and sys.stdout.isatty():
        _write_above(line)
    else:
        typer.echo(line)


def remark(line: str) -> None:
    """Write one line that is no result to stderr."""
    if _bars:
        _write_above(line)
    else:
        typer.echo(line, err=True)


def complain(message: str) -> None:
    """Write an error to stderr, on one line."""
    remark(f"napari-amvlm: {' '.join(message.split())}")


def views_of(option: str) -> Views:
    """Return the number that `--views` was given as."""
    return cast("Views", int(option))


@contextlib.contextmanager
def progress(description: str) -> Iterator[Callable[[float, str], None]]:
    """Show a progress bar on stderr while the body runs, if stderr is a terminal; else show nothing.

    Yields
    ------
    Callable
        Takes the share that is done, `[0, 1]`, and a short note to show beside the bar.
    """
    if not sys.stderr.isatty():
        yield quiet
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeElapsedColumn())
    # Rich would send stdout to the terminal too, even where it is a file.
    bar = Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False)
    with bar:
        task = bar.add_task(description, total=1.0, note="")

        def show(fraction: float, note: str) -> None:
            bar.update(task, completed=fraction, note=note)

        _bars.append(bar)
        try:
            yield show
        finally:
            _bars.remove(bar)


def _write_above(line: str) -> None:
    """Write a line above the progress bar, as it is."""
    _bars[-1].console.print(line, markup=False, highlight=False, soft_wrap=True)


def quiet(fraction: float, note: str) -> None:
    """Show nothing."""
