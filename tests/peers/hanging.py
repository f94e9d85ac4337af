"""Children of the service that hang, kept by what keeps them in the supervisor; started quickly, see crashing."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

from dicom_pipeline import faults
from dicom_pipeline.config import Settings
from dicom_pipeline.pipeline.renderers import SeriesFrames
from dicom_pipeline.service.child import Child
from dicom_pipeline.service.processes import Target
from tests.peers.crashing import CONTEXT


def with_service(settings: Settings, **values) -> Settings:
    """Settings with other values in their section [service]; also such as a person may not set."""
    return settings.model_copy(update={"service": settings.service.model_copy(update=values)})


@contextmanager
def kept(child: Child, settings: Settings) -> Iterator[Child]:
    """A child that is kept, as the supervisor's rounds do it, until the end."""
    stop = threading.Event()

    def rounds() -> None:
        while not stop.wait(0.05):
            child.keep(settings, "run", CONTEXT)

    thread = threading.Thread(target=rounds)
    thread.start()
    try:
        yield child
    finally:
        stop.set()
        thread.join()
        if child.process is not None:
            child.process.kill()
            child.process.join()


def armed(fault: str, target: Target) -> Target:
    """A target in whose process a fault is armed; "" for none."""
    return partial(_armed, fault, target)


def _armed(fault: str, target: Target, settings: Settings, owner: str, heartbeat) -> None:
    import pandas  # noqa: F401 - as the first result does: seconds on a busy machine, which look like a hang

    faults.arm(fault)
    target(settings, owner, heartbeat)


def slowed(seconds: float, target: Target) -> Target:
    """A target that renders each frame so slowly, one at a time."""
    return partial(_slowed, seconds, target)


def _slowed(seconds: float, target: Target, settings: Settings, owner: str, heartbeat) -> None:
    at_once, one_at_a_time = SeriesFrames.submit, ThreadPoolExecutor(1)

    def slowly(series, frame):
        time.sleep(seconds)
        return at_once(series, frame).result()

    SeriesFrames.submit = lambda series, frame: one_at_a_time.submit(slowly, series, frame)
    _armed("", target, settings, owner, heartbeat)
