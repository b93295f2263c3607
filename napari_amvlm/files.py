"""Whole files or none: the one way in which files are written that must survive a crash; and hashes of files."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import uuid
from typing import TYPE_CHECKING

from napari_amvlm.errors import InputError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

TEMPORARY = ".tmp-"
"""Prefix of files that are being written; one that is left over belongs to a crash and is worthless."""

_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


def write_atomically(path: Path, write: Callable[[Path], object], *, make_folder: bool = False) -> None:
    """Write a whole file or nothing; when this returns, the file survives a power cut.

    Parameters
    ----------
    path
        The file; one that is there already is replaced.
    write
        Writes a temporary file beside `path`, which is then renamed. What it raises leaves `path` as it was.
    make_folder
        Make the folder of `path` where it is missing.

    Raises
    ------
    StorageError
        The disk refused; nothing was changed.
    """
    temporary = path.with_name(f"{TEMPORARY}{uuid.uuid4().hex}{path.suffix}")
    with disk_errors(path):
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.touch()
            mode = temporary.stat().st_mode
            write(temporary)
            if temporary.stat().st_mode != mode:  # safetensors writes files that no one else may read
                with contextlib.suppress(OSError):
                    temporary.chmod(mode)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            remove_quietly(temporary)
            raise
        fsync_directory(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file by `write_atomically`, and make its folder where it is missing."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline=""), make_folder=True)


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn an `OSError` of writing `path` into a `StorageError` that says what to do."""
    try:
        yield
    except OSError as error:
        advice = "free some space" if error.errno in _FULL else "check the disk and its permissions"
        reason = error.strerror or str(error)
        raise StorageError(
            f"{path} could not be written ({reason}); nothing was changed: {advice} and try again."
        ) from error


def sha256_of_file(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def starts_with(path: Path, text: str) -> bool:
    """Tell whether a file can be read and begins with this text in UTF-8."""
    start = text.encode()
    try:
        with path.open("rb") as file:
            return file.read(len(start)) == start
    except OSError:
        return False


def refuse_existing(files: Iterable[Path], *, overwrite: bool = False) -> None:
    """Raise InputError where a file is there already."""
    for file in files:
        if file.exists() and not overwrite:
            raise InputError(f"{file} is there already; give another -o, or --overwrite to replace it.")


def fsync_directory(folder: Path) -> None:
    """Make the names in a folder durable; Windows does so by itself and cannot open folders."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_quietly(path: Path) -> None:
    """Remove a file that nothing refers to; one that will not go is only wasted space."""
    with contextlib.suppress(OSError):
        path.unlink()
