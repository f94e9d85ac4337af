"""Storage Commitment Push Model as SCP (PS3.4 annex J): N-ACTION in, N-EVENT-REPORT out.

An instance is committed when the catalog has it and its file still has the sha256 it came with; from then on it is never
cleaned from the spool. The question and its answer are in the catalog before the N-ACTION is answered, so a restart loses
neither. The result goes to the sender's own node, where [[peers]] names it, on a new association; else on the association
that asked.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from io import BytesIO

from pydicom import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pynetdicom import dsutils

from dicom_pipeline.acceptor import dimse as messages
from dicom_pipeline.acceptor.dimse import Command, Element, Field
from dicom_pipeline.acceptor.operations import SUCCESS, Context, Operation, Sender
from dicom_pipeline.backoff import backoff_seconds
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.commitments import (
    CommitmentQuery,
    Pending,
    commitment_items,
    due_commitments,
    enter_commitment,
    finish_commitment,
    postpone_commitment,
    stored_for_commitment,
)
from dicom_pipeline.config import DicomPeer
from dicom_pipeline.dicom.uids import is_valid_uid
from dicom_pipeline.domain import short_uid
from dicom_pipeline.domain.life import AnswerState
from dicom_pipeline.errors import CatalogError
from dicom_pipeline.intake.event_reports import send_event_report
from dicom_pipeline.intake.group_commit import Committer
from dicom_pipeline.intake.spool import Spool, Stored

log = logging.getLogger(__name__)

WELL_KNOWN_INSTANCE = "1.2.840.10008.1.20.1.1"
PUSH_MODEL = "1.2.840.10008.1.20.1"
MAX_REQUEST_BYTES = 16 * 1024**2
NO_SUCH_INSTANCE, CLASS_CONFLICT, PROCESSING_FAILURE = 0x0112, 0x0119, 0x0110
"""Failure Reason (0008,1197), PS3.3 C.14.1.1."""

NO_SUCH_ACTION, INVALID_ARGUMENT, RESOURCE_LIMITATION = 0x0123, 0x0115, 0x0213
"""Statuses of N-ACTION beside 0x0112 (PS3.7 10.1.4.1.10)."""

POLL_SECONDS = 1.0
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS, GIVE_UP_SECONDS = 5.0, 3600.0, 7 * 86400.0


class Commitments:
    """Questions for commitment and the thread that answers them."""

    def __init__(
        self, ae_title: str, peers: Sequence[DicomPeer], catalog: Catalog, spool: Spool, committer: Committer
    ) -> None:
        self._ae_title = ae_title
        self._peers = {peer.ae_title: peer for peer in peers}
        self._catalog = catalog
        self._spool = spool
        self._committer = committer
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="commitment", daemon=True)
        self._here: dict[str, int] = {}
        """Token of an association -> the commitment whose result was sent on it and is not confirmed yet."""

    def start(self) -> None:
        """Answer in a thread what is due."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread after what it is sending."""
        self._stop.set()
        self._thread.join()

    def ask(self, sender: Sender, asked: CommitmentQuery) -> int:
        """Enter a question with the answer to each of its instances; returns its id. Raises CatalogError."""
        answers = {uid: self._failure(sop_class, uid) for uid, sop_class in asked.items.items()}
        at = time.time()
        next_at = at if self.knows(sender.calling_ae) else at + GIVE_UP_SECONDS
        work = enter_commitment(asked, answers, sender.calling_ae, sender.address, at, next_at)
        identifier: int = self._committer.submit(work).result()
        failed = sum(1 for failure in answers.values() if failure is not None)
        log.info("commitment %s: %d asked, %d not held", short_uid(asked.transaction_uid), len(answers), failed)
        return identifier

    def knows(self, ae_title: str) -> bool:
        """Whether a node is sent its results on an association of our own."""
        return ae_title in self._peers

    def report_on(self, token: str, identifier: int, asked: CommitmentQuery, *, implicit: bool) -> tuple[bytes, bytes]:
        """Command and data set (Little Endian) of the N-EVENT-REPORT for a question that came on the association `token`."""
        self._here[token] = identifier
        event, dataset = event_report(asked.transaction_uid, commitment_items(self._catalog, identifier))
        self._catalog.close()
        command = messages.encode(
            {
                Element.AFFECTED_CLASS: PUSH_MODEL,
                Element.COMMAND_FIELD: Field.N_EVENT_REPORT_RQ,
                Element.MESSAGE_ID: identifier % 65536,
                Element.COMMAND_DATA_SET_TYPE: 1,
                Element.AFFECTED_INSTANCE: WELL_KNOWN_INSTANCE,
                Element.EVENT_TYPE: event,
            }
        )
        return command, dsutils.encode(dataset, implicit, True) or b""

    def handle_response(self, token: str, command: Command) -> None:
        """A response on an association: the sender has, or has not, taken the result."""
        identifier = self._here.pop(token, None)
        if identifier is None or command.field != Field.N_EVENT_REPORT_RSP:
            return
        status = command.number(Element.STATUS, 0xC000)
        state = AnswerState.ANSWERED if status == SUCCESS else AnswerState.SET_ASIDE
        self._committer.submit(lambda run: finish_commitment(run, identifier, state, f"0x{status:04X}"))

    def forget(self, token: str) -> None:
        """An association has ended; a result that it did not confirm waits for a person, or for the sender to ask again."""
        identifier = self._here.pop(token, None)
        if identifier is not None:
            message = "the sender ended the association; name its node in [[peers]]"
            self._committer.submit(lambda run: finish_commitment(run, identifier, AnswerState.SET_ASIDE, message))

    def _failure(self, sop_class: str, uid: str) -> int | None:
        """Why an instance is not committed; None where it is."""
        try:
            held = stored_for_commitment(self._catalog, uid)
        finally:
            self._catalog.close()
        if held is None:
            return NO_SUCH_INSTANCE
        if held.sop_class_uid != sop_class:
            return CLASS_CONFLICT
        return None if self._spool.is_whole(Stored(held.path, 0, held.sha256)) else PROCESSING_FAILURE

    def _run(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            try:
                for pending in due_commitments(self._catalog, time.time()):
                    # a node that is not known is answered on the association that asks, not from here
                    if self.knows(pending.calling_ae) or time.time() - pending.asked_at >= GIVE_UP_SECONDS:
                        self._send(pending)
            except CatalogError as error:
                log.error("cannot answer commitments: %s", error)
        self._catalog.close()

    def _send(self, pending: Pending) -> None:
        peer = self._peers.get(pending.calling_ae)
        if peer is None:
            problem = "no entry of [[peers]] with the role commit has its AE title"
        else:
            event, dataset = event_report(pending.transaction_uid, commitment_items(self._catalog, pending.id))
            problem = send_event_report(peer, self._ae_title, event, dataset)
        now = time.time()
        if not problem:
            self._committer.submit(lambda run: finish_commitment(run, pending.id, AnswerState.ANSWERED, "")).result()
            return
        log.warning("commitment %s: not answered: %s", short_uid(pending.transaction_uid), problem)
        if peer is None or now - pending.asked_at > GIVE_UP_SECONDS:
            self._committer.submit(
                lambda run: finish_commitment(run, pending.id, AnswerState.SET_ASIDE, problem)
            ).result()
            return
        wait = backoff_seconds(pending.attempts, FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS)
        self._committer.submit(lambda run: postpone_commitment(run, pending.id, now + wait, problem)).result()


class ActionRequest(Operation):
    """One N-ACTION request: `write` for its data set, `finish` for the status, `follow_up` for the result."""

    def __init__(self, commitments: Commitments, sender: Sender, context: Context, command: Command) -> None:
        self._commitments = commitments
        self._sender = sender
        self._implicit = context.transfer_syntax == "1.2.840.10008.1.2"
        self._action = command.number(Element.ACTION_TYPE)
        self._instance = command.uid(Element.REQUESTED_INSTANCE)
        self._content = bytearray()
        self._asked: CommitmentQuery | None = None
        self._id = 0

    def write(self, part: memoryview) -> None:
        """Take a piece; what is over the limit is refused at the end."""
        if len(self._content) <= MAX_REQUEST_BYTES:
            self._content += part

    def finish(self) -> tuple[int, str]:
        """Status of the N-ACTION (PS3.4 J.3.2.4, PS3.7 annex C)."""
        if self._instance != WELL_KNOWN_INSTANCE:
            return NO_SUCH_INSTANCE, "only the well-known instance"
        if self._action != 1:
            return NO_SUCH_ACTION, "only action 1"
        if len(self._content) > MAX_REQUEST_BYTES:
            return RESOURCE_LIMITATION, "too-large"
        try:
            self._asked = read_request(bytes(self._content), implicit=self._implicit)
            self._id = self._commitments.ask(self._sender, self._asked)
        except CatalogError:
            return RESOURCE_LIMITATION, "catalog-error"
        except Exception as error:  # noqa: BLE001 - the edge of an association: hostile input must not end it unanswered
            log.error("cannot understand a commitment request: %s", type(error).__name__)
            return INVALID_ARGUMENT, "unreadable"
        return SUCCESS, ""

    def drop(self) -> None:
        """Nothing to forget."""

    def follow_up(self) -> tuple[bytes, bytes] | None:
        """Command and data set of the result, where it was asked for and no other way to the sender is known."""
        if self._asked is None or not self._id or self._commitments.knows(self._sender.calling_ae):
            return None
        return self._commitments.report_on(self._sender.token, self._id, self._asked, implicit=self._implicit)


def read_request(content: bytes, *, implicit: bool) -> CommitmentQuery:
    """Transaction UID and referenced instances of an N-ACTION data set (PS3.4 table J.3-1). Raises ValueError and others."""
    dataset = dsutils.decode(BytesIO(content), implicit, True)
    transaction = str(dataset.TransactionUID)
    items = {str(i.ReferencedSOPInstanceUID): str(i.ReferencedSOPClassUID) for i in dataset.ReferencedSOPSequence}
    if not is_valid_uid(transaction) or not items or not all(map(is_valid_uid, (*items, *items.values()))):
        raise ValueError("a UID is wrong")
    return CommitmentQuery(transaction, items)


def event_report(transaction_uid: str, items: dict[str, tuple[str, int | None]]) -> tuple[int, Dataset]:
    """Event type and data set of an N-EVENT-REPORT (PS3.4 table J.3-2): 1 where all are committed, else 2."""
    dataset = Dataset()
    dataset.TransactionUID = transaction_uid
    good: list[Dataset] = []
    bad: list[Dataset] = []
    for uid, (sop_class, failure) in items.items():
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
        if failure is not None:
            item.FailureReason = failure
        (good if failure is None else bad).append(item)
    if good:
        dataset.ReferencedSOPSequence = DicomSequence(good)
    if bad:
        dataset.FailedSOPSequence = DicomSequence(bad)
    return (2 if bad else 1), dataset
