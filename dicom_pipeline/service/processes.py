"""The child processes of the service: each ends on SIGTERM, and with its parent whatever killed that."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial

from dicom_pipeline.assembly.cleaner import clean_spool
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.config import Settings
from dicom_pipeline.delivery.sender import Sender
from dicom_pipeline.errors import CatalogError, ConfigError
from dicom_pipeline.intake.dicom_services import ListeningNode
from dicom_pipeline.intake.group_commit import Committer
from dicom_pipeline.intake.spool import Spool
from dicom_pipeline.service.auditing import Deliveries, forget_interrupted
from dicom_pipeline.service.health import readiness
from dicom_pipeline.service.heartbeat import Heartbeat
from dicom_pipeline.service.logs import end_process, set_up_logs
from dicom_pipeline.service.status_file import service_status, states_of
from dicom_pipeline.service.wiring import (
    destinations_of,
    forwarder_of,
    pollers_of,
    receiver_of,
    record_of,
    retry_rules_of,
)
from dicom_pipeline.service.worker_rpc import ask

log = logging.getLogger(__name__)

CLEAN_SECONDS = 10.0
"""Between two looks at what may be cleaned from the spool, at least."""

REST = 20
"""Times the length of a look until the next: one at a million instances takes seconds."""

WORKER_INCIDENTS = ("render-processes-crashed", "render-processes-out-of-time")
"""What the worker counts: decoders that ended their process, and frames that took too long."""

Target = Callable[[Settings, str, Heartbeat], None]
"""What a child process runs: settings, the run of the service, and what it lets the supervisor see."""


def run_listener(settings: Settings, owner: str, heartbeat: Heartbeat) -> None:
    """Listen until told to stop."""
    stop = _begin(settings)
    spool = Spool(settings.spool.folder)
    spool.clear_incoming(ended=True)  # a listener that was killed left it
    catalog = Catalog(settings.spool.folder / "catalog.sqlite", create=False)
    record = record_of(settings, "listener")
    forget_interrupted(catalog, record, "")  # no study may wait for an association of a listener that was killed
    watermark = settings.spool.min_free_bytes
    node = ListeningNode(
        settings.listener,
        catalog,
        spool,
        owner,
        record,
        heartbeat.beat,
        commit_peers=settings.committing,
        min_free_bytes=watermark,
    )
    node.start()
    heartbeat.ready()
    stop.wait()
    node.stop()


def run_worker(settings: Settings, owner: str, heartbeat: Heartbeat) -> None:
    """Process revisions until told to stop."""
    from dicom_pipeline.service.worker import Worker

    stop = _begin(settings)
    if settings.encoder.threads:
        os.environ["OMP_NUM_THREADS"] = str(settings.encoder.threads)
    worker = Worker(
        settings,
        f"{owner}/{os.getpid()}",
        stop,
        questions=owner,
        running=heartbeat.ready,
        progress=partial(heartbeat.beat, "worker"),
        lost_renderers=lambda *counts: heartbeat.record(dict(zip(WORKER_INCIDENTS, counts, strict=True))),
    )
    worker.run()
    end_process(0)


def run_sender(settings: Settings, owner: str, heartbeat: Heartbeat) -> None:
    """Deliver until told to stop."""
    del owner
    stop = _begin(settings)
    folder = settings.spool.folder
    catalog = Catalog(folder / "catalog.sqlite", create=False)
    audit = Deliveries(record_of(settings, "sender"), settings.delivering)
    sender = Sender(catalog, folder, destinations_of(settings), retry_rules_of(settings), audit, heartbeat.beat)
    sender.start()
    heartbeat.ready()
    stop.wait()
    sender.stop()


def run_poller(settings: Settings, owner: str, heartbeat: Heartbeat) -> None:
    """Fetch from the sources until told to stop, a thread each."""
    del owner
    stop = _begin(settings)
    folder = settings.spool.folder
    catalog = Catalog(folder / "catalog.sqlite", create=False)
    receiver = receiver_of(settings, catalog, record_of(settings, "poller"))
    pollers = pollers_of(settings, catalog, receiver)
    threads = [threading.Thread(target=poller.run, args=(stop,), name=poller.name) for poller in pollers]
    for thread in threads:
        thread.start()
    heartbeat.ready()
    for thread in threads:
        thread.join()


def run_web(settings: Settings, owner: str, heartbeat: Heartbeat) -> None:
    """Answer over HTTP until told to stop."""
    from dicom_pipeline.web.app import WebContext, application
    from dicom_pipeline.web.server import listening_socket, serve_http

    stop = _begin(settings)
    section, folder = settings.service, settings.spool.folder
    catalog, record = Catalog(folder / "catalog.sqlite", create=False), record_of(settings, "web")
    committer = Committer(catalog)
    committer.start()
    context = WebContext(
        settings=settings,
        catalog=catalog,
        receiver=receiver_of(settings, catalog, record, committer),
        ready=lambda: readiness(settings, catalog, states_of(folder)),
        service=lambda: service_status(folder),
        ask=partial(ask, owner),
        record=record,
        stop=stop,
    )
    app = application(context)
    assert section.web_port is not None
    with listening_socket(section.web_host, section.web_port) as listening:
        heartbeat.ready()
        serve_http(app, listening, stop, partial(heartbeat.beat, "web"))
    committer.stop()


def run_cleaner(settings: Settings, owner: str, heartbeat: Heartbeat) -> None:
    """Clean what may go from the spool until told to stop."""
    del owner
    stop = _begin(settings)
    catalog, record = Catalog(settings.spool.folder / "catalog.sqlite", create=False), record_of(settings, "cleaner")
    heartbeat.ready()
    while not stop.is_set():
        began = time.monotonic()
        try:
            clean_spool(settings, catalog, record)
        except (CatalogError, ConfigError) as error:
            log.error("cannot clean the spool: %s", error)
        stop.wait(max(CLEAN_SECONDS, REST * (time.monotonic() - began)))


def run_forwarder(settings: Settings, owner: str, heartbeat: Heartbeat) -> None:
    """Send the audit trail to the syslog server until told to stop."""
    del owner
    stop = _begin(settings)
    forwarder = forwarder_of(settings)
    heartbeat.ready()
    if forwarder is not None:
        forwarder.run(stop)


def _begin(settings: Settings) -> threading.Event:
    """Logs, signals, and a watch on the parent: a child whose parent was killed must not go on alone."""
    set_up_logs(settings.service.log_format, settings.service.log_level)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent says when to stop
    threading.Thread(target=_end_with_parent, daemon=True).start()
    return stop


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(70)
