"""The table of the benchmark: its lines, and how it looks on a terminal and in a page of the documentation."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from napari_amvlm.errors import InputError
from training.runs.markdown import between_marks, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

HEADINGS = ("what", "measured", "target or reference", "ratio", "how")
_NOT_MEASURED = "not measured"
BEGIN, END = "<!-- the table begins: written by make bench -->", "<!-- the table ends -->"


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes
    ----------
    measured
        The figure with its unit; "not measured" where there is none.
    against
        What it is held against, with its figure: measured in the same run, or a target.
    ratio
        The two in proportion, as `against` says; None where nothing is compared.
    aim
        What the ratio should be, "at least 10"; empty where there is no aim.
    met
        Whether it is so; None without an aim or a ratio.
    """

    what: str
    measured: str
    how: str
    against: str = ""
    ratio: float | None = None
    aim: str = ""
    met: bool | None = None

    @property
    def is_missing(self) -> bool:
        """Whether it says that something was not measured, and why."""
        return self.measured == _NOT_MEASURED

    @property
    def proportion(self) -> str:
        """The ratio and its aim, as the table shows them."""
        if self.ratio is None:
            return self.aim
        words = f"{self.ratio:.3g}"
        return f"{words} ({self.aim}: {'yes' if self.met else 'no'})" if self.aim else words


def faster(what: str, seconds: float, reference: float, other: str, how: str, *, least: float) -> Row:
    """Return how many times longer `reference` seconds of something else are than `seconds`; `least` is the aim."""
    ratio = reference / max(seconds, 1e-9)
    against = f"{other}: {reference:.3g} s, over ours"
    return Row(what, f"{seconds:.3g} s", how, against, ratio, f"at least {least:g}", ratio >= least)


def share(what: str, value: float, reference: float, unit: str, other: str, how: str, *, least: float) -> Row:
    """Return what part `value` is of a `reference` that was measured in the same run, with the least that is wanted."""
    ratio = value / max(reference, 1e-9)
    against = f"{other}: {reference:.3g} {unit}"
    return Row(what, f"{value:.3g} {unit}", how, against, ratio, f"at least {least:g}", ratio >= least)


def within(what: str, value: float, limit: float, unit: str, how: str) -> Row:
    """Return a figure beside a `limit` that it should not go beyond."""
    ratio = value / limit
    return Row(what, f"{value:.3g} {unit}", how, f"target: {limit:g} {unit}", ratio, "at most 1", ratio <= 1)


def beside(what: str, value: float, reference: float, unit: str, other: str, how: str) -> Row:
    """Return a figure in proportion to another of the same run, without an aim."""
    ratio = value / reference if reference else None
    return Row(what, f"{value:.3g} {unit}", how, f"{other}: {reference:.3g} {unit}", ratio)


def missing(what: str, reason: str) -> Row:
    """Return the line of something that could not be measured, and why."""
    return Row(what, _NOT_MEASURED, "", reason)


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Write lines as JSON, for another process."""
    path.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")


def read_rows(path: Path) -> list[Row]:
    """Read what `write_rows` wrote.

    Raises
    ------
    InputError
        There is no such file, or it holds something else.
    """
    try:
        return [Row(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path} should hold lines of the table, but they cannot be read; run it again.") from error


def terminal_table(rows: Sequence[Row]) -> Table:
    """Return the table for a terminal."""
    shown = Table(*HEADINGS, show_lines=True)
    for row in rows:
        what, measured, against, proportion, how = cells(row)
        style = {True: "green", False: "red", None: ""}[row.met]
        shown.add_row(escape(what), escape(measured), escape(against), Text(proportion, style), escape(how))
    return shown


def markdown_table(rows: Sequence[Row], machine: Mapping[str, str], when: str) -> str:
    """Return the machine and the table in Markdown."""
    parts = table(["the machine", ""], list(machine.items())), table(HEADINGS, map(cells, rows))
    return "\n".join([f"Measured on {when}.", "", *parts[0], "", *parts[1]])


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
    words = between_marks(page, re.escape(BEGIN), END, lambda _: text)
    if BEGIN not in words:
        raise InputError(f"{page} should hold a line {BEGIN!r} and below it a line {END!r}; put them in.")
    page.write_text(words, encoding="utf-8")
