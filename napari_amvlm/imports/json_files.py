"""JSON files, and what is said of those that cannot be used."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

from napari_amvlm.errors import DatasetError, printable

if TYPE_CHECKING:
    from pathlib import Path


_MOST_BYTES = 1 << 29
"""A larger file would take ten times as much memory once it is read; masks in it are better packed."""


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises
    ------
    DatasetError
        It cannot be read, is beyond measure, or is no JSON.
    """
    try:
        if (size := path.stat().st_size) > _MOST_BYTES:
            raise DatasetError(
                f"{path}: expected at most {_MOST_BYTES >> 20} MB of JSON, but it has {size >> 20} MB; export fewer "
                "images at once, or masks as packed run lengths."
            )
        return json.loads(_content(path))
    except OSError as error:
        raise DatasetError(
            f"{path} cannot be read ({error.strerror or error}): check the path and its permissions."
        ) from error
    except (ValueError, RecursionError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError) as error:
        raise DatasetError(f"{path} is no JSON ({printable(str(error))[:200]}): export it again.") from error


def _content(path: Path) -> bytes:
    """Return the bytes of a file, unpacked where it is packed by gzip, or alone in a zip archive."""
    content = path.read_bytes()
    if content.startswith(b"PK\3\4"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [name for name in archive.namelist() if name.lower().endswith(("json", ".xml"))]
            if len(names) != 1:
                raise DatasetError(f"{path} holds {len(names)} files of masks, expected one: unpack it.")
            with archive.open(names[0]) as member:
                content = member.read(_MOST_BYTES + 1)
    elif content.startswith(b"\x1f\x8b"):
        with gzip.open(path) as file:
            content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise DatasetError(
            f"{path}: expected at most {_MOST_BYTES >> 20} MB of JSON once it is unpacked; export fewer."
        )
    return content
