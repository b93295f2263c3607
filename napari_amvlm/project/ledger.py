"""The connection to `project.sqlite`: opened, checked, migrated, and written in durable transactions."""

from __future__ import annotations

import contextlib
import datetime
import getpass
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

from napari_amvlm.errors import ProjectError, printable
from napari_amvlm.files import TEMPORARY, disk_errors, fsync_directory, remove_quietly, write_atomically
from napari_amvlm.project.schema import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    has_untidy_prompts,
    lost_columns,
    migrate,
    schema_version,
    strange_programs,
    tidy_prompts,
)
from napari_amvlm.project.storage import WriterLock, inside, ledger_errors, remove_leftovers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

LEDGER_NAME = "project.sqlite"
LOCK_NAME = "writer.lock"
FOLDERS = ("images", "masks", "drafts", "models", "runs")
_OWN_FILES = (LEDGER_NAME, *(f"{LEDGER_NAME}-{kind}" for kind in ("wal", "shm", "journal")), LOCK_NAME)
"""Files that are written to by name, so that none of them may be a link to a file of somebody else."""


def now() -> str:
    """Return the time in UTC, ISO 8601, as the ledger keeps it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def author() -> str:
    """Return the name of the person as the system knows it."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a process without a user name, as in some containers
        return "unknown"


def _connect(path: Path, options: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.resolve().as_uri()}?{options}", uri=True, isolation_level=None, check_same_thread=False, timeout=5.0
    )
    try:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        # The file may be a stranger's: its schema may call nothing but plain functions, and its pages are checked.
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        schema_version(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _connect_reader(path: Path, *, recover: bool) -> sqlite3.Connection:
    """Connect without changing anything, but where `recover` allows for what a crash left to be undone first."""
    try:
        return _connect(path, "mode=ro")
    except sqlite3.OperationalError as error:
        if recover and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_READONLY:
            return _connect(path, "mode=rw")
        # A write-ahead log needs a file beside the ledger even to read; on a write-protected disk nobody else writes.
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CANTOPEN or path.with_name(path.name + "-wal").exists():
            raise
        return _connect(path, "mode=ro&immutable=1")


def _tidied_copy(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Return a copy in memory in which prompts are written as today, where the file itself may not be changed."""
    copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    try:
        copy.row_factory = sqlite3.Row
        copy.execute("PRAGMA trusted_schema = OFF")
        connection.backup(copy)
        tidy_prompts(copy)
    except BaseException:
        copy.close()
        raise
    connection.close()
    return copy


class Ledger:
    """One open ledger; all access goes through one lock, so threads of one program may share it.

    Parameters
    ----------
    root
        The project folder; it must hold a ledger.
    read_only
        Open without the writer's lock; many may do so while one writes.

    Raises
    ------
    ProjectError
        There is no ledger, it is damaged, foreign, or from a newer version.
    ProjectBusyError
        Another program writes to it.
    """

    def __init__(self, root: Path, *, read_only: bool) -> None:
        self.root = root
        self.path = root / LEDGER_NAME
        self.read_only = read_only
        self._mutex = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        if not self.path.is_file():
            raise ProjectError(
                f"{root} is not a project, it has no {LEDGER_NAME}: choose another folder, or create a new project."
            )
        for name in (*_OWN_FILES, *FOLDERS):
            inside(root, name)
        self._lock = None if read_only else WriterLock(root / LOCK_NAME)
        try:
            with ledger_errors(self.path):
                # A writer too looks first: a ledger that is refused stays as it is, bit by bit.
                self._connection = _connect_reader(self.path, recover=not read_only)
                self._check()
                if read_only and has_untidy_prompts(self._connection):
                    self._connection = _tidied_copy(self._connection)
                if not read_only:
                    self._make_folders()
                    self._connection.close()
                    self._connection = _connect(self.path, "mode=rw")
                    self._prepare_writing()
        except BaseException:
            self.close()
            raise

    def _check(self) -> None:
        connection = self.connection
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = schema_version(connection)
        if application != APPLICATION_ID or version < 1:
            raise ProjectError(f"{self.path} is not a napari-amvlm ledger: choose a folder that napari-amvlm made.")
        if version > SCHEMA_VERSION:
            raise ProjectError(
                f"{self.path} has schema version {version}, but this program knows {SCHEMA_VERSION}: update it."
            )
        if self.read_only and version < SCHEMA_VERSION:
            raise ProjectError(
                f"{self.path} has the older schema version {version}: open it for writing once to update it."
            )
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict == "ok":
            verdict = self._structure(version)
        if verdict != "ok":
            reason = printable(verdict)[:200]
            raise ProjectError(f"{self.path} is damaged ({reason}): restore it from a backup, or start a new project.")

    def _structure(self, version: int) -> str:
        """Say what is wrong with the tables, "ok" where they are those that the migrations make."""
        if foreign := strange_programs(self.connection):
            return f"it holds the {foreign[0]}, which napari-amvlm did not write"
        if version == SCHEMA_VERSION and (lost := lost_columns(self.connection)):
            return f"it lacks {lost[0]}"
        return "ok"

    def _make_folders(self) -> None:
        with disk_errors(self.root):
            for name in FOLDERS:
                (self.root / name).mkdir(exist_ok=True)
            fsync_directory(self.root)

    def _prepare_writing(self) -> None:
        self.connection.execute("PRAGMA journal_mode = WAL")
        if schema_version(self.connection) < SCHEMA_VERSION:
            copy = _back_up(self.connection, self.root)
            try:
                migrate(self.connection)
            except sqlite3.Error:
                remove_quietly(copy)  # the ledger is as it was, and another try would leave another copy
                raise
        tidy_prompts(self.connection)
        for folder in (self.root, *(self.root / name for name in FOLDERS)):
            remove_leftovers(folder)
        # This is the only writer, so a run that is still "running" died with its program.
        self.connection.execute("UPDATE runs SET state = 'interrupted', ended_at = ? WHERE state = 'running'", (now(),))

    @property
    def connection(self) -> sqlite3.Connection:
        """The open connection."""
        if self._connection is None:
            raise ProjectError(f"the project {self.root} is closed: open it again.")
        return self._connection

    def rows(self, query: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[sqlite3.Row]:
        """Return all rows of a query."""
        with self._mutex, ledger_errors(self.path):
            return self.connection.execute(query, values).fetchall()

    def row(self, query: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> sqlite3.Row | None:
        """Return the first row of a query."""
        rows = self.rows(query, values)
        return rows[0] if rows else None

    def require_writer(self) -> None:
        """Raise a `ProjectError` where the project is open for reading only."""
        if self.read_only:
            raise ProjectError(f"the project {self.root} is open for reading only: open it for writing to change it.")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Everything done inside is on the disk when this ends, or none of it is."""
        self.require_writer()
        with self._mutex, ledger_errors(self.path):
            connection = self.connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    with contextlib.suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the connection and let the next writer in; calling it twice does no harm."""
        with self._mutex:
            try:
                if self._connection is not None:
                    self._connection.close()
            finally:
                self._connection = None
                if self._lock is not None:
                    self._lock.release()


def create_ledger(root: Path, name: str) -> None:
    """Make the project folder with an empty ledger; the ledger appears whole or not at all.

    Raises
    ------
    ProjectError
        There is a project already, or a folder with other things in it.
    StorageError
        The disk refused.
    """
    if (root / LEDGER_NAME).exists():
        raise ProjectError(f"{root} is a project already: open it instead.")
    if root.exists() and not root.is_dir():
        raise ProjectError(f"{root} is a file, a project is a folder: choose another name.")
    if root.is_dir() and _foreign_files(root):
        raise ProjectError(f"{root} is not empty and is no project: choose an empty folder or a new name.")
    with disk_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        fsync_directory(root.parent)
    lock = WriterLock(root / LOCK_NAME)
    try:
        if (root / LEDGER_NAME).exists():
            raise ProjectError(f"{root} is a project already: open it instead.")
        _build_ledger(root, name)
    finally:
        lock.release()


def _foreign_files(root: Path) -> bool:
    return any(p.is_file() and p.name != LOCK_NAME and not p.name.startswith(TEMPORARY) for p in root.rglob("*"))


def _build_ledger(root: Path, name: str) -> None:
    def build(temporary: Path) -> None:
        with ledger_errors(root / LEDGER_NAME), contextlib.closing(_connect(temporary, "mode=rwc")) as connection:
            # The file is synced as a whole before it gets its name: a wait for each step would make it no safer.
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA journal_mode = MEMORY")
            migrate(connection)
            facts = {"name": name, "created_at": now()}
            connection.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())

    try:
        write_atomically(root / LEDGER_NAME, build)
    finally:
        remove_leftovers(root)  # a journal, where the disk refused the ledger


def _back_up(connection: sqlite3.Connection, root: Path) -> Path:
    """Copy an open ledger to `project-schema-N.sqlite` beside it, and return that path when it is on the disk.

    What is still in its write-ahead log is copied too. An earlier backup is kept: the new one is then called
    `project-schema-N-2.sqlite`, and so on. `StorageError` where the disk refused; the ledger was not changed.
    """
    stem = f"project-schema-{schema_version(connection)}"
    target, number = root / f"{stem}.sqlite", 2
    while target.exists():
        target, number = root / f"{stem}-{number}.sqlite", number + 1

    def copy(temporary: Path) -> None:
        with ledger_errors(target), contextlib.closing(sqlite3.connect(temporary)) as backup:
            connection.backup(backup)
            # A backup stands alone: with a log it would be two files.
            backup.execute("PRAGMA journal_mode = DELETE")

    write_atomically(target, copy)
    return target
