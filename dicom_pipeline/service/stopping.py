"""An orderly stop of work that may take long: for some seconds it may be finished, then it ends where it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

STOP_SECONDS = 20.0
"""After SIGTERM a study that is under way may be finished; the supervisor kills after three times as long."""


class StoppedError(Exception):
    """The worker was told to stop, and what it does takes too long to be waited for."""


class StopDeadline:
    """Lets work go on for some seconds after `stop`, then ends it with StoppedError from wherever it makes progress."""

    def __init__(self, stop: threading.Event, seconds: float) -> None:
        self._stop = stop
        self._seconds = seconds
        self._stopped_at: float | None = None
        self._is_suspended = False

    def check(self) -> None:
        """Raises StoppedError."""
        if not self._stop.is_set():
            return
        now = time.monotonic()
        if self._stopped_at is None:
            self._stopped_at = now
        if not self._is_suspended and now - self._stopped_at > self._seconds:
            raise StoppedError

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Results that are there are written to the end."""
        self._is_suspended = True
        try:
            yield
        finally:
            self._is_suspended = False
