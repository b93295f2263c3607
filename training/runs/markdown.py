"""Markdown tables, and the files that a table goes to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    r"""Return the lines of a table; None is an empty cell.

    Examples
    --------
    >>> table(["image", "Dice"], [["a|b", 0.5], ["c", None]])
    ['| image | Dice |', '|---|---|', '| a\\\\|b | 0.5 |', '| c |  |']
    """
    lines = [_line(heads), "|" + "---|" * len(heads)]
    return [*lines, *map(_line, rows)]


def write_tables(folder: Path, stem: str, report: dict[str, Any], text: str) -> None:
    """Write tables as `STEM.json`, and for people as `STEM.md`."""
    (folder / f"{stem}.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    (folder / f"{stem}.md").write_text(text, encoding="utf-8")


def _line(cells: Sequence[object]) -> str:
    texts = ("" if cell is None else " ".join(str(cell).split()).replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(texts)} |"
