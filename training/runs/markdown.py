"""Markdown tables, and the files and places of pages that a table goes to."""

from __future__ import annotations

import itertools
import json
import re
from typing import TYPE_CHECKING, Any

from napari_amvlm.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
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


def between_marks(page: Path, begin: str, end: str, write: Callable[[re.Match[str]], str]) -> str:
    """Return the text of a page with new text in place of what stands between its marks.

    Parameters
    ----------
    begin
        Regular expression of the opening marks.
    end
        The mark that closes each.
    write
        Returns the text below an opening mark, given its match.

    Raises
    ------
    InputError
        The page cannot be read, or a mark stands without its other one.
    """
    try:
        old = page.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{page} cannot be read ({error.strerror}); check the path.") from error
    marks, new, copied = list(re.finditer(f"{begin}|{re.escape(end)}", old)), "", 0
    for opening, closing in itertools.zip_longest(marks[::2], marks[1::2]):
        if opening[0] == end or closing is None or closing[0] != end:
            other = "no opening mark above it" if opening[0] == end else f"no end {end!r} below it"
            raise InputError(f"{page}: the mark {opening[0]!r} has {other}; put that in, or take the mark out.")
        new += f"{old[copied : opening.end()]}\n\n{write(opening).strip()}\n\n{end}"
        copied = closing.end()
    return new + old[copied:]


def _line(cells: Sequence[object]) -> str:
    texts = ("" if cell is None else " ".join(str(cell).split()).replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(texts)} |"
