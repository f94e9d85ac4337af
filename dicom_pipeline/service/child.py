"""A child process as the supervisor keeps it: started, watched, killed where it hangs, and started again."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from multiprocessing.context import SpawnContext
from multiprocessing.process import BaseProcess

from dicom_pipeline.backoff import backoff_seconds
from dicom_pipeline.config import Settings
from dicom_pipeline.intake.dicom_services import PARTS as LISTENER_PARTS
from dicom_pipeline.service.health import ChildState, State
from dicom_pipeline.service.heartbeat import Heartbeat, StallDetector
from dicom_pipeline.service.logs import log_crash
from dicom_pipeline.service.processes import (
    WORKER_INCIDENTS,
    Target,
    run_cleaner,
    run_forwarder,
    run_listener,
    run_poller,
    run_sender,
    run_web,
    run_worker,
)

log = logging.getLogger(__name__)

FIRST_RESTART_SECONDS, MAX_RESTART_SECONDS = 0.5, 60.0
HEALTHY_SECONDS = 300.0
"""A child that was ready for so long has recovered: its next restart comes as soon as the first did."""

SILENT_SHARE = 0.5
"""Share of the time that a child may be silent after which it is shown so."""

KILLED_SECONDS = 10.0
"""How long a killed process may need to end before that is told: it waits in the kernel, for a disk or a device."""


@dataclass(slots=True)
class Child:
    """A child process and when it may be started (again). parts, incidents: what of it is watched and told, see Heartbeat."""

    name: str
    target: Target
    parts: tuple[str, ...] = ()
    incidents: tuple[str, ...] = ()
    process: BaseProcess | None = None
    heartbeat: Heartbeat | None = None
    stalls: StallDetector = field(default_factory=StallDetector)
    limit: float = 0.0
    deaths: int = 0
    start_at: float = 0.0
    killed_at: float | None = None
    ready_at: float | None = None
    why_down: str = ""

    @property
    def state(self) -> ChildState:
        """Whether it is there, ready, and making progress."""
        process, heartbeat = self.process, self.heartbeat  # another thread may change them
        if process is None or heartbeat is None or not process.is_alive():
            return ChildState(State.DOWN, why=self.why_down)
        part, seconds = self.stalls.longest
        if self.limit and seconds > SILENT_SHARE * self.limit:
            return ChildState(State.SILENT, part, seconds, heartbeat.incidents)
        return ChildState(State.RUNNING if heartbeat.is_ready else State.STARTING, incidents=heartbeat.incidents)

    def keep(self, settings: Settings, owner: str, context: SpawnContext) -> None:
        """Start it where it is not there, at once at first and then later and later; kill it where it is silent."""
        now = time.monotonic()
        if self.process is not None and self.process.is_alive():
            self._look(settings, now)
            return
        if self.process is not None:
            if self.ready_at is not None and now - self.ready_at > HEALTHY_SECONDS:
                self.deaths = 0
            problem = self.heartbeat.problem if self.heartbeat is not None else ""
            self._start_later(now, f"ended with {self.process.exitcode}{f': {problem}' if problem else ''}")
            self.process = None
        if now >= self.start_at:
            self._start(settings, owner, context, now)

    def _start(self, settings: Settings, owner: str, context: SpawnContext, now: float) -> None:
        """Start it; without a file handle, memory or a process to be had that is tried again later."""
        try:
            heartbeat = Heartbeat(context, self.parts, self.incidents)
            target = log_crash(self.target, heartbeat.leave)
            process = context.Process(target=target, args=(settings, owner, heartbeat), name=self.name)
            process.start()
        except OSError as error:
            self._start_later(now, f"cannot be started: {error.strerror or type(error).__name__}")
            return
        self.process, self.heartbeat, self.stalls = process, heartbeat, StallDetector()
        self.killed_at, self.ready_at, self.why_down = None, None, ""

    def _start_later(self, now: float, why: str) -> None:
        wait = backoff_seconds(self.deaths, FIRST_RESTART_SECONDS, MAX_RESTART_SECONDS)
        log.error("%s %s; again in %.1f s", self.name, why, wait)
        self.deaths, self.start_at, self.why_down = self.deaths + 1, now + wait, why

    def end(self, deadline: float) -> None:
        """SIGTERM was sent: wait until `deadline` (monotonic), then kill it, which loses nothing."""
        if self.process is None:
            return
        self.process.join(max(0.1, deadline - time.monotonic()))
        if self.process.is_alive():
            log.error("%s does not end: killed", self.name)
            self.process.kill()
            self.process.join()

    def _look(self, settings: Settings, now: float) -> None:
        """Count its silence; kill it, which loses nothing, after the time that the settings give it."""
        assert self.process is not None
        assert self.heartbeat is not None
        if self.killed_at is not None:
            if now - self.killed_at > KILLED_SECONDS:
                log.error("%s was killed and does not end: it waits for a disk or a device", self.name)
                self.killed_at = float("inf")  # said once
            return
        is_ready = self.heartbeat.is_ready
        if is_ready and self.ready_at is None:
            self.ready_at = now
        name, limit = (
            ("silent_seconds", settings.service.silent_seconds)
            if is_ready
            else ("starting_seconds", settings.service.starting_seconds)
        )
        self.stalls.look(self.heartbeat.counts, now)
        self.limit = limit
        part, seconds = self.stalls.longest
        if limit and seconds > limit:
            what = self.name if part == self.name else f"{self.name} ({part})"
            log.error("%s made no progress for %.0f s (service.%s = %g): killing it", what, seconds, name, limit)
            self.process.kill()
            self.killed_at = now


def children_of(settings: Settings) -> list[Child]:
    """The children of a service. Which of them are watched, and why the others not: docs/decisions/8."""
    children = [
        Child("listener", run_listener, LISTENER_PARTS),
        Child("worker", run_worker, ("worker",), WORKER_INCIDENTS),
    ]
    if settings.service.web_port is not None:
        children.append(Child("web", run_web, ("web",)))
    if settings.delivering:
        children.append(Child("sender", run_sender, tuple(there.name for there in settings.delivering)))
    if settings.fetching:
        children.append(Child("poller", run_poller))
    if settings.spool.keep_days is not None or settings.spool.keep_bytes is not None:
        children.append(Child("cleaner", run_cleaner))
    if settings.audit.write and settings.audit.syslog != "none":
        children.append(Child("syslog", run_forwarder))
    return children
