"""Text files of masks, which may be packed, and what is said of those that cannot be used."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
import zlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from napari_amvlm.errors import DatasetError, printable

if TYPE_CHECKING:
    from pathlib import Path


_MOST_BYTES = 1 << 29
"""A larger file would take ten times as much memory once it is read; masks in it are better packed."""
_ENDINGS = (".json", ".geojson", ".xml")


def read_text(path: Path) -> bytes:
    """Return the bytes of a JSON or XML file, unpacked where it is packed by gzip, or alone in a zip archive.

    Raises
    ------
    DatasetError
        It cannot be read, or is beyond measure.
    """
    try:
        if (size := path.stat().st_size) > _MOST_BYTES:
            raise DatasetError(
                f"{path}: expected at most {_MOST_BYTES >> 20} MB of JSON, but it has {size >> 20} MB; export fewer "
                "images at once, or masks as packed run lengths."
            )
        content = _unpacked(path)
    except OSError as error:
        raise DatasetError(
            f"{path} cannot be read ({error.strerror or error}): check the path and its permissions."
        ) from error
    except (EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise DatasetError(f"{path} cannot be unpacked ({printable(str(error))[:200]}): export it again.") from error
    if len(content) > _MOST_BYTES:
        raise DatasetError(
            f"{path}: expected at most {_MOST_BYTES >> 20} MB of JSON once it is unpacked; export fewer."
        )
    return content


def _unpacked(path: Path) -> bytes:
    content = path.read_bytes()
    if content.startswith(b"\x1f\x8b"):
        with gzip.open(path) as file:
            return file.read(_MOST_BYTES + 1)
    if not content.startswith(b"PK\3\4"):
        return content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive_members(archive, _ENDINGS)
        if len(members) != 1:
            raise DatasetError(f"{path} holds {len(members)} files of masks, but one is expected: unpack it.")
        with archive.open(members[0]) as member:
            return member.read(_MOST_BYTES + 1)


def archive_members(archive: zipfile.ZipFile, endings: tuple[str, ...]) -> list[zipfile.ZipInfo]:
    """Return the members of an archive with these endings, without those that a Mac puts beside each of them."""
    members = [member for member in archive.infolist() if member.filename.lower().endswith(endings)]
    return [member for member in members if not PurePosixPath(member.filename).name.startswith("._")]


def parse_json(path: Path, content: bytes) -> Any:
    """Return what the bytes of a file say, in UTF-8 or UTF-16.

    Raises
    ------
    DatasetError
        It is no JSON.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is no JSON ({printable(str(error))[:200]}): export it again.") from error
