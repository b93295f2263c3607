"""Captions of a data folder: tables of `Image,Description` in `*_text.xlsx` or `*_text.csv`."""

from __future__ import annotations

import contextlib
import csv
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from napari_amvlm.errors import DatasetError, printable
from napari_amvlm.wording import tidied

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path

_IMAGE_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".bmp", ".gif"))
_COLUMNS = ("image", "description")
_MOST_BYTES = 64 << 20
"""Of a table, unpacked: a sentence for each of a hundred thousand images has less."""
_MOST_ROWS = 1 << 20
_MOST_COLUMNS = 256


def read_captions(root: Path) -> dict[str, str]:
    """Return the captions in a folder by the stem of the image they are about.

    The ending of the file that a table names does not matter: LViT's tables name `.png` files where other copies hold
    `.tif`.  Where several tables caption one image, the first by name counts; empty captions are left out.

    Raises
    ------
    DatasetError
        A table cannot be read, is beyond measure, or has not the columns `Image` and `Description`.
    """
    tables = [path for path in sorted(root.iterdir()) if not path.name.startswith((".", "~$")) and path.is_file()]
    found: dict[str, str] = {}
    for path in tables:
        name = path.name.lower()
        if not name.endswith(("_text.xlsx", "_text.csv")):
            continue
        for stem, caption in _captions(path):
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


def _captions(path: Path) -> Iterator[tuple[str, str]]:
    """Yield stem and caption of every row below the header."""
    with contextlib.closing(_xlsx_rows(path) if path.suffix.lower() == ".xlsx" else _csv_rows(path)) as rows:
        header = [_text(cell).casefold() for cell in next(rows, ())]
        if any(column not in header for column in _COLUMNS):
            shown = printable(str(header))[:200]
            raise DatasetError(f"{path}: expected the columns Image and Description in the first row, but got {shown}.")
        image, description = (header.index(column) for column in _COLUMNS)
        for row in rows:
            if len(row) > max(image, description):
                name, caption = _text(row[image]), _text(row[description])
                if name and caption:
                    yield image_stem(name), caption


def _text(cell: object) -> str:
    """Return a cell as one line of text; 7.0, as workbooks hold whole numbers, is 7."""
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return tidied(str(cell))


def _csv_rows(path: Path) -> Generator[Sequence[Any], None, None]:
    """Yield the rows of a CSV table."""
    try:
        _check_bytes(path, path.stat().st_size)
        with path.open(newline="", encoding="utf-8-sig") as file:
            yield from csv.reader(file)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path}: expected a CSV table in UTF-8, but it cannot be read ({error}).") from error


def _xlsx_rows(path: Path) -> Generator[Sequence[Any], None, None]:
    """Yield the rows of the first sheet of a workbook.

    A workbook is a packed folder that says by itself how large its parts are, unpacked, and at which rows and columns
    its cells lie; neither is believed without a bound.
    """
    import zipfile

    import openpyxl

    try:
        with zipfile.ZipFile(path) as packed:
            _check_bytes(path, sum(part.file_size for part in packed.infolist()))
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        with contextlib.closing(book):
            yield from book.worksheets[0].iter_rows(max_row=_MOST_ROWS, max_col=_MOST_COLUMNS, values_only=True)
    except DatasetError:
        raise
    except Exception as error:  # the workbook's parts are XML, whose readers raise whatever a damaged one leads to
        reason = printable(str(error))[:200] or type(error).__name__
        raise DatasetError(f"{path}: expected an Excel workbook, but it cannot be read ({reason}).") from error


def _check_bytes(path: Path, size: int) -> None:
    if size > _MOST_BYTES:
        raise DatasetError(
            f"{path}: expected a table of at most {_MOST_BYTES >> 20} MB, but it has {size >> 20} MB once unpacked; "
            "leave only images and descriptions in it."
        )
