"""Sends what is due: one thread a destination, so that a slow or dead one never blocks another."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from dicom_pipeline import faults
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.commitment_requests import (
    MAX_FAILURES,
    CommitmentRequest,
    due_request,
    postpone_request,
    record_result,
)
from dicom_pipeline.catalog.outbox import (
    Commitment,
    DueDelivery,
    due_delivery,
    record_delivered,
    record_retry,
    record_set_aside,
)
from dicom_pipeline.delivery.retry import RetryRule, next_attempt
from dicom_pipeline.domain import short_uid
from dicom_pipeline.errors import CatalogError
from dicom_pipeline.peers.commitment import ANSWER_SECONDS, BRIEF_SECONDS
from dicom_pipeline.peers.peer import Attempt, Committing, DeliveryOutcome, Destination
from dicom_pipeline.peers.peer_messages import redact_patient

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
SENDS_BETWEEN_REQUESTS = 20
"""However many reports are due, neither they nor the questions about earlier ones wait for the end of the others."""

ASK_AGAIN_SECONDS = 3600.0
COMMITMENT_SECONDS = 24 * 3600.0
"""After so long without an answer a commitment is given up; the report stays delivered, unverified."""


class DeliveryAudit(Protocol):
    """Is told of what goes to destinations, for the audit trail."""

    def begins(self, destination: str, report: bytes) -> None:
        """A report is sent for the first time."""

    def ended(self, destination: str, report: bytes, outcome: DeliveryOutcome, status: str) -> None:
        """A report has arrived, or was set aside."""


class Sender:
    """Empties the outbox. folder: what the reports' paths are relative to. rules: by a destination's name, or the default.

    progress: called with a destination's name after each object or question, and while none is due.
    """

    def __init__(
        self,
        catalog: Catalog,
        folder: Path,
        destinations: Sequence[Destination],
        rules: Mapping[str, RetryRule] | None = None,
        audit: DeliveryAudit | None = None,
        progress: Callable[[str], object] = lambda _: None,
    ) -> None:
        self.catalog = catalog
        self.folder = folder
        self.destinations = destinations
        self.rules = rules or {}
        self._audit = audit
        self._progress = progress
        self._answering_elsewhere: set[str] = set()  # destinations whose last answer did not come where they were asked
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
        report: bytes | None = None
        try:
            report = (self.folder / due.path).read_bytes()
        except OSError as error:
            attempt = Attempt(DeliveryOutcome.SET_ASIDE, message=f"the report's file cannot be read: {error.strerror}")
        else:
            faults.passing("report-read")
            if due.not_committed >= MAX_FAILURES:  # sending it once more changes nothing
                attempt = Attempt(DeliveryOutcome.SET_ASIDE, due.status, due.message)
            else:
                attempt = self._send(destination, report, first=not due.attempts)
        faults.passing("report-sent")
        self._record(due, attempt, report)
        faults.passing("delivery-recorded")
        return True

    def ask_due(self, destination: Destination) -> bool:
        """Ask for the commitment that has been due longest; False where none is due."""
        wanted = due_request(self.catalog, destination.name, time.time())
        if wanted is None or not isinstance(destination, Committing):
            return False
        brief = destination.name in self._answering_elsewhere and not wanted.attempts
        reply = destination.ask_commitment(
            wanted.transaction_uid,
            wanted.sop_class_uid,
            wanted.sop_instance_uid,
            BRIEF_SECONDS if brief else ANSWER_SECONDS,
        )
        if reply.result is not None:
            self._answering_elsewhere.discard(destination.name)
            if record_result(self.catalog, wanted.transaction_uid, reply.result, time.time()):
                return True
        elif not reply.error:
            self._answering_elsewhere.add(destination.name)
        self._postpone(destination, wanted, reply.error)
        return True

    def _postpone(self, destination: Destination, wanted: CommitmentRequest, problem: str) -> None:
        """Plan the next question, which an answer in between makes needless. problem: "" where the peer took this one."""
        now = time.time()
        again: float | None = now + ASK_AGAIN_SECONDS
        if problem:
            log.warning("%s: commitment not asked for: %s", destination.name, problem)
            rule = self.rules.get(destination.name)
            again = next_attempt(wanted.attempts, wanted.requested_at, now, wanted.transaction_uid, rule)
        late = again is None or now - wanted.requested_at > COMMITMENT_SECONDS
        given_up = late and wanted.attempts > 0  # the service may have stood still before the first question
        message = problem or ("no answer came" if given_up else "asked")
        next_at = now + ASK_AGAIN_SECONDS if again is None else again
        postpone_request(self.catalog, wanted.transaction_uid, next_at=next_at, message=message, given_up=given_up)

    def _send(self, destination: Destination, report: bytes, *, first: bool) -> Attempt:
        if self._audit is not None and first:
            self._audit.begins(destination.name, report)
        attempt = destination.send(report)
        return replace(attempt, message=redact_patient(attempt.message, report))

    def _tell(self, due: DueDelivery, report: bytes | None, outcome: DeliveryOutcome, status: str) -> None:
        """For the audit trail, before the catalog knows: killed in between, it is sent and told of again."""
        if self._audit is not None and report is not None:
            self._audit.ended(due.destination, report, outcome, status)

    def _run(self, destination: Destination) -> None:
        while not self._stop.is_set():
            self._progress(destination.name)
            try:
                busy = self._next(destination)
            except CatalogError as error:
                log.error("%s: %s", destination.name, error)
                busy = False
            if not busy:
                self._stop.wait(POLL_SECONDS)

    def _next(self, destination: Destination) -> bool:
        """Send what is due, some at a time, then ask once; False where nothing is due. Raises CatalogError."""
        sent = False
        try:
            for _ in range(SENDS_BETWEEN_REQUESTS):
                if self._stop.is_set() or not self.send_due(destination):
                    break
                sent = True
                self._progress(destination.name)
        except CatalogError:
            raise
        except Exception as error:  # the edge of a thread: one report must not stop the others
            log.exception("%s: sending failed unexpectedly", destination.name)
            return self._set_aside_oldest(destination, error)
        try:
            return self.ask_due(destination) or sent
        except CatalogError:
            raise
        except Exception as error:  # the edge of a thread: one question must not stop the others
            log.exception("%s: asking failed unexpectedly", destination.name)
            wanted = due_request(self.catalog, destination.name, time.time())
            if wanted is not None:
                self._postpone(destination, wanted, f"unexpected {type(error).__name__}")
            return sent or wanted is not None

    def _set_aside_oldest(self, destination: Destination, error: Exception) -> bool:
        due = due_delivery(self.catalog, destination.name, time.time())
        if due is not None:
            self._record(due, Attempt(DeliveryOutcome.SET_ASIDE, message=f"unexpected {type(error).__name__}"))
        return due is not None

    def _record(self, due: DueDelivery, attempt: Attempt, report: bytes | None = None) -> None:
        now = time.time()
        what = f"report {short_uid(due.report_uid)} to {due.destination}"
        if attempt.outcome is DeliveryOutcome.DELIVERED:
            log.info("%s: delivered %s", what, attempt.status)  # a peer's words may name a patient: `status` shows them
            # random, so that nobody but the peer that is asked can answer
            commitment = Commitment(f"2.25.{uuid.uuid4().int}", *attempt.to_commit) if attempt.to_commit else None
            self._tell(due, report, attempt.outcome, attempt.status)
            record_delivered(
                self.catalog,
                due,
                status=attempt.status,
                message=attempt.message,
                verified=attempt.verified,
                at=now,
                commitment=commitment,
            )
            return
        rule = self.rules.get(due.destination)
        again = next_attempt(due.attempts, due.created_at, now, due.report_uid + due.destination, rule)
        if attempt.outcome is DeliveryOutcome.SET_ASIDE or again is None:
            log.error("%s: set aside, %s; `dicom-pipeline status` says why", what, attempt.status or "not answered")
            self._tell(due, report, DeliveryOutcome.SET_ASIDE, attempt.status)
            record_set_aside(self.catalog, due, status=attempt.status, message=attempt.message, at=now)
        else:
            log.warning("%s: again in %.0f s, %s", what, again - now, attempt.status or "not answered")
            record_retry(self.catalog, due, status=attempt.status, message=attempt.message, next_at=again)
