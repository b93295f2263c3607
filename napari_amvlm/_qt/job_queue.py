"""Threads at work for the docks, and jobs that run one after the other."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_amvlm._qt.failures import guarded
from napari_amvlm._qt.workers import CallThread, GuardedThread

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class _Job:
    function: Callable[[], Any]
    done: Callable[[Any], None] | None
    failed: Callable[[str], None] | None


class JobQueue(QObject):
    """Holds threads until they have ended, and calls functions off the GUI thread in the order they came.

    Signals
    -------
    busyChanged
        A thread started or ended.
    said : level, text
        Words for the person.
    """

    busyChanged = Signal()
    said = Signal(str, str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.closing = False
        self._threads: list[GuardedThread] = []
        self._jobs: deque[_Job] = deque()
        self._job: _Job | None = None
        self._job_thread: GuardedThread | None = None

    def start(self, thread: GuardedThread) -> None:
        """Run `thread`, and hold it until it has ended."""
        self._threads.append(thread)
        thread.finished.connect(self._on_thread_finished)
        thread.start()
        self.busyChanged.emit()

    def threads(self) -> list[GuardedThread]:
        """Return the threads at work."""
        return list(self._threads)

    def submit(
        self,
        function: Callable[[], Any],
        done: Callable[[Any], None] | None = None,
        failed: Callable[[str], None] | None = None,
    ) -> None:
        """Call `function` off the GUI thread, after those submitted before it; `done` or `failed` hear of it."""
        self._jobs.append(_Job(function, done, failed))
        self._next_job()

    def finish_jobs(self) -> None:
        """Wait for every thread, and do here and now what was still to be done."""
        for thread in self.threads():
            thread.wait()
        while self._jobs:
            guarded(self._jobs.popleft().function)

    def _next_job(self) -> None:
        if self._job is not None or not self._jobs:
            return
        self._job = self._jobs.popleft()
        self._job_thread = CallThread(self._job.function)
        self._job_thread.returned.connect(self._on_job_returned)
        self._job_thread.errored.connect(self._on_job_errored)
        self.start(self._job_thread)

    def _on_job_returned(self, result: object) -> None:
        job = self._job
        if job is not None and job.done is not None and not self.closing:
            job.done(result)

    def _on_job_errored(self, text: str, _error: object) -> None:
        if self.closing:
            return
        if self._job is not None and self._job.failed is not None:
            self._job.failed(text)
        else:
            self.said.emit("error", text)

    def _on_thread_finished(self) -> None:
        # only the one that says so: another may have ended too, with its result still on the way to us
        thread = self.sender()
        if not isinstance(thread, GuardedThread):
            return
        self._threads.remove(thread)
        if thread is self._job_thread:
            self._job = self._job_thread = None
        thread.deleteLater()
        self.busyChanged.emit()
        self._next_job()
