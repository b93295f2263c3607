"""Captions of a data folder: tables of `Image,Description` in `*_text.xlsx` or `*_text.csv`."""

from __future__ import annotations

import csv
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from napari_amvlm.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_IMAGE_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".bmp", ".gif"))
_COLUMNS = ("image", "description")


def read_captions(root: Path) -> dict[str, str]:
    """Return the captions in a folder by the stem of the image they are about.

    The ending of the file that a table names does not matter: LViT's tables name `.png` files where other copies hold
    `.tif`.  Where several tables caption one image, the first by name counts; empty captions are left out.

    Raises
    ------
    DatasetError
        A table cannot be read, or has not the columns `Image` and `Description`.
    """
    tables = [path for path in sorted(root.iterdir()) if not path.name.startswith((".", "~$")) and path.is_file()]
    found: dict[str, str] = {}
    for path in tables:
        name = path.name.lower()
        if not name.endswith(("_text.xlsx", "_text.csv")):
            continue
        rows = _xlsx_rows(path) if name.endswith(".xlsx") else _csv_rows(path)
        for stem, caption in _captions(path, rows):
            found.setdefault(stem, caption)
    return found


def image_stem(name: str) -> str:
    """Return the stem of a file name in a table; what follows a dot goes only if it is an image's ending.

    Examples
    --------
    >>> image_stem("img/TCGA-1.png"), image_stem("case.7")
    ('TCGA-1', 'case.7')
    """
    path = PurePosixPath(name.replace("\\", "/"))
    return path.stem if path.suffix.lower() in _IMAGE_SUFFIXES else path.name


def _captions(path: Path, rows: Sequence[Sequence[Any]]) -> Iterable[tuple[str, str]]:
    """Yield stem and caption of every row below the header."""
    header = [_text(cell).casefold() for cell in rows[0]] if rows else []
    if any(column not in header for column in _COLUMNS):
        raise DatasetError(f"{path}: expected the columns Image and Description in the first row, but got {header}.")
    image, description = (header.index(column) for column in _COLUMNS)
    for row in rows[1:]:
        cells = [_text(cell) for cell in row]
        if len(cells) > max(image, description) and cells[image] and cells[description]:
            yield image_stem(cells[image]), cells[description]


def _text(cell: object) -> str:
    """Return a cell as one line of text; 7.0, as workbooks hold whole numbers, is 7."""
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return " ".join(str(cell).split())


def _csv_rows(path: Path) -> list[list[str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path}: expected a CSV table in UTF-8, but it cannot be read ({error}).") from error


def _xlsx_rows(path: Path) -> list[tuple[Any, ...]]:
    from zipfile import BadZipFile

    import openpyxl
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        try:
            return list(book.worksheets[0].iter_rows(values_only=True))
        finally:
            book.close()
    except (OSError, BadZipFile, InvalidFileException, KeyError, ValueError, IndexError, EOFError) as error:
        raise DatasetError(f"{path}: expected an Excel workbook, but it cannot be read ({error}).") from error
