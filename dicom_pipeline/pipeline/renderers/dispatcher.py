"""The thread that holds the render processes: gives jobs, takes answers, and starts again what has ended.

A job during which a process died is tried again in another one, because the process may have been killed for something else
(a machine out of memory takes the largest); a job that takes its third process along is what kills them.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from multiprocessing.connection import wait
from pathlib import Path

from dicom_pipeline.backoff import backoff_seconds
from dicom_pipeline.domain import InstanceError, Reason, short_uid
from dicom_pipeline.errors import DicomPipelineError
from dicom_pipeline.pipeline.renderers.child import RenderLimits, RenderProcess, Task
from dicom_pipeline.pipeline.renderers.desk import Desk, RenderersClosedError
from dicom_pipeline.pipeline.renderers.jobs import Answer, Failed, Ready
from dicom_pipeline.pipeline.renderers.kernels import KernelChoice, code_folders

log = logging.getLogger(__name__)

MAX_DEATHS = 3
"""Processes that may die over one job."""

MAX_FAILED_STARTS = 5
FIRST_START_SECONDS, MAX_START_SECONDS = 0.5, 10.0
STARTING_SECONDS = 120.0

MAX_FAILED_STARTS_WITH_LOOPS = 2
"""Starts in a row that may fail before the next ones do without compiled loops, which may be what ends them."""

WALL_SHARE = 4
"""A job may take so many times its CPU time by the clock: it waits for a disk, or for a machine with much else to do."""

LOOK_SECONDS = 1.0
MAX_LOOK_SECONDS = 5.0
"""Seconds that count at most between two looks: in a longer pause this process stood still too."""

TIMED_OUT = "timeout"
OUT_OF_TIME = ("SIGXCPU", TIMED_OUT)


class RendererStartError(DicomPipelineError):
    """No render process can be started."""


class Dispatcher:
    """Runs until the desk is closed.

    ended: how many processes ended that should not have, by how. kernel: what renders in them, "" before one has started.
    """

    def __init__(self, desk: Desk, processes: int, limits: RenderLimits, kernel: KernelChoice) -> None:
        self.ended: Counter[str] = Counter()
        self.kernel = ""
        self._choice = kernel
        self._kernel_folders: tuple[Path, ...] = ()
        self._problems: set[str] = set()
        self._desk = desk
        self._wanted = processes
        self._limits = limits
        self._processes: list[RenderProcess] = []
        self._failed_starts = 0
        self._start_at = 0.0

    def run(self) -> None:
        """Work until the desk is closed, or no process can be started."""
        try:
            with ExitStack() as stack:
                self._kernel_folders = code_folders(self._choice, stack)
                self._work()
        finally:
            self._desk.close()
            for process in self._processes:
                process.end(at_once=bool(process.tasks) or not process.is_ready)
                for task in process.tasks:
                    task.future.set_exception(RenderersClosedError("the render processes were ended"))

    def _work(self) -> None:
        last = time.monotonic()
        while not self._desk.closed:
            self._start_missing()
            self._give()
            self._take()
            now = time.monotonic()
            self._look(min(now - last, MAX_LOOK_SECONDS))
            last = now

    def _start_missing(self) -> None:
        while len(self._processes) < self._wanted and time.monotonic() >= self._start_at:
            try:
                self._processes.append(RenderProcess(self._limits, self._kernel_folders))
            except OSError as error:
                self._start_failed(error.strerror or type(error).__name__)

    def _start_failed(self, why: str) -> None:
        self._failed_starts += 1
        wait_seconds = backoff_seconds(self._failed_starts - 1, FIRST_START_SECONDS, MAX_START_SECONDS)
        self._start_at = time.monotonic() + wait_seconds
        log.error("a render process cannot be started: %s; again in %.1f s", why, wait_seconds)
        if self._kernel_folders and self._failed_starts >= MAX_FAILED_STARTS_WITH_LOOPS:
            folders = ", ".join(map(str, self._kernel_folders))
            log.warning("rendering with numpy from now on: a process ended while it loaded what is in %s", folders)
            self._kernel_folders = ()
        if self._failed_starts >= MAX_FAILED_STARTS and not self._processes:
            self._give_up(why)

    def _give_up(self, why: str) -> None:
        while (task := self._desk.next()) is not None:
            task.future.set_exception(RendererStartError(f"no render process can be started: {why}"))
        self._failed_starts = 0

    def _give(self) -> None:
        """A job to each process that has none, then a second one to each, so that all have as much to do."""
        for full in (1, 2):
            for process in list(self._processes):
                if len(process.tasks) < full and (task := self._desk.next()) is not None:
                    try:
                        process.give(task)
                    except OSError:
                        self._desk.put(task, first=True)
                        self._has_ended(process)

    def _take(self) -> None:
        connections = [process.connection for process in self._processes]
        ready = wait([self._desk.bell, *connections], LOOK_SECONDS)
        if self._desk.bell in ready:
            self._desk.silence()
        for process in [each for each in self._processes if each.connection in ready]:
            try:
                taken = process.take()
            except (EOFError, OSError):
                self._has_ended(process)
                continue
            self._failed_starts = 0
            if taken is not None:
                _tell(*taken)
            elif process.ready is not None:
                self._has_started(process.ready)

    def _has_started(self, ready: Ready) -> None:
        self.kernel = ready.kernel
        if ready.problem and ready.problem not in self._problems:  # each process has it
            log.warning("rendering with %s, more slowly and to the same bytes: %s", ready.kernel, ready.problem)
            self._problems.add(ready.problem)

    def _look(self, seconds: float) -> None:
        """Count how long each process has been silent; end those that should have answered."""
        for process in list(self._processes):
            if process.is_ready and not process.tasks:
                continue
            process.silent_seconds += seconds
            most = WALL_SHARE * self._limits.frame_seconds if process.is_ready else STARTING_SECONDS
            if process.silent_seconds > most:
                self._has_ended(process, TIMED_OUT)

    def _has_ended(self, process: RenderProcess, how: str = "") -> None:
        """Forget a process and see to its jobs: the one that it worked on, and the next, which is not to blame."""
        self._processes.remove(process)
        ended_with = process.end(at_once=bool(how))
        how = how or ended_with
        self.ended[how] += 1
        tasks = list(process.tasks)
        if not process.is_ready:
            self._desk.put(*tasks, first=True)
            self._start_failed(how)
            return
        log.warning("a render process ended (%s) while it %s", how, _work_of(tasks))
        if tasks:
            tasks[0].deaths += 1
            if how in OUT_OF_TIME or tasks[0].deaths >= MAX_DEATHS:
                blamed = tasks.pop(0)
                blamed.future.set_exception(_reason(how, self._limits))
        self._desk.put(*tasks, first=True)


def _tell(task: Task, answer: Answer) -> None:
    if isinstance(answer, Failed):
        task.future.set_exception(InstanceError(answer.reason, answer.detail))
    else:
        task.future.set_result(answer)


def _reason(how: str, limits: RenderLimits) -> InstanceError:
    if how in OUT_OF_TIME:
        return InstanceError(Reason.DECODER_TIMEOUT, f"{limits.frame_seconds} s")
    return InstanceError(Reason.DECODER_CRASHED, how)


def _work_of(tasks: Sequence[Task]) -> str:
    if not tasks:
        return "waited"
    frame = tasks[0].job.frame
    if frame is None:
        return "compared files"
    return f"worked on frame {frame.key.frame} of {short_uid(frame.key.sop_instance_uid)}"
