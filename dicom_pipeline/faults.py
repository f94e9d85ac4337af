"""Named points at which a process may be made to die or hang, so that tests can show what that leaves behind.

Off unless the environment variable DICOM_PIPELINE_FAULT names a point and a passing: `placed:3` is SIGKILL, by the process to
itself, when it passes `placed` for the third time; with `placed:3:hang` the thread stands still there for ever. A point that
is passed while nothing is armed costs one comparison.
"""

from __future__ import annotations

import os
import signal
import threading
import time

from dicom_pipeline.errors import ConfigError

VARIABLE = "DICOM_PIPELINE_FAULT"

RECEIVE_POINTS = (
    "store-begun",  # the file in incoming/ is there, empty
    "store-arrived",  # the whole data set is written
    "placed",  # the file has its final name
    "synced",  # file and folder are on the disk
    "entry-submitted",  # the committer has the entry
    "before-commit",  # the entry's transaction is open
    "committed",
    "before-answer",
    "answered",
)
COMPARE_POINTS = (
    "compared",
)  # other bytes under a known UID: their content is known, the catalog does not know it yet
WORK_POINTS = (
    "claimed",
    "headers-read",
    "encoded",
    "results-written",
    "results-renamed",
    "store-written",  # or passed over, where it is off
    "finished",
)
RENDER_POINTS = ("job-begun",)  # in a render process
SEND_POINTS = (
    "report-read",
    "report-sent",  # the destination has it, the outbox does not know
    "delivery-recorded",
)
POINTS = (*RECEIVE_POINTS, *COMPARE_POINTS, *WORK_POINTS, *RENDER_POINTS, *SEND_POINTS)


class _Fuse:
    """What is armed: a point, how many passings are left, and what happens then."""

    point = ""
    left = 0
    hang = False
    lock = threading.Lock()


def arm(text: str) -> None:
    """Arm `point:passing` or `point:passing:hang`; an empty text disarms. Raises ConfigError for anything else."""
    point, _, passing = text.removesuffix(":hang").partition(":")
    if text and (point not in POINTS or not passing.isdecimal() or int(passing) < 1):
        raise ConfigError(
            f"{VARIABLE} is {text!r}; expected one of {', '.join(POINTS)}, a colon and a number from 1, and perhaps :hang"
        )
    _Fuse.point, _Fuse.left, _Fuse.hang = point, int(passing or 0), text.endswith(":hang")


def passing(point: str) -> None:
    """Die or hang here if this is the armed point and its passing has come."""
    if point == _Fuse.point:
        with _Fuse.lock:
            _Fuse.left -= 1
            struck = _Fuse.left == 0
            if struck and not _Fuse.hang:
                os.kill(os.getpid(), signal.SIGKILL)
        while struck:
            time.sleep(60.0)


arm(os.environ.get(VARIABLE, ""))
