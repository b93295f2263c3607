"""Writes the tables of kept runs into the pages of the documentation that name them.

    python -m training.report runs/unlabelled --keep docs/experiments/results/unlabelled.json
    python -m training.pages docs/experiments

A page says where its tables go, and which protocol they show; or `step-one` for a grid of `training.ablate_step_one`,
and `rounds` for the `curves.csv` of `training.simulate`:

    <!-- tables: results/unlabelled.json, native -->
    <!-- end of tables -->
"""

from __future__ import annotations

from functools import partial
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from napari_amvlm.errors import InputError
from napari_amvlm.files import write_text
from training import command
from training.pretraining import step_one_table
from training.report import markdown
from training.runs.markdown import between_marks
from training.runs.results import read_runs, tables
from training.simulation.report import rounds_table

if TYPE_CHECKING:
    import re

STEP_ONE, ROUNDS = "step-one", "rounds"
"""In the place of a protocol: what short pretraining runs have aligned; the rounds of simulated annotators."""

_BEGIN = r"<!-- tables: (?P<file>\S+), (?P<protocol>\S+) -->"
_END = "<!-- end of tables -->"


def rendered(page: Path) -> str:
    """Return a page with the tables of the kept runs that it names, in place of those that stand there.

    Raises
    ------
    InputError
        A file cannot be read, or has no run of that protocol; or a mark of the page stands without its other one.
    """
    return between_marks(page, _BEGIN, _END, partial(_tables, page))


def _tables(page: Path, opening: re.Match[str]) -> str:
    file, protocol = page.parent / opening["file"], opening["protocol"]
    if protocol == STEP_ONE:
        return step_one_table.markdown(step_one_table.tables(file))
    if protocol == ROUNDS:
        return rounds_table(file)
    runs = [run for run in read_runs(file) if run.protocol == protocol]
    if not runs:
        raise InputError(f"{page}: {file} holds no run that was scored by the protocol {protocol}.")
    return markdown(tables(runs))


def main(folder: Annotated[Path, typer.Argument(help="Folder of the pages, at any depth.")]) -> None:
    """Write the tables of kept runs into the pages that name them."""
    pages = sorted(folder.rglob("*.md"))
    if not pages:
        raise InputError(f"{folder} holds no page (*.md); give the folder of the documentation's pages.")
    for page in pages:
        text = rendered(page)
        if text != page.read_text(encoding="utf-8"):
            write_text(page, text)
            typer.echo(f"Wrote the tables of {page}.")


if __name__ == "__main__":
    command.run(main)
