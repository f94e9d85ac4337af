"""The service: starts listener, worker and sender, again when they die or hang, and says when studies are complete."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import threading
import time
import uuid
from collections.abc import Callable

from dicom_pipeline.assembly.ages import Ages
from dicom_pipeline.assembly.assembler import complete_studies, completion_rules
from dicom_pipeline.assembly.completion import rule_for
from dicom_pipeline.audit import Activity
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.config import Settings
from dicom_pipeline.disk import exclusive_lock
from dicom_pipeline.errors import CatalogError, ConfigError
from dicom_pipeline.intake.spool import Spool
from dicom_pipeline.service.auditing import forget_interrupted
from dicom_pipeline.service.child import Child, children_of
from dicom_pipeline.service.health import ChildState
from dicom_pipeline.service.starting.announcement import announce
from dicom_pipeline.service.starting.checks import check_settings
from dicom_pipeline.service.status_file import StatusFile
from dicom_pipeline.service.systemd import Systemd
from dicom_pipeline.service.wiring import record_of

log = logging.getLogger(__name__)

TICK_SECONDS = 0.25
STOP_SECONDS = 60.0


def serve(settings: Settings, stop: threading.Event | None = None) -> None:
    """Run until SIGTERM, SIGINT or `stop`. Raises ConfigError where the settings cannot work or a service runs already."""
    check_settings(settings)
    folder = settings.spool.folder
    stop = stop or _stop_on_signals()
    with exclusive_lock(folder, "serve.lock"):
        owner = uuid.uuid4().hex
        if not (folder / "catalog.sqlite").exists() and Spool(folder).has_instances:
            raise ConfigError(
                f"{folder} holds received instances and no catalog.sqlite, without which none of them would be processed: "
                "put the catalog back, or run `dicom-pipeline rebuild`"
            )
        catalog = Catalog(folder / "catalog.sqlite")
        record = record_of(settings, "service")
        record(Activity(time.time(), started=True))
        forget_interrupted(catalog, record, owner)
        Spool(folder).clear_incoming(ended=True)  # a backfill may be receiving at this moment
        announce(settings)
        children = children_of(settings)
        systemd, status_file = Systemd(), StatusFile(folder)
        systemd.ready()

        def after_a_round() -> None:
            status_file.write(_states(children), time.monotonic())
            systemd.alive(time.monotonic())

        try:
            _run(settings, catalog, owner, children, stop, after_a_round)
        finally:
            status_file.remove()
            record(Activity(time.time(), started=False))


def _states(children: list[Child]) -> dict[str, ChildState]:
    return {child.name: child.state for child in children}


def _run(
    settings: Settings,
    catalog: Catalog,
    owner: str,
    children: list[Child],
    stop: threading.Event,
    after_a_round: Callable[[], None],
) -> None:
    rules = completion_rules(settings.assembly)
    ages = Ages(lambda study: rule_for(study, rules))
    context = multiprocessing.get_context("spawn")
    try:
        while not stop.is_set():
            for child in children:
                child.keep(settings, owner, context)
            try:
                complete_studies(catalog, rules, time.time(), ages)
            except CatalogError as error:
                log.error("cannot complete studies: %s", error)
            after_a_round()
            stop.wait(TICK_SECONDS)
    finally:
        _end(children)


def _end(children: list[Child]) -> None:
    """SIGTERM to all, then wait; what does not end in time is killed, which loses nothing. Some may never have been started."""
    for child in children:
        if child.process is not None:
            child.process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for child in children:
        child.end(deadline)


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
