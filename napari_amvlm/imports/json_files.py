"""JSON files, and what is said of those that cannot be used."""

from __future__ import annotations

import gzip
import json
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
        return json.loads(_content(path).decode("utf-8-sig"))
    except OSError as error:
        raise DatasetError(
            f"{path} cannot be read ({error.strerror or error}): check the path and its permissions."
        ) from error
    except (ValueError, RecursionError, EOFError, zlib.error) as error:
        raise DatasetError(f"{path} is no JSON ({printable(str(error))[:200]}): export it again.") from error


def _content(path: Path) -> bytes:
    """Return the bytes of a file, unpacked where it is packed by gzip."""
    content = path.read_bytes()
    if not content.startswith(b"\x1f\x8b"):
        return content
    with gzip.open(path) as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise DatasetError(
            f"{path}: expected at most {_MOST_BYTES >> 20} MB of JSON once it is unpacked; export fewer."
        )
    return content
