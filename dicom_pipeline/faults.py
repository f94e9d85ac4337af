"""Named points at which a process may be made to die, so that tests can show what a crash there leaves behind.

Off unless the environment variable DICOM_PIPELINE_FAULT names a point and a passing: `placed:3` is SIGKILL, by the process to
itself, when it passes `placed` for the third time. A point that is passed while nothing is armed costs one comparison.
"""

from __future__ import annotations

import os
import signal
import threading

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
SEND_POINTS = (
    "report-read",
    "report-sent",  # the destination has it, the outbox does not know
    "delivery-recorded",
)
POINTS = (*RECEIVE_POINTS, *COMPARE_POINTS, *WORK_POINTS, *SEND_POINTS)


class _Fuse:
    """What is armed: a point, and how many passings are left."""

    point = ""
    left = 0
    lock = threading.Lock()


def arm(text: str) -> None:
    """Arm `point:passing`; an empty text disarms. Raises ConfigError for anything else."""
    point, _, passing = text.partition(":")
    if text and (point not in POINTS or not passing.isdecimal() or int(passing) < 1):
        raise ConfigError(f"{VARIABLE} is {text!r}; expected one of {', '.join(POINTS)}, a colon and a number from 1")
    _Fuse.point, _Fuse.left = point, int(passing or 0)


def passing(point: str) -> None:
    """Die here if this is the armed point and its passing has come."""
    if point == _Fuse.point:
        with _Fuse.lock:
            _Fuse.left -= 1
            if _Fuse.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


arm(os.environ.get(VARIABLE, ""))
