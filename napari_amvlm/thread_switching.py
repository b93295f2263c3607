"""How long a thread may keep the interpreter while others wait for it."""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

INTERVAL = 0.001
"""Seconds; Python's own 0.005 are a third of a frame, and a window asks for the interpreter several times a frame."""


class _Users:
    """Counts who wants quick switching, so that the last one to end puts the interval back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._before = 0.0

    def begin(self) -> None:
        with self._lock:
            if self._count == 0:
                self._before = sys.getswitchinterval()
                sys.setswitchinterval(min(INTERVAL, self._before))
            self._count += 1

    def end(self) -> None:
        with self._lock:
            self._count -= 1
            if self._count == 0:
                sys.setswitchinterval(self._before)


_users = _Users()


@contextlib.contextmanager
def quick_switching() -> Iterator[None]:
    """Let threads take turns more often in the body, so that a window answers beside one that works.

    The interval belongs to the whole process; several threads may be in the body at once.
    """
    _users.begin()
    try:
        yield
    finally:
        _users.end()
