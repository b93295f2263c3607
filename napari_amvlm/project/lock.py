"""One writer per project: a lock on a file, which the system drops when its process dies, however it dies."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from napari_amvlm.errors import ProjectBusyError
from napari_amvlm.files import disk_errors

if TYPE_CHECKING:
    from pathlib import Path

_OFFSET = 1 << 30
"""Byte that is locked on Windows: beyond the content, so that others can still read who holds the lock."""


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, _OFFSET, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class WriterLock:
    """An exclusive lock on `path`, held from construction until `release`.

    Raises
    ------
    ProjectBusyError
        Another program, or another `Project` of this one, holds it.
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
