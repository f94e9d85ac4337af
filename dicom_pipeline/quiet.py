"""Silence Python warnings for a while, from any thread.

`warnings.catch_warnings` saves and restores filters that belong to the whole process: where two threads use it at once, the
one that leaves first switches the other's silence off, and the one that leaves last can leave a silence behind for good
(see "concurrent safety" in the documentation of `warnings`).
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


class _Silence:
    """The one silence of the process, and how many blocks want it."""

    lock = threading.Lock()
    wanted = 0
    filters = ExitStack()


@contextmanager
def quiet() -> Iterator[None]:
    """No warning is shown or raised, in any thread, until the last block that wants it so is left.

    For calls of pydicom and highdicom, whose warnings quote values: those are patient data, and what is odd about them is
    judged where they are used.
    """
    with _Silence.lock:
        if _Silence.wanted == 0:
            _Silence.filters.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
        _Silence.wanted += 1
    try:
        yield
    finally:
        with _Silence.lock:
            _Silence.wanted -= 1
            if _Silence.wanted == 0:
                _Silence.filters.close()
