"""The threads of the docks, and jobs that run one after the other."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_amvlm._qt.workers import CallThread, GuardedThread, guarded

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class _Job:
    function: Callable[[], Any]
    done: Callable[[Any], None] | None
    failed: Callable[[str], None] | None


class _Line(QObject):
    """Jobs that run one after the other, each in a thread of its own."""

    def __init__(self, queue: JobQueue) -> None:
        super().__init__(queue)
        self._queue = queue
        self._jobs: deque[_Job] = deque()
        self._job: _Job | None = None
        self._thread: GuardedThread | None = None

    def is_busy(self) -> bool:
        return self._job is not None or bool(self._jobs)

    def add(self, job: _Job) -> None:
        self._jobs.append(job)
        self.start_next()

    def start_next(self) -> None:
        if self._job is not None or not self._jobs:
            return
        self._job = self._jobs.popleft()
        self._thread = CallThread(self._job.function)
        self._thread.returned.connect(self._on_returned)
        self._thread.errored.connect(self._on_errored)
        self._queue.start(self._thread)

    def release(self, thread: GuardedThread) -> None:
        """Release a finished thread after its result was delivered."""
        if thread is self._thread:
            self._job = self._thread = None

    def finish(self) -> None:
        while self._jobs:
            guarded(self._jobs.popleft().function)

    def _on_returned(self, result: object) -> None:
        if self._job is not None and self._job.done is not None and not self._queue.closing:
            self._job.done(result)

    def _on_errored(self, text: str, _error: object) -> None:
        if self._queue.closing:
            return
        if self._job is not None and self._job.failed is not None:
            self._job.failed(text)
        else:
            self._queue.said.emit("error", text)


class JobQueue(QObject):
    """Holds threads until they have ended, and calls functions off the GUI thread in the order they came.

    Signals
    -------
    busyChanged
        A thread started or ended.
    said : level, text
        A message for the person.
    """

    busyChanged = Signal()
    said = Signal(str, str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.closing = False
        self._threads: list[GuardedThread] = []
        self._jobs, self._long_jobs = _Line(self), _Line(self)

    def start(self, thread: GuardedThread) -> None:
        """Run `thread`, and hold it until it has ended."""
        self._threads.append(thread)
        # with the thread itself, and not by `sender()`: another thread may have ended too, with its result on the way
        thread.finished.connect(lambda: self._on_thread_finished(thread))
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
        *,
        long: bool = False,
    ) -> None:
        """Call `function` in a thread after those submitted before; then `done(result)` or `failed(message)`.

        A `long` job waits for other long jobs only, and others do not wait for it.
        """
        (self._long_jobs if long else self._jobs).add(_Job(function, done, failed))

    def is_at_long_job(self) -> bool:
        """Tell whether a long job is under way, or waits."""
        return self._long_jobs.is_busy()

    def finish_jobs(self) -> None:
        """Wait for every thread, and run the jobs that are left here and now."""
        for thread in self.threads():
            thread.wait()
        self._threads.clear()
        self._jobs.finish()
        self._long_jobs.finish()

    def _on_thread_finished(self, thread: GuardedThread) -> None:
        if thread in self._threads:
            self._threads.remove(thread)
        for line in (self._jobs, self._long_jobs):
            line.release(thread)
        thread.deleteLater()
        self.busyChanged.emit()
        for line in (self._jobs, self._long_jobs):
            line.start_next()
