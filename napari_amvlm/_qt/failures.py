"""Any exception as one sentence for the person, and the one place where a thread may catch them all."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, TypeVar

from napari_amvlm.errors import AmvlmError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_FULL = {errno.ENOSPC, errno.EDQUOT}


def guarded(function: Callable[[], T]) -> tuple[T | None, Exception | None]:
    """Call `function` at the bottom of a thread and return its result, or the exception it raised.

    An exception that leaves a QThread's `run` ends the whole program, so nothing may pass here.
    """
    try:
        return function(), None
    except Exception as error:  # noqa: BLE001  the thread's boundary: handed on as a value, and shown
        return None, error


def sentence(error: BaseException) -> str:
    """Describe `error` in one sentence, with the mend where one is known."""
    if isinstance(error, AmvlmError):
        return str(error)
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or "out of memory" in text.lower():
        return (
            "The device ran out of memory; close other programs, choose the CPU or a smaller working scale, "
            "and try again."
        )
    if isinstance(error, OSError) and error.errno in _FULL:
        where = f" holding {error.filename}" if error.filename else ""
        return f"The disk{where} is full; free some space and try again: what was stored before is intact."
    if isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else ""
        return f"File{where} could not be used: {error.strerror or text}."
    return f"Unexpected {type(error).__name__}: {text[:300] or 'no further word'}; nothing was changed."
