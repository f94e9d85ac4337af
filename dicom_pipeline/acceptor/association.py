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
from contextlib import suppress
from dataclasses import dataclass, field, replace

from pydicom.config import IGNORE
from pydicom.uid import UID

from dicom_pipeline import faults
from dicom_pipeline.acceptor import dimse as messages
from dicom_pipeline.acceptor.acse import MAX_REQUEST_BYTES, AcceptedAssociation, calling_title, negotiate
from dicom_pipeline.acceptor.admission import Rejection
from dicom_pipeline.acceptor.dimse import Command, CommandError, Field
from dicom_pipeline.acceptor.operations import Context, Observer, Operation, Sender, Services
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
from dicom_pipeline.audit import AlertKind, Node
from dicom_pipeline.audit.alerts import Alerts
from dicom_pipeline.config import ListenerSection

log = logging.getLogger(__name__)

ARTIM_SECONDS = 2.0
"""How long a closed association waits for the peer to close its side (ARTIM timer, PS3.8 9.1.5)."""

RATE_GRACE_SECONDS = 10.0
BYTES_OVER = 64 * 1024**2
"""How much more than the largest object is let pass unread, so that its sender can be answered 0xA700."""

MAX_EMPTY_FRAGMENTS = 100
"""Of one message: they bring nothing, and a peer can send them for ever."""

HOSTILE_REASONS = frozenset({"endless-object", "endless-fragments", "slow-sender"})
"""Ends that are told as alerts beside those for a broken protocol; silence and lost connections are every day's."""

MAX_REFUSED_TOLD = 8
"""Abstract syntaxes that are told of one association: some peers propose a hundred that nobody here provides."""

OUT_OF_DATE = {9: "certificate-is-not-yet-valid", 10: "certificate-has-expired"}
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL, which has one reason for all that is wrong."""


@dataclass(frozen=True, slots=True)
class ListenerContext:
    """What all associations of a listener use."""

    settings: ListenerSection
    services: Services
    alerts: Alerts


@dataclass(slots=True)
class _Message:
    """The message that is arriving on a context."""

    context_id: int
    command_bytes: bytearray = field(default_factory=bytearray)
    command: Command | None = None
    operation: Operation | None = None
    data_bytes: int = 0
    empty_fragments: int = 0
    began: float = field(default_factory=time.monotonic)


class Association:
    """Serves one connection. rejection: an answer that was decided before anything was read."""

    def __init__(
        self, context: ListenerContext, connection: socket.socket, address: str, rejection: Rejection | None = None
    ) -> None:
        self._context = context
        self._connection = connection
        self._rejection = rejection
        self._accepted: AcceptedAssociation | None = None
        self._wire: Wire | None = None
        self._message: _Message | None = None
        self._stopping = threading.Event()
        self.sender = Sender("", address, uuid.uuid4().hex)

    def serve(self, tls: ssl.SSLContext | None) -> None:
        """Everything from the TLS handshake to the closed connection. Raises nothing; every early end leaves a reason."""
        settings = self._context.settings
        try:
            deadline = time.monotonic() + settings.association_timeout_seconds  # for TLS and the request together
            self._connection.settimeout(settings.association_timeout_seconds)
            if tls is not None and not self._shake_hands(tls):
                return
            self._wire = Wire(self._connection, settings.max_pdu_bytes, settings.network_timeout_seconds)
            if self._negotiate(self._wire, deadline):
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

    @property
    def _observer(self) -> Observer:
        return self._context.services.observer

    def _shake_hands(self, tls: ssl.SSLContext) -> bool:
        """Go on in TLS; False where that failed, with its reason told."""
        try:
            self._connection = tls.wrap_socket(self._connection, server_side=True)
        except OSError as error:  # ssl.SSLError is one
            reason = handshake_reason(error)
            self._observer.refused(self.sender, "", 0, reason)
            self._alert(AlertKind.NODE_AUTHENTICATION, reason)
            return False
        return True

    def _negotiate(self, wire: Wire, deadline: float) -> bool:
        settings = self._context.settings
        kind, body = wire.read(settings.association_timeout_seconds, MAX_REQUEST_BYTES, deadline)
        if kind != Pdu.ASSOCIATE_RQ:
            raise WireError("no-association-request", abort=2)
        self.sender = replace(self.sender, calling_ae=calling_title(body))  # who is turned away is told too
        answer = self._rejection or negotiate(body, settings, self._context.services.contexts)
        if isinstance(answer, AcceptedAssociation):
            self._accepted = answer
            syntaxes = {context.abstract_syntax for context in answer.contexts.values()}
            answer = self._observer.admit(syntaxes) or answer
        if isinstance(answer, Rejection):
            self._observer.refused(self.sender, "", 0, f"rejected: {answer.reason}")
            self._alert(answer.kind, f"rejected: {answer.reason}")
            wire.send(reject_pdu(answer.result, answer.source, answer.diagnostic))
            return False
        self._observer.opened(self.sender)
        wire.send(answer.answer)
        for abstract_syntax in answer.refused[:MAX_REFUSED_TOLD]:  # now: each waits for the catalog, the peer need not
            reason = f"context-refused: {class_name(abstract_syntax)}"
            self._observer.refused(self.sender, "", 0, reason)
            self._alert(AlertKind.ASSOCIATION_FAILURE, reason)
        return True

    def _serve_messages(self, wire: Wire) -> None:
        settings = self._context.settings
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
        assert self._accepted is not None
        if context_id not in self._accepted.contexts:
            raise WireError("unknown-context", abort=6)
        if self._message is None:
            self._message = _Message(context_id)
        message = self._message
        if message.context_id != context_id or is_command == (message.command is not None):
            raise WireError("fragments-out-of-order", abort=6)
        if not len(part) and not is_last:
            message.empty_fragments += 1
            if message.empty_fragments > MAX_EMPTY_FRAGMENTS:
                raise WireError("endless-fragments", abort=6)
        if is_command:
            message.command_bytes += part
            self._check_flow(message, len(message.command_bytes))
            if len(message.command_bytes) > messages.MAX_COMMAND_BYTES:
                raise WireError("command-too-long", abort=6)
            if is_last:
                self._begin(message, self._accepted.contexts[context_id])
            return
        assert message.operation is not None
        message.data_bytes += len(part)
        self._check_flow(message, message.data_bytes)
        message.operation.write(part)
        if is_last:
            self._answer(message)

    def _check_flow(self, message: _Message, came: int) -> None:
        """End what never ends, and what comes so slowly that it only holds a place. came: bytes of the command or data set."""
        settings = self._context.settings
        if message.data_bytes > self._context.services.max_bytes + BYTES_OVER:
            raise WireError("endless-object", abort=0)
        seconds = time.monotonic() - message.began
        if seconds > RATE_GRACE_SECONDS and came < settings.min_bytes_per_second * seconds:
            raise WireError("slow-sender", abort=0)

    def _begin(self, message: _Message, context: Context) -> None:
        try:
            message.command = command = messages.decode(message.command_bytes)
        except CommandError:
            raise WireError("malformed-command", abort=6) from None
        if command.field & 0x8000 or command.field == Field.C_CANCEL_RQ:
            if command.has_data_set:
                raise WireError("unexpected-response", abort=2)
            self._message = None
            self._observer.response(self.sender, command)
            return
        message.operation = self._context.services.begin(self.sender, context, command)
        if not command.has_data_set:
            self._answer(message)

    def _answer(self, message: _Message) -> None:
        assert message.operation is not None
        assert message.command is not None
        status, reason = message.operation.finish()
        self._message = None
        faults.passing("before-answer")
        self._send(message.context_id, messages.response(message.command, status, reason), is_command=True)
        faults.passing("answered")
        follow_up = message.operation.follow_up()
        if follow_up is not None:
            command, dataset = follow_up
            self._send(message.context_id, command, is_command=True)
            self._send(message.context_id, dataset, is_command=False)

    def _send(self, context_id: int, content: bytes, *, is_command: bool) -> None:
        assert self._wire is not None
        assert self._accepted is not None
        self._wire.send(data_pdus(context_id, content, is_command=is_command, peer_max=self._accepted.peer_max))

    def _end_early(self, error: WireError) -> None:
        where = "in a message" if self._message is not None else "between messages"
        if self._accepted is None or self._message is not None or error.abort is not None:
            operation = self._message.operation if self._message else None
            self._observer.refused(self.sender, operation.uid if operation else "", 0, f"ended: {error.reason}")
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
        self._linger()
        self._context.alerts.sweep()
        if self._accepted is not None:
            self._observer.closed(self.sender)

    def _node(self) -> Node:
        """The peer, for the audit trail: by its AE title once it has said one."""
        title = self.sender.calling_ae
        return Node(title or self.sender.address, self.sender.address, title)

    def _alert(self, kind: AlertKind, words: str) -> None:
        self._context.alerts.alert(kind, self._node(), words)

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


def class_name(abstract_syntax: str) -> str:
    """The keyword of a SOP class, or its UID where the standard does not list it."""
    return UID(abstract_syntax, validation_mode=IGNORE).keyword or abstract_syntax


def handshake_reason(error: OSError) -> str:
    """A word for a TLS handshake that failed, from OpenSSL's own (never certificate contents)."""
    if isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in OUT_OF_DATE:
        return f"tls: {OUT_OF_DATE[error.verify_code]}"
    if isinstance(error, ssl.SSLError) and error.reason:
        return f"tls: {error.reason.lower().replace('_', '-')}"
    return "tls: timeout" if isinstance(error, TimeoutError) else "tls: connection-lost"
