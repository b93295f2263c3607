"""Waiting without blocking the window, and measuring how well it answers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QEventLoop, QObject, Qt, QTimer

from napari_amvlm.errors import AmvlmError

if TYPE_CHECKING:
    from collections.abc import Callable

TICK = 16
"""Milliseconds between two ticks, as for 60 frames a second."""


class Heartbeat(QObject):
    """Measures the time from one tick of the event loop to the next."""

    def __init__(self) -> None:
        super().__init__()
        self._gaps: list[float] = []
        self._last = time.perf_counter()
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._on_tick)

    def start(self) -> None:
        """Measure from now on, anew."""
        self._gaps = []
        self._last = time.perf_counter()
        self._timer.start(TICK)

    def stop(self) -> dict[str, float]:
        """Return the median, the 99th percentile and the longest gap, milliseconds, and the number of ticks."""
        self._timer.stop()
        gaps = 1000 * np.array(self._gaps or [0.0])
        return {
            "p50_ms": round(float(np.percentile(gaps, 50)), 1),
            "p99_ms": round(float(np.percentile(gaps, 99)), 1),
            "longest_ms": round(float(gaps.max()), 1),
            "ticks": len(self._gaps),
        }

    def _on_tick(self) -> None:
        now = time.perf_counter()
        self._gaps.append(now - self._last)
        self._last = now


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Run the event loop until `condition` has held once; it may not hold any more afterwards.

    Raises
    ------
    AmvlmError
        It did not within `seconds`; the message names `what` was waited for.
    """
    deadline = time.monotonic() + seconds
    loop = QEventLoop()
    timer = QTimer()
    held = False

    def check() -> None:
        nonlocal held
        held = condition()
        if held or time.monotonic() > deadline:
            loop.quit()

    timer.timeout.connect(check)
    timer.start(20)
    loop.exec()
    timer.stop()
    if not held:
        raise AmvlmError(f"Waited {seconds:.0f} s in vain for {what}; try again on an idle machine.")
