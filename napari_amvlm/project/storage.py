"""Paths, files, stored images and the writer's lock of a project folder; SQLite's refusals as project errors."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import sqlite3
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_amvlm.errors import ImageError, InputError, ProjectBusyError, ProjectError, StorageError, printable
from napari_amvlm.files import TEMPORARY, disk_errors, remove_quietly, sha256_of_file
from napari_amvlm.imaging import read_image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

    from napari_amvlm.project.records import ImageRecord


_HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
"""What the system says of a lock that somebody else holds."""

_OFFSET = 1 << 30
"""Byte that is locked on Windows: beyond the content, so that others can still read who holds the lock."""


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


def storable_array(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array as it is kept: without alpha, in this machine's byte order.

    Raises
    ------
    ImageError
        It is no image, or holds no numbers.
    """
    array = np.asarray(array)
    if array.ndim == 3 and array.shape[-1] == 4:
        array = array[..., :3]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[-1] != 3) or 0 in array.shape:
        raise ImageError(f"an image must have the shape (H, W) or (H, W, 3), but has {array.shape}: pick one plane.")
    if array.dtype.kind not in "buif":
        raise ImageError(f"an image must hold numbers, but holds {array.dtype}: convert it to integers or floats.")
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    array = np.ascontiguousarray(array)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def array_hash(array: npt.NDArray[Any]) -> str:
    """Return the hex SHA-256 of dtype, shape and pixels."""
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape} ".encode())
    digest.update(array.tobytes())
    return digest.hexdigest()


def has_content(path: Path, sha256: str) -> bool:
    """Tell whether a file can be read and has this hash."""
    try:
        return sha256_of_file(path) == sha256
    except OSError:
        return False


def read_stored(record: ImageRecord) -> npt.NDArray[Any]:
    """Return the pixels of an image that the project keeps itself; `ProjectError` where its file is gone or changed."""
    try:
        array: npt.NDArray[Any] = np.asarray(read_image(record.path).data)
    except ImageError as error:
        raise ProjectError(
            f"the stored image {short_path(record.path)} cannot be read: restore it from a backup."
        ) from error
    if array_hash(array) != record.sha256:
        raise ProjectError(f"the stored image {short_path(record.path)} was changed: restore it from a backup.")
    return array


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, _OFFSET, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class WriterLock:
    """One writer per project: an exclusive lock on the file `path`, held from construction until `release`.

    The system drops it when its process dies, however it dies.

    Raises
    ------
    ProjectBusyError
        Another program, or another `Project` of this one, holds it; or the disk cannot lock files.
    """

    def __init__(self, path: Path) -> None:
        with disk_errors(path):
            # Its content is replaced, so a link to somebody's file must not be followed.
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
        try:
            _lock(self._descriptor)
        except OSError as error:
            holder = os.pread(self._descriptor, 64, 0) if hasattr(os, "pread") else b""
            os.close(self._descriptor)
            self._descriptor = -1
            if error.errno not in _HELD:
                raise ProjectBusyError(
                    f"{path.parent} lies on a disk that cannot lock files ({error.strerror}): move it to another disk "
                    "to write to it, or open it here for reading only."
                ) from error
            process = holder.decode("ascii", "replace").strip()
            process = process if process.isdigit() else ""
            who = f"another program (process {process})" if process else "another program"
            raise ProjectBusyError(
                f"{path.parent} is open for writing in {who}: close it there, or open it here for reading only."
            ) from error
        self._tell_process()

    def _tell_process(self) -> None:
        try:
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.ftruncate(self._descriptor, 0)
            os.write(self._descriptor, str(os.getpid()).encode("ascii"))
        except OSError:  # a full disk: the lock holds all the same, its message is only less helpful
            return

    def release(self) -> None:
        """Let the next writer in; calling it twice does no harm."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
