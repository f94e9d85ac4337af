"""Where jobs are handed in: a queue, and a pipe that wakes the thread which empties it."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections import deque

from dicom_pipeline.errors import DicomPipelineError
from dicom_pipeline.pipeline.renderers.child import Task


class RenderersClosedError(DicomPipelineError):
    """The render processes were ended before the job was done."""


class Desk:
    """Jobs that no process has; any thread hands in, one thread takes."""

    def __init__(self) -> None:
        self.closed = False
        self._tasks: deque[Task] = deque()
        self._lock = threading.Lock()
        self.bell, self._ringer = os.pipe()
        os.set_blocking(self._ringer, False)
        weakref.finalize(self, _close, (self.bell, self._ringer))

    def put(self, *tasks: Task, first: bool = False) -> None:
        """Hand in jobs, behind all others or before them. After `close` they fail."""
        with self._lock:
            if first:
                self._tasks.extendleft(reversed(tasks))
            else:
                self._tasks.extend(tasks)
            unwanted = self._taken_back() if self.closed else []
        _refuse(unwanted)
        self._ring()

    def next(self) -> Task | None:
        """The next job that is still wanted; None without one."""
        with self._lock:
            while self._tasks:
                task = self._tasks.popleft()
                if task.future.running() or task.future.set_running_or_notify_cancel():
                    return task
        return None

    def silence(self) -> None:
        """What rang was heard."""
        os.read(self.bell, 4096)

    def close(self) -> None:
        """Take back all jobs; those that come fail."""
        with self._lock:
            self.closed = True
            unwanted = self._taken_back()
        _refuse(unwanted)
        self._ring()

    def _ring(self) -> None:
        with contextlib.suppress(BlockingIOError):  # the pipe is full: it rings already
            os.write(self._ringer, b"x")

    def _taken_back(self) -> list[Task]:
        tasks = list(self._tasks)
        self._tasks.clear()
        return tasks


def _refuse(tasks: list[Task]) -> None:
    """Outside of the lock: whoever waits for a job may hand in another one."""
    for task in tasks:
        if task.future.running() or task.future.set_running_or_notify_cancel():
            task.future.set_exception(RenderersClosedError("the render processes were ended"))


def _close(descriptors: tuple[int, ...]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
