"""One table of everything that is timed, as ratios measured in one run.

    python -m training.benchmarks [--only PART ...] [--json FILE] [--write docs/benchmarks.md]

Each part runs in a process of its own and for a bounded time; docs/benchmarks.md tells how each figure is made. The
whole takes about ten minutes on two cores; nothing else should run meanwhile. Where a part failed or took too long,
the table says so, and the exit code is 1.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer
from rich.console import Console

from napari_amvlm.errors import InputError
from training import command
from training.benchmarks.conditions import SAMPLES, Options, describe
from training.benchmarks.parts import PARTS, chosen, run_part
from training.benchmarks.table import Row, markdown_table, terminal_table, write_into


def bench(
    only: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(PARTS)}; any number of times.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for machine and lines as JSON.")] = None,
    write: Annotated[Path | None, typer.Option(help="Page of the documentation whose table is replaced.")] = None,
    model: Annotated[str | None, typer.Option(help="Name of an installed model, or a model file.")] = None,
    device: command.DeviceOption = "auto",
    tissue: Annotated[Path, typer.Option(help="Data folder whose images slides are made of.")] = SAMPLES / "nuclei",
    learning: Annotated[Path, typer.Option(help="Data folder with masks to learn from.")] = SAMPLES / "nuclei",
    prompt: Annotated[str, typer.Option(help="What those masks show.")] = "nuclei",
    minutes: Annotated[float, typer.Option(min=0.05, max=60, help="Budget of the learning run.")] = 1.0,
    side: Annotated[int, typer.Option(min=3000, max=200_000, help="Side of the slide that is written.")] = 40_000,
) -> None:
    """Measure, print one table, and keep it where it is asked for."""
    names = chosen(only or [])
    if write is not None and only:
        raise InputError(f"{write} takes the whole table, but only {', '.join(names)} was asked for; leave out --only.")
    options = Options(
        model=model, device=device, tissue=tissue, learning=learning, prompt=prompt, minutes=minutes, side=side
    )
    said, console = Console(stderr=True, highlight=False), Console(highlight=False)
    machine, rows = describe(), list[Row]()
    for name in names:
        started = time.perf_counter()
        said.print(f"{name} ...", end=" ")
        rows += run_part(name, options)
        said.print(f"{time.perf_counter() - started:.0f} s")
    for name, words in machine.items():
        console.print(f"{name}: {words}", markup=False)
    console.print(terminal_table(rows))
    when = time.strftime("%Y-%m-%d")
    if json_file is not None:
        report = {"when": when, "machine": machine, "rows": [asdict(row) for row in rows]}
        json_file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if write is not None:
        write_into(write, markdown_table(rows, machine, when))
    lost = [row.what for row in rows if row.is_missing]
    if lost:
        said.print(f"Not measured, or not to the end: {', '.join(lost)}; the table says why.")
        raise typer.Exit(1)


if __name__ == "__main__":
    command.run(bench)
