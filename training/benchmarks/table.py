"""The table of the benchmark, on a terminal and in a page of the documentation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from napari_amvlm.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from training.benchmarks.rows import Row

HEADINGS = ("what", "measured", "target or reference", "ratio", "how")
BEGIN, END = "<!-- the table begins: written by make bench -->", "<!-- the table ends -->"


def terminal_table(rows: Sequence[Row]) -> Table:
    """Return the table for a terminal."""
    table = Table(*HEADINGS, show_lines=True)
    for row in rows:
        what, measured, against, proportion, how = cells(row)
        style = {True: "green", False: "red", None: ""}[row.met]
        table.add_row(escape(what), escape(measured), escape(against), Text(proportion, style), escape(how))
    return table


def markdown_table(rows: Sequence[Row], machine: Mapping[str, str], when: str) -> str:
    """Return the machine and the table in Markdown."""
    lines = [f"Measured on {when}.", "", "| the machine | |", "|---|---|"]
    lines += [f"| {_cell(name)} | {_cell(words)} |" for name, words in machine.items()]
    lines += ["", f"| {' | '.join(HEADINGS)} |", "|---" * len(HEADINGS) + "|"]
    lines += [f"| {' | '.join(map(_cell, cells(row)))} |" for row in rows]
    return "\n".join(lines)


def cells(row: Row) -> tuple[str, str, str, str, str]:
    """Return the five cells of a line."""
    return row.what, row.measured, row.against, row.proportion, row.how


def write_into(page: Path, text: str) -> None:
    """Put `text` between the marks of a page, in the place of what was there.

    Raises
    ------
    InputError
        The page cannot be read, or has no such marks.
    """
    try:
        words = page.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{page} cannot be read ({error.strerror}); give a page that holds {BEGIN!r}.") from error
    before, begin, rest = words.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(f"{page} should hold a line {BEGIN!r} and below it a line {END!r}; put them in.")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
