"""Writes the tables of kept runs into the pages of the documentation that name them.

    python -m training.report runs/unlabelled --keep docs/experiments/results/unlabelled.json
    python -m training.pages docs/experiments

A page says where its tables go, and which protocol they show:

    <!-- tables: results/unlabelled.json, native -->
    <!-- end of tables -->
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from napari_amvlm.errors import InputError
from napari_amvlm.files import write_atomically
from training.command import run_command
from training.report import markdown, read_runs, tables

_BLOCK = re.compile(
    r"(<!-- tables: (?P<file>\S+), (?P<protocol>\S+) -->\n).*?(?P<end><!-- end of tables -->)", re.DOTALL
)


def rendered(page: Path) -> str:
    """Return a page with the tables of the kept runs that it names, in place of those that stand there.

    Raises
    ------
    InputError
        A file cannot be read, or has no run of that protocol.
    """

    def block(match: re.Match[str]) -> str:
        file, protocol = page.parent / match["file"], match["protocol"]
        runs = [run for run in read_runs(file) if run.protocol == protocol]
        if not runs:
            raise InputError(f"{page}: {file} holds no run that was scored by the protocol {protocol}.")
        return f"{match[1]}\n{markdown(tables(runs)).strip()}\n\n{match['end']}"

    return _BLOCK.sub(block, page.read_text(encoding="utf-8"))


def main(folder: Annotated[Path, typer.Argument(help="Folder of the pages, at any depth.")]) -> None:
    """Write the tables of kept runs into the pages that name them."""
    for page in sorted(folder.rglob("*.md")):
        text = rendered(page)
        if text != page.read_text(encoding="utf-8"):
            write_atomically(page, partial(Path.write_text, data=text, encoding="utf-8"))
            typer.echo(f"Wrote the tables of {page}.")


if __name__ == "__main__":
    run_command(main)
