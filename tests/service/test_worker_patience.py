"""A worker whose disk is full or whose catalog is locked waits, and loses no result."""

import errno
import sqlite3
import threading
import time
import uuid

import pytest
from pydicom import dcmread

from dicom_pipeline.catalog import database as database_module
from dicom_pipeline.results import folder as results_folder
from dicom_pipeline.service import worker as worker_module
from tests.peers.place import INSTANCES, Place
from tests.peers.programs import wait_until

SIGNS: list[float] = []
"""When the worker of a test said that it gets on."""


@pytest.fixture
def place(tmp_path, sample_data, monkeypatch):
    monkeypatch.setattr(worker_module, "PATIENCE_SECONDS", 0.05)
    return Place(tmp_path, sample_data)


def work(place: Place, meanwhile) -> None:
    """Run a worker until the revision is finished; `meanwhile` runs beside it."""
    stop = threading.Event()
    worker = worker_module.Worker(
        place.settings, uuid.uuid4().hex, stop, progress=lambda: SIGNS.append(time.monotonic())
    )
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        meanwhile()
        wait_until(
            lambda: place.query("SELECT state FROM revision") == [("done",)], 120, "the revision is not finished"
        )
    finally:
        stop.set()
        thread.join(60)
    assert place.query("SELECT number, state, attempts FROM revision") == [(1, "done", 1)]
    assert place.query("SELECT outcome, count(*) FROM revision_instance") == [("used", INSTANCES)]
    assert place.query("SELECT count(*) FROM report") == [(1,)]
    (path,) = place.query("SELECT path FROM instance LIMIT 1")[0]
    assert place.query("SELECT accession_number FROM study") == [(dcmread(place.folder / path).AccessionNumber,)]


def test_a_full_disk_is_waited_out(place, monkeypatch):
    tries = []
    write = results_folder.write_durably

    def full_at_first(path, content):
        tries.append(path)
        if len(tries) < 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, content)

    monkeypatch.setattr(results_folder, "write_durably", full_at_first)
    work(place, lambda: None)
    assert len(tries) > 3


def test_a_locked_catalog_is_waited_out(place, monkeypatch, caplog):
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.2)

    def lock() -> None:
        wait_until(lambda: place.query("SELECT state FROM revision") == [("processing",)], 120, "nothing is claimed")
        other = sqlite3.connect(place.folder / "catalog.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        wait_until(lambda: "results wait" in caplog.text, 120, "the worker did not meet the lock")
        before = len(SIGNS)  # to wait is not to hang
        wait_until(lambda: len(SIGNS) > before + 2, 60, "a worker that waits says nothing")
        other.execute("ROLLBACK")
        other.close()

    work(place, lock)
