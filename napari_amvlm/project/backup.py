"""A copy of the ledger as it was before a newer program migrates it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from pathlib import Path

from napari_amvlm.project.schema import schema_version
from napari_amvlm.project.storage import TEMPORARY, disk_errors, fsync_directory, ledger_errors, remove_quietly


def back_up(connection: sqlite3.Connection, root: Path) -> Path:
    """Copy an open ledger to `project-schema-N.sqlite` beside it, and return that path when it is on the disk.

    An earlier backup is kept: the new one is then called `project-schema-N-2.sqlite`, and so on.

    Parameters
    ----------
    connection
        The open ledger; what is still in its write-ahead log is copied too.
    root
        The project folder.

    Raises
    ------
    StorageError
        The disk refused; the ledger was not changed.
    """
    stem = f"project-schema-{schema_version(connection)}"
    target, number = root / f"{stem}.sqlite", 2
    while target.exists():
        target, number = root / f"{stem}-{number}.sqlite", number + 1
    with disk_errors(target):
        descriptor, name = tempfile.mkstemp(prefix=TEMPORARY, suffix=".sqlite", dir=root)
        os.close(descriptor)
        try:
            with ledger_errors(target), contextlib.closing(sqlite3.connect(name)) as copy:
                connection.backup(copy)
                # A backup stands alone: with a log it would be two files.
                copy.execute("PRAGMA journal_mode = DELETE")
            with Path(name).open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(name, target)
        except BaseException:
            remove_quietly(Path(name))
            raise
        fsync_directory(root)
    return target
