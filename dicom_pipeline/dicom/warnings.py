"""Suppress Python warnings for a while, from any thread.

`warnings.catch_warnings` saves and restores filters that belong to the whole process: where two threads use it at once, the
one that leaves first ends the other's suppression, and the one that leaves last can leave one behind for good
(see "concurrent safety" in the documentation of `warnings`).
"""

from __future__ import annotations

import threading
import warnings


class _CountedFilter:
    """The one filter of the process, and how many blocks use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._users == 0:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("ignore")
            self._users += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._filters.__exit__(None, None, None)


_FILTER = _CountedFilter()


def suppress_warnings() -> _CountedFilter:
    """A block in which no warning is shown or raised, in any thread, until the last such block is left.

    For calls of pydicom and highdicom, whose warnings quote values: those are patient data, and what is odd about them is
    judged where they are used.
    """
    return _FILTER
