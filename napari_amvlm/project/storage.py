"""Paths and files of a project folder, and SQLite's refusals as project errors."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from typing import TYPE_CHECKING

from napari_amvlm.errors import InputError, ProjectBusyError, ProjectError, StorageError, printable
from napari_amvlm.files import TEMPORARY, remove_quietly

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def ledger_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors about a full, damaged or busy ledger at `path` into project errors."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise
    except UnicodeDecodeError as error:
        # SQLite quotes a damaged schema in its message, and Python cannot decode that message
        raise ProjectError(
            f"{path} is not a readable project ledger (its schema is damaged): restore it from a backup, or start a "
            "new project."
        ) from error
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
def value_errors(path: Path, what: str) -> Iterator[None]:
    """Turn the errors of a value that the ledger at `path` cannot hold into a `ProjectError`; `what` names it."""
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, InputError) as error:
        reason = printable(str(error))[:200] or type(error).__name__
        raise ProjectError(f"{path} is damaged, {what} cannot be read ({reason}): restore a backup.") from error


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


def short_path(path: Path) -> str:
    """Return a path out of a ledger as a message may show it: on one line, and not longer than a screen."""
    text = printable(str(path))
    return text if len(text) <= 400 else f"{text[:200]}...{text[-100:]}"


def sha256_of_file(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
