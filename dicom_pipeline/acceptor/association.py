"""One association as acceptor, from the first byte to the last, in a thread of its own.

A receive loop of our own under pynetdicom's negotiation; docs/decisions/4-a-receive-loop-of-our-own.md says why. The states of
PS3.8 section 9.2 that an acceptor without asynchronous operations can be in are: waiting for the request, established
(between messages, in a command, in a data set), closing.
"""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

from pynetdicom.presentation import PresentationContext

from dicom_pipeline import faults
from dicom_pipeline.acceptor import dimse as messages
from dicom_pipeline.acceptor.acse import MOST_REQUEST_BYTES, Agreement, Context, calling_title, negotiate
from dicom_pipeline.acceptor.admission import (
    DISK_ERROR,
    DISK_FULL,
    ListenerSettings,
    Rejection,
    storage_classes,
)
from dicom_pipeline.acceptor.dimse import Command, CommandError, Field
from dicom_pipeline.acceptor.pdu import (
    RELEASE_RP,
    Pdu,
    Wire,
    WireError,
    abort_pdu,
    data_pdus,
    fragments,
    reject_pdu,
)
from dicom_pipeline.audit import AlertKind, Node, Record
from dicom_pipeline.audit.alerts import Alerts
from dicom_pipeline.audit.transfers import Transfers
from dicom_pipeline.catalog.arrivals import end_association, enter_association
from dicom_pipeline.intake.commitment import ActionRequest, Commitments
from dicom_pipeline.intake.commitment_results import CommitmentResult
from dicom_pipeline.intake.store_operation import SUCCESS, Sender, Storage, Store

log = logging.getLogger(__name__)

ARTIM_SECONDS = 2.0
"""How long a closed association waits for the peer to close its side (ARTIM timer, PS3.8 9.1.5)."""

RATE_GRACE_SECONDS = 10.0
BYTES_OVER = 64 * 1024**2
"""How much more than the largest object is let pass unread, so that its sender can be answered 0xA700."""

HOSTILE_REASONS = frozenset({"endless-object", "slow-sender"})
"""Ends that are told as alerts beside those for a broken protocol; silence and lost connections are every day's."""

OUT_OF_DATE = {9: "certificate-is-not-yet-valid", 10: "certificate-has-expired"}
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL, which has one reason for all that is wrong."""

SOP_CLASS_NOT_SUPPORTED = 0x0122
UNRECOGNIZED_OPERATION = 0x0211


class Operation(Protocol):
    """A request whose data set is arriving."""

    def write(self, part: memoryview) -> None:
        """Take a piece of the data set."""

    def finish(self) -> tuple[int, str]:
        """Status and, for a failure, a word of why, once the data set is whole."""

    def drop(self) -> None:
        """The association ended before that."""


class Fixed:
    """A request whose answer does not depend on its data set, which passes unread."""

    def __init__(self, status: int, reason: str) -> None:
        self._answer = status, reason

    def write(self, part: memoryview) -> None:
        """Let it pass."""

    def finish(self) -> tuple[int, str]:
        """The answer."""
        return self._answer

    def drop(self) -> None:
        """Nothing to forget."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What all associations of a listener use."""

    settings: ListenerSettings
    storage: Storage
    commitments: Commitments
    supported: Sequence[PresentationContext]
    owner: str
    record: Record
    alerts: Alerts


@dataclass(slots=True)
class _Message:
    """The message that is arriving on a context."""

    context_id: int
    command_bytes: bytearray = field(default_factory=bytearray)
    command: Command | None = None
    operation: Operation | None = None
    data_bytes: int = 0
    began: float = field(default_factory=time.monotonic)


class Association:
    """Serves one connection. rejection: an answer that was decided before anything was read."""

    def __init__(
        self, shared: Shared, connection: socket.socket, address: str, rejection: Rejection | None = None
    ) -> None:
        self._shared = shared
        self._connection = connection
        self._rejection = rejection
        self._agreement: Agreement | None = None
        self._wire: Wire | None = None
        self._message: _Message | None = None
        self._stopping = threading.Event()
        self.sender = Sender("", address, uuid.uuid4().hex)
        self.stored: Counter[int] = Counter()
        self._transfers = Transfers(shared.record)

    def serve(self, tls: ssl.SSLContext | None) -> None:
        """Everything from the TLS handshake to the closed connection. Raises nothing; every early end leaves a reason."""
        settings = self._shared.settings
        try:
            self._connection.settimeout(settings.association_timeout_seconds)
            if tls is not None and not self._shake_hands(tls):
                return
            self._wire = Wire(self._connection, settings.max_pdu_bytes, settings.network_timeout_seconds)
            if self._negotiate(self._wire):
                self._serve_messages(self._wire)
        except WireError as error:
            self._end_early(error)
        except Exception as error:  # noqa: BLE001 - the edge of an association: the others must go on
            log.error("association ended by %s", type(error).__name__)
            self._end_early(WireError("internal-error", abort=0))
        finally:
            self._close()

    def stop(self) -> None:
        """End between two messages; an association that waits for its peer ends at once."""
        self._stopping.set()
        if self._message is None:
            self.cut()

    def cut(self) -> None:
        """End at once."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RD)

    def _shake_hands(self, tls: ssl.SSLContext) -> bool:
        """Go on in TLS; False where that failed, with its reason told."""
        try:
            self._connection = tls.wrap_socket(self._connection, server_side=True)
        except OSError as error:  # ssl.SSLError is one
            reason = handshake_reason(error)
            self._shared.storage.refuse(self.sender, "", 0, reason)
            self._alert(AlertKind.NODE_AUTHENTICATION, reason)
            return False
        return True

    def _negotiate(self, wire: Wire) -> bool:
        settings, storage = self._shared.settings, self._shared.storage
        kind, body = wire.read(settings.association_timeout_seconds, MOST_REQUEST_BYTES)
        if kind != Pdu.ASSOCIATE_RQ:
            raise WireError("no-association-request", abort=2)
        self.sender = replace(self.sender, calling_ae=calling_title(body))  # who is turned away is told too
        answer = self._rejection or negotiate(body, settings, self._shared.supported)
        if isinstance(answer, Agreement):
            self._agreement = answer
            answer = self._without_room(answer) or answer
        if isinstance(answer, Rejection):
            storage.refuse(self.sender, "", 0, f"rejected: {answer.reason}")
            self._alert(answer.kind, f"rejected: {answer.reason}")
            wire.send(reject_pdu(answer.result, answer.source, answer.diagnostic))
            return False
        token, owner, now = self.sender.token, self._shared.owner, time.time()
        storage.committer.submit(lambda run: enter_association(run, token, owner, now))
        wire.send(answer.answer)
        return True

    def _without_room(self, agreement: Agreement) -> Rejection | None:
        """The answer to who wants to store while nothing can be stored."""
        if not any(context.abstract_syntax in storage_classes() for context in agreement.contexts.values()):
            return None
        try:
            return DISK_FULL if self._shared.storage.disk_is_full() else None
        except OSError as error:  # the folder is gone, as when its disk is not mounted
            log.error("cannot look at the spool: %s", error.strerror)
            return DISK_ERROR

    def _serve_messages(self, wire: Wire) -> None:
        settings = self._shared.settings
        while not (self._stopping.is_set() and self._message is None):
            idle = settings.idle_timeout_seconds if self._message is None else settings.network_timeout_seconds
            kind, body = wire.read(idle)
            if kind == Pdu.P_DATA:
                for context_id, is_command, is_last, part in fragments(body):
                    self._take(context_id, is_command, is_last, part)
            elif kind == Pdu.RELEASE_RQ:
                if self._message is not None:
                    raise WireError("released-in-a-message", abort=2)
                wire.send(RELEASE_RP)
                return
            elif kind == Pdu.ABORT:
                raise WireError("aborted-by-peer")
            else:
                raise WireError("unexpected-pdu", abort=2)
        raise WireError("service-stops", abort=0)

    def _take(self, context_id: int, is_command: bool, is_last: bool, part: memoryview) -> None:
        """One PDV: the command of a message in full, then its data set, both on one context (PS3.8 annex E)."""
        assert self._agreement is not None
        if context_id not in self._agreement.contexts:
            raise WireError("unknown-context", abort=6)
        if self._message is None:
            self._message = _Message(context_id)
        message = self._message
        if message.context_id != context_id or is_command == (message.command is not None):
            raise WireError("fragments-out-of-order", abort=6)
        if is_command:
            message.command_bytes += part
            if len(message.command_bytes) > messages.MOST_COMMAND_BYTES:
                raise WireError("command-too-long", abort=6)
            if is_last:
                self._begin(message, self._agreement.contexts[context_id])
            return
        assert message.operation is not None
        message.data_bytes += len(part)
        self._check_flow(message)
        message.operation.write(part)
        if is_last:
            self._answer(message)

    def _check_flow(self, message: _Message) -> None:
        """End what never ends, and what comes so slowly that it only holds a place."""
        settings = self._shared.settings
        if message.data_bytes > settings.max_object_bytes + BYTES_OVER:
            raise WireError("endless-object", abort=0)
        seconds = time.monotonic() - message.began
        if seconds > RATE_GRACE_SECONDS and message.data_bytes < settings.min_bytes_per_second * seconds:
            raise WireError("slow-sender", abort=0)

    def _begin(self, message: _Message, context: Context) -> None:
        try:
            message.command = command = messages.decode(message.command_bytes)
        except CommandError:
            raise WireError("malformed-command", abort=6) from None
        if command.field & 0x8000 or command.field == Field.C_CANCEL_RQ:
            if command.has_data_set:
                raise WireError("unexpected-response", abort=2)
            self._message = None  # the answer to an event report, or the end of something that has ended
            self._shared.commitments.take_response(self.sender.token, command)
            return
        message.operation = self._operation(command, context)
        if not command.has_data_set:
            self._answer(message)

    def _operation(self, command: Command, context: Context) -> Operation:
        abstract = context.abstract_syntax
        if command.field == Field.C_STORE_RQ and abstract in storage_classes():
            if not command.has_data_set:
                return Fixed(0xC000, "no-data-set")
            return Store(self._shared.storage, self.sender, context, command)
        if command.field == Field.C_ECHO_RQ and abstract == "1.2.840.10008.1.1":
            return Fixed(SUCCESS, "")
        if command.field == Field.N_ACTION_RQ and abstract == "1.2.840.10008.1.20.1":
            return ActionRequest(self._shared.commitments, self.sender, context, command)
        if command.field == Field.N_EVENT_REPORT_RQ and abstract == "1.2.840.10008.1.20.1":
            return CommitmentResult(self._shared.storage.committer, context)
        known = command.field in (Field.C_STORE_RQ, Field.C_ECHO_RQ, Field.N_ACTION_RQ)
        return Fixed(SOP_CLASS_NOT_SUPPORTED if known else UNRECOGNIZED_OPERATION, "not-supported")

    def _answer(self, message: _Message) -> None:
        assert message.operation is not None
        assert message.command is not None
        status, reason = message.operation.finish()
        if isinstance(message.operation, Store):
            self.stored[status] += 1
            kept = message.operation.kept
            if kept is not None:
                node = self._node()
                self._transfers.add(node, kept.study_instance_uid, kept.sop_class_uid, kept.held, kept.patient_id)
        self._message = None
        faults.passing("before-answer")
        self._send(message.context_id, messages.response(message.command, status, reason), is_command=True)
        faults.passing("answered")
        if isinstance(message.operation, ActionRequest) and status == SUCCESS:
            self._report_event(message.context_id, message.operation)

    def _report_event(self, context_id: int, request: ActionRequest) -> None:
        """The result of a Storage Commitment on this association, where no other way to the sender is known."""
        report = request.report_here()
        if report is not None:
            command, dataset = report
            self._send(context_id, command, is_command=True)
            self._send(context_id, dataset, is_command=False)

    def _send(self, context_id: int, content: bytes, *, is_command: bool) -> None:
        assert self._wire is not None
        assert self._agreement is not None
        self._wire.send(data_pdus(context_id, content, is_command=is_command, peer_max=self._agreement.peer_max))

    def _end_early(self, error: WireError) -> None:
        where = "in a message" if self._message is not None else "between messages"
        storage = self._shared.storage
        if self._agreement is None or self._message is not None or error.abort is not None:
            uid = self._message.operation.uid if self._message and isinstance(self._message.operation, Store) else ""
            storage.refuse(self.sender, uid, 0, f"ended: {error.reason}")
            if error.abort or error.reason in HOSTILE_REASONS:
                self._alert(AlertKind.ASSOCIATION_FAILURE, f"ended: {error.reason}")
        else:
            log.info("association %s: %s", where, error.reason)
        if error.abort is not None and self._wire is not None:
            try:
                self._wire.send(abort_pdu(error.abort))
            except WireError:
                log.debug("the peer of an aborted association has gone")

    def _close(self) -> None:
        if self._message is not None and self._message.operation is not None:
            self._message.operation.drop()
        token = self.sender.token
        self._linger()
        self._transfers.flush()  # before the catalog forgets the association: what is killed here is told of at the next start
        self._shared.alerts.sweep()
        if self._agreement is not None:
            self._shared.storage.committer.submit(lambda run: end_association(run, token), until_done=True)
            self._shared.commitments.forget(token)

    def _node(self) -> Node:
        """The peer, for the audit trail: by its AE title once it has said one."""
        title = self.sender.calling_ae
        return Node(title or self.sender.address, self.sender.address, title)

    def _alert(self, kind: AlertKind, words: str) -> None:
        self._shared.alerts.alert(kind, self._node(), words)

    def _linger(self) -> None:
        """Let the peer read our last words before the connection closes, for a moment."""
        try:
            self._connection.shutdown(socket.SHUT_WR)
            self._connection.settimeout(ARTIM_SECONDS)
            deadline = time.monotonic() + ARTIM_SECONDS
            while time.monotonic() < deadline and not self._stopping.is_set() and self._connection.recv(4096):
                pass
        except OSError:
            pass
        finally:
            self._connection.close()


def handshake_reason(error: OSError) -> str:
    """A word for a TLS handshake that failed, from OpenSSL's own (never certificate contents)."""
    if isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in OUT_OF_DATE:
        return f"tls: {OUT_OF_DATE[error.verify_code]}"
    if isinstance(error, ssl.SSLError) and error.reason:
        return f"tls: {error.reason.lower().replace('_', '-')}"
    return "tls: timeout" if isinstance(error, TimeoutError) else "tls: connection-lost"
