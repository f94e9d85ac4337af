"""Silence Python warnings for a while, from any thread.

`warnings.catch_warnings` saves and restores filters that belong to the whole process: where two threads use it at once, the
one that leaves first switches the other's silence off, and the one that leaves last can leave a silence behind for good
(see "concurrent safety" in the documentation of `warnings`).
"""

from __future__ import annotations

import threading
import warnings


class _Silence:
    """The one silence of the process, and how many blocks want it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted = 0
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._wanted == 0:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("ignore")
            self._wanted += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._wanted -= 1
            if self._wanted == 0:
                self._filters.__exit__(None, None, None)


_SILENCE = _Silence()


def quiet() -> _Silence:
    """A block in which no warning is shown or raised, in any thread, until the last such block is left.

    For calls of pydicom and highdicom, whose warnings quote values: those are patient data, and what is odd about them is
    judged where they are used.
    """
    return _SILENCE
