"""Durable writes into the project folder, and the disk's refusals as `StorageError`."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from napari_amvlm.errors import InputError, ProjectBusyError, ProjectError, StorageError, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

TEMPORARY = ".tmp-"
"""Prefix of files that are being written; one that is left over belongs to a crash and is worthless."""

_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn an `OSError` of writing `path` into a `StorageError` that names the mend."""
    try:
        yield
    except OSError as error:
        mend = "free some space" if error.errno in _FULL else "check the disk and its permissions"
        reason = error.strerror or str(error)
        raise StorageError(
            f"{path} could not be written ({reason}); nothing was changed: {mend} and try again."
        ) from error


@contextlib.contextmanager
def ledger_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors about a full, damaged or busy ledger at `path` into project errors."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise
    except sqlite3.DatabaseError as error:
        reason = printable(str(error))[:200]
        if isinstance(error, sqlite3.IntegrityError):
            raise ProjectError(
                f"{path} does not take this, for it contradicts what is there ({reason}); nothing was changed: restore "
                "a backup if that should not be so."
            ) from error
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY):
            raise StorageError(
                f"{path} could not be written ({reason}); nothing was changed: free some space and try again."
            ) from error
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise ProjectBusyError(f"{path} is in use by another program: close it there and try again.") from error
        raise ProjectError(
            f"{path} is not a readable project ledger ({reason}): restore it from a backup, or start a new project."
        ) from error


@contextlib.contextmanager
def understood(path: Path, what: str) -> Iterator[None]:
    """Turn what comes of a value in the ledger at `path` that cannot be understood into a `ProjectError`."""
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, InputError) as error:
        reason = printable(str(error))[:200] or type(error).__name__
        raise ProjectError(f"{path} is damaged, {what} cannot be understood ({reason}): restore a backup.") from error


def fsync_directory(folder: Path) -> None:
    """Make the names in a folder durable; Windows does so by itself and cannot open folders."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a whole file or nothing; when this returns, the file survives a power cut.

    Raises
    ------
    StorageError
        The disk refused; neither `path` nor a part of it was left behind.
    """
    with disk_errors(path):
        descriptor, name = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            remove_quietly(temporary)
            raise
        fsync_directory(path.parent)


def remove_quietly(path: Path) -> None:
    """Remove a file that nothing refers to; one that will not go is only wasted space."""
    with contextlib.suppress(OSError):
        path.unlink()


def remove_leftovers(folder: Path) -> None:
    """Remove what a crash left half-written in a folder; only for the one that holds the writer's lock."""
    if folder.is_dir():
        for pattern in (f"{TEMPORARY}*", ".*.tmp"):  # ours, and those of model files
            for path in folder.glob(pattern):
                remove_quietly(path)


def inside(root: Path, relative: str) -> Path:
    """Return `root / relative`, links followed; what leads out of the project is refused."""
    base = root.resolve()
    try:
        path = (base / relative).resolve()
    except (OSError, ValueError):  # a loop of links, or a name that no file can have
        path = base
    if not path.is_relative_to(base) or path == base:
        named = printable(relative)[:200]
        raise ProjectError(f"the project {root} names {named!r}, which lies outside the project: restore a backup.")
    return path


def shown(path: Path) -> str:
    """Return a path out of a ledger as a message may show it: on one line, and not longer than a screen."""
    text = printable(str(path))
    return text if len(text) <= 400 else f"{text[:200]}...{text[-100:]}"


def sha256_of_file(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
