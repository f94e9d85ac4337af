"""Sends what is due: one thread a destination, so that a slow or dead one holds up no other."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.outbox import DueDelivery, due_delivery, record_delivered, record_retry, record_set_aside
from dicom_pipeline.delivery.destination import Attempt, Destination, Ending
from dicom_pipeline.delivery.retry import RetryRule, next_attempt
from dicom_pipeline.domain import short_uid
from dicom_pipeline.errors import CatalogError

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5


class Sender:
    """Empties the outbox. folder: what the reports' paths are relative to."""

    def __init__(
        self, catalog: Catalog, folder: Path, destinations: Sequence[Destination], rule: RetryRule | None = None
    ) -> None:
        self.catalog = catalog
        self.folder = folder
        self.destinations = destinations
        self.rule = rule or RetryRule()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start a thread for each destination."""
        for destination in self.destinations:
            thread = threading.Thread(
                target=self._run, args=(destination,), name=f"send-{destination.name}", daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def stop(self, timeout_seconds: float = 30.0) -> None:
        """Finish what is being sent, then end."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout_seconds)

    def send_due(self, destination: Destination) -> bool:
        """Send the delivery that has been due longest; False where none is due."""
        due = due_delivery(self.catalog, destination.name, time.time())
        if due is None:
            return False
        try:
            report = (self.folder / due.path).read_bytes()
        except OSError as error:
            attempt = Attempt(Ending.SET_ASIDE, message=f"the report's file cannot be read: {error.strerror}")
        else:
            attempt = destination.send(report)
        self._record(due, attempt)
        return True

    def _run(self, destination: Destination) -> None:
        while not self._stop.is_set():
            try:
                sent = self.send_due(destination)
            except CatalogError as error:
                log.error("%s: %s", destination.name, error)
                sent = False
            except Exception as error:  # the edge of a thread: one report must not stop the others
                log.exception("%s: sending failed unexpectedly", destination.name)
                sent = self._set_aside_oldest(destination, error)
            if not sent:
                self._stop.wait(POLL_SECONDS)

    def _set_aside_oldest(self, destination: Destination, error: Exception) -> bool:
        due = due_delivery(self.catalog, destination.name, time.time())
        if due is not None:
            self._record(due, Attempt(Ending.SET_ASIDE, message=f"unexpected {type(error).__name__}"))
        return due is not None

    def _record(self, due: DueDelivery, attempt: Attempt) -> None:
        now = time.time()
        what = f"report {short_uid(due.report_uid)} to {due.destination}"
        if attempt.ending is Ending.DELIVERED:
            log.info("%s: delivered %s %s", what, attempt.status, attempt.message)
            record_delivered(
                self.catalog, due, status=attempt.status, message=attempt.message, verified=attempt.verified, at=now
            )
            return
        again = next_attempt(due.attempts, due.created_at, now, due.report_uid + due.destination, self.rule)
        if attempt.ending is Ending.SET_ASIDE or again is None:
            log.error("%s: set aside, %s %s", what, attempt.status, attempt.message)
            record_set_aside(self.catalog, due, status=attempt.status, message=attempt.message, at=now)
        else:
            log.warning("%s: again in %.0f s, %s %s", what, again - now, attempt.status, attempt.message)
            record_retry(self.catalog, due, status=attempt.status, message=attempt.message, next_at=again)
