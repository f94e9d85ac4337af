"""The service: starts listener, worker and sender, starts them again when they die, and says when studies are complete."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import threading
import time
import uuid
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Semaphore

from dicom_pipeline.audit import Activity
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.config import Settings
from dicom_pipeline.errors import CatalogError
from dicom_pipeline.intake import Ages, Spool, rule_for
from dicom_pipeline.intake.admission import check_address
from dicom_pipeline.intake.tls import tls_context
from dicom_pipeline.service.auditing import forget_interrupted, forwarder_of, record_of
from dicom_pipeline.service.completing import complete_studies, completion_rules
from dicom_pipeline.service.destinations import check_rules, destinations_of
from dicom_pipeline.service.holding import hold
from dicom_pipeline.service.logs import told
from dicom_pipeline.service.poller import client_of
from dicom_pipeline.service.processes import (
    Child,
    listener_settings,
    run_cleaner,
    run_forwarder,
    run_listener,
    run_poller,
    run_sender,
    run_worker,
)
from dicom_pipeline.service.readiness import State
from dicom_pipeline.service.web import Pages

log = logging.getLogger(__name__)

TICK_SECONDS = 0.25
LONGEST_RESTART_SECONDS = 60.0
STOP_SECONDS = 60.0


@dataclass(slots=True)
class _Child:
    """A child process and when it may be started (again)."""

    name: str
    target: Child
    process: BaseProcess | None = None
    running: Semaphore | None = None
    deaths: int = 0
    start_at: float = 0.0

    @property
    def state(self) -> State:
        """Whether it is there, and does its work."""
        process, running = self.process, self.running  # another thread may change them
        if process is None or running is None or not process.is_alive():
            return State.DOWN
        return State.RUNNING if running.get_value() else State.STARTING


def serve(settings: Settings, stop: threading.Event | None = None) -> None:
    """Run until SIGTERM, SIGINT or `stop`. Raises ConfigError where the settings cannot work or a service runs already."""
    listening = listener_settings(settings)
    check_address(listening)
    if listening.tls_certificate is not None:
        tls_context(listening)  # here, where its words are told; a child's exception is told by type and place alone
    destinations_of(settings)
    check_rules(settings)
    for source in settings.sources:
        client_of(source)
    forwarder_of(settings)
    folder = settings.spool.folder
    stop = stop or _stop_on_signals()
    with hold(folder, "serve.lock"):
        owner = uuid.uuid4().hex
        catalog = Catalog(folder / "catalog.sqlite")
        record = record_of(settings, "service")
        record(Activity(time.time(), started=True))
        forget_interrupted(catalog, record, owner)
        Spool(folder).clear_incoming()
        children = _children(settings)
        pages = Pages(settings, catalog, owner, lambda: {child.name: child.state for child in children})
        pages.start()
        try:
            _run(settings, catalog, owner, children, stop)
        finally:
            pages.stop()
            record(Activity(time.time(), started=False))


def _children(settings: Settings) -> list[_Child]:
    children = [_Child("listener", run_listener), _Child("worker", run_worker)]
    if settings.destinations:
        children.append(_Child("sender", run_sender))
    if settings.sources:
        children.append(_Child("poller", run_poller))
    if settings.spool.keep_days is not None or settings.spool.keep_bytes is not None:
        children.append(_Child("cleaner", run_cleaner))
    if settings.audit.write and settings.audit.syslog != "none":
        children.append(_Child("syslog", run_forwarder))
    return children


def _run(settings: Settings, catalog: Catalog, owner: str, children: list[_Child], stop: threading.Event) -> None:
    rules = completion_rules(settings.assembly)
    ages = Ages(lambda study: rule_for(study, rules))
    context = multiprocessing.get_context("spawn")
    try:
        while not stop.is_set():
            for child in children:
                _keep_alive(child, settings, owner, context)
            try:
                complete_studies(catalog, rules, time.time(), ages)
            except CatalogError as error:
                log.error("cannot complete studies: %s", error)
            stop.wait(TICK_SECONDS)
    finally:
        _end(children)


def _keep_alive(child: _Child, settings: Settings, owner: str, context: multiprocessing.context.SpawnContext) -> None:
    if child.process is not None and child.process.is_alive():
        return
    now = time.monotonic()
    if child.process is not None:
        wait = min(LONGEST_RESTART_SECONDS, 0.5 * 2.0 ** min(child.deaths, 10))
        log.error("%s ended with %s; again in %.1f s", child.name, child.process.exitcode, wait)
        child.deaths, child.start_at, child.process = child.deaths + 1, now + wait, None
    if now >= child.start_at:
        child.running = context.Semaphore(0)
        child.process = context.Process(
            target=told(child.target), args=(settings, owner, child.running), name=child.name
        )
        child.process.start()


def _end(children: list[_Child]) -> None:
    """SIGTERM to all, then wait; what does not end in time is killed, which loses nothing."""
    alive = [child for child in children if child.process is not None]
    for child in alive:
        assert child.process is not None
        child.process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for child in alive:
        assert child.process is not None
        child.process.join(max(0.1, deadline - time.monotonic()))
        if child.process.is_alive():
            log.error("%s does not end: killed", child.name)
            child.process.kill()
            child.process.join()


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
