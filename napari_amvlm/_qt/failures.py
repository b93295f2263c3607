"""The one place where a thread may catch every exception."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def guarded(function: Callable[[], T]) -> tuple[T | None, Exception | None]:
    """Call `function` at the bottom of a thread and return its result, or the exception it raised.

    An exception that leaves a QThread's `run` ends the whole program, so nothing may pass here.
    """
    try:
        return function(), None
    except Exception as error:  # noqa: BLE001  the thread's boundary: handed on as a value, and shown
        return None, error
