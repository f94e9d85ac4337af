"""Processes of the service that are made to die, started in some ten milliseconds from a server that has loaded all modules."""

import multiprocessing
import signal
import threading
import time
import uuid
from multiprocessing.process import BaseProcess
from pathlib import Path

from dicom_pipeline import faults
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.arrivals import close_other_owners
from dicom_pipeline.config import ListenerSection, load_settings
from dicom_pipeline.delivery.sender import Sender
from dicom_pipeline.intake.dicom_services import ListeningNode
from dicom_pipeline.intake.spool import Spool
from dicom_pipeline.service.wiring import destinations_of

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [__name__, "dicom_pipeline.encoders.siglip", "dicom_pipeline.reporting", "pandas"]
)  # seconds for each worker; nothing of it starts a thread by being imported


def start_listener(folder: Path, port: int, fault: str = "") -> BaseProcess:
    """A listener over a folder, as the service starts it after whatever happened there; returns once it listens."""
    return _start(_listen, folder, port, fault)


def start_sender(config: Path, fault: str = "") -> BaseProcess:
    """The sending process of a settings file."""
    return _start(_send, config, 0, fault)


def start_worker(config: Path, fault: str = "") -> BaseProcess:
    """A worker that ends when nothing is ready."""
    return _start(_work, config, 0, fault)


def _start(target, place: Path, port: int, fault: str) -> BaseProcess:
    ready, says = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=target, args=(place, port, fault, says), daemon=True)
    process.start()
    says.close()
    try:
        assert ready.poll(60)
        ready.recv()
    except EOFError:  # the point that kills it may come before its word that it is ready
        process.join(60)
        if not fault or process.exitcode != -signal.SIGKILL:
            raise AssertionError(f"the process ended with {process.exitcode} before it was ready") from None
    finally:
        ready.close()
    return process


def _listen(folder: Path, port: int, fault: str, says) -> None:
    faults.arm(fault)
    owner = uuid.uuid4().hex
    catalog = Catalog(folder / "catalog.sqlite")
    close_other_owners(catalog, owner)
    Spool(folder).clear_incoming()
    listener = ListeningNode(ListenerSection(port=port), catalog, Spool(folder), owner)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    listener.start()
    says.send(True)
    stop.wait()
    listener.stop()


def _send(config: Path, port: int, fault: str, says) -> None:
    del port
    faults.arm(fault)
    settings = load_settings(config)
    folder = settings.spool.folder
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    sender = Sender(Catalog(folder / "catalog.sqlite"), folder, destinations_of(settings))
    sender.start()
    says.send(True)
    stop.wait()
    sender.stop()


def _work(config: Path, port: int, fault: str, says) -> None:
    del port
    from dicom_pipeline.service.worker import Worker

    faults.arm(fault)
    settings = load_settings(config)
    stop = threading.Event()
    catalog = Catalog(settings.spool.folder / "catalog.sqlite")

    def stop_when_idle() -> None:
        while any(row["state"] in ("ready", "processing") for row in catalog.read("revisions", most=-1)):
            time.sleep(0.05)
        stop.set()

    threading.Thread(target=stop_when_idle, daemon=True).start()
    says.send(True)
    Worker(settings, uuid.uuid4().hex, stop).run()
