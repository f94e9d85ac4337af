"""A DICOM node: C-STORE as SCU, and C-FIND or Storage Commitment to verify. A report goes as the richest SR class it takes."""

from __future__ import annotations

import io
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    Comprehensive3DSRStorage,
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)

from dicom_pipeline.config import DicomPeer, ListenerSection
from dicom_pipeline.config.tls_files import peer_tls_problem
from dicom_pipeline.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_pipeline.peers.commitment import ANSWER_SECONDS, CommitmentAction
from dicom_pipeline.peers.peer import Attempt, CommitmentReply, DeliveryOutcome, Trial
from dicom_pipeline.peers.query import find_instance
from dicom_pipeline.peers.statuses import SOP_CLASS_NOT_SUPPORTED, attempt_of, with_class
from dicom_pipeline.peers.tls_advice import handshake_failure
from dicom_pipeline.reporting import as_class, classes_for

NO_ANSWER = "it takes the connection and does not answer as a DICOM node does: is that its DICOM port?"
NOT_IN_TIME = "it does not answer in time: is a firewall between, is the port right?"
NOBODY = "nothing listens there (connection refused, or no route): is the peer running, are address and port right?"
"""Why no association came about, as far as pynetdicom tells: a connection to ask once more would be an incident at the peer."""

FIND = str(StudyRootQueryRetrieveInformationModelFind)


@dataclass(frozen=True, slots=True)
class DicomNode:
    """A node of the settings. calling_ae: our AE title, where the peer's settings name none."""

    peer: DicomPeer
    calling_ae: str

    @property
    def name(self) -> str:
        """Its name in status and logs."""
        return self.peer.name

    def send(self, report: bytes) -> Attempt:
        """C-STORE; what the peer or the network does is told as an Attempt."""
        dataset = dcmread(io.BytesIO(report))
        classes = classes_for(str(dataset.SOPClassUID))
        association = self._associate(*classes, *([FIND] if self.peer.deliver.verify == "find" else []))
        if isinstance(association, Attempt):
            return association
        try:
            accepted = {str(context.abstract_syntax) for context in association.accepted_contexts}
            offered = [uid for uid in classes if uid in accepted]
            if not offered:
                return Attempt(DeliveryOutcome.SET_ASIDE, message="the peer accepts no such SOP class")
            for taken in offered:
                sent = as_class(dataset, taken)
                answer = association.send_c_store(sent)
                if answer.get("Status") != SOP_CLASS_NOT_SUPPORTED:  # some accept every context and say it only here
                    break
            attempt = attempt_of(answer.get("Status"), str(answer.get("ErrorComment", "") or ""))
            if attempt.outcome is DeliveryOutcome.DELIVERED:
                attempt = self._verified(attempt, association, sent)
        except (ValueError, RuntimeError) as error:
            return Attempt(DeliveryOutcome.RETRY, message=f"the association ended: {error}")
        finally:
            if association.is_established:
                association.release()
        return attempt if taken == classes[0] else with_class(attempt, sent)

    def ask_commitment(
        self,
        transaction_uid: str,
        sop_class_uid: str,
        sop_instance_uid: str,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> CommitmentReply:
        """Ask for Storage Commitment; the answer may come here at once, or later to the listener."""
        request = CommitmentAction(transaction_uid, sop_class_uid, sop_instance_uid)
        association = self._associate(str(StorageCommitmentPushModel), handlers=request.handlers)
        if isinstance(association, Attempt):
            return CommitmentReply(association.message)
        try:
            problem = request.ask(association, answer_seconds)
        finally:
            if association.is_established:
                association.release()
        return CommitmentReply(problem, request.result)

    def _verified(self, attempt: Attempt, association: Any, sent: Dataset) -> Attempt:
        """What verification says of an object that was answered with Success or a warning."""
        verify = self.peer.deliver.verify
        if verify == "commitment":
            return replace(attempt, to_commit=(str(sent.SOPClassUID), str(sent.SOPInstanceUID)))
        if verify == "none":
            return attempt
        found = find_instance(association, sent)
        if found is True:
            return replace(attempt, verified=True)
        if found is False:
            return Attempt(
                DeliveryOutcome.RETRY, attempt.status, "the peer answered Success, but C-FIND does not list the object"
            )
        return replace(attempt, message=f"{attempt.message} not verified: {found}".strip())

    def echo(self) -> str:
        """C-ECHO: "" where the node answers, else what is wrong."""
        association = self._associate(str(Verification))
        if isinstance(association, Attempt):
            return association.message
        try:
            status = association.send_c_echo().get("Status")
        except (ValueError, RuntimeError) as error:
            return f"C-ECHO failed: {error}"
        finally:
            association.release()
        return "" if status == 0 else f"C-ECHO was answered {status!r}"

    def trial(self) -> Trial:
        """C-ECHO, and whether the node accepts what a delivery proposes: SR classes, and what verifies their arrival."""
        deliver = self.peer.deliver
        reports = classes_for(Comprehensive3DSRStorage) if not deliver.objects or "report" in deliver.objects else ()
        proofs = {"find": (FIND,), "commitment": (str(StorageCommitmentPushModel),)}.get(deliver.verify, ())
        association = self._associate(str(Verification), *reports, *proofs)
        if isinstance(association, Attempt):
            return Trial(False, association.message)
        accepted = {str(context.abstract_syntax) for context in association.accepted_contexts}
        try:
            status = association.send_c_echo().get("Status") if str(Verification) in accepted else None
        except (ValueError, RuntimeError) as error:
            return Trial(False, f"C-ECHO failed: {error}")
        finally:
            if association.is_established:
                association.release()
        if reports and not accepted.intersection(reports):
            return Trial(False, f"it answers, but accepts no SR class: {', '.join(UID(uid).name for uid in reports)}")
        if lacking := [UID(uid).name for uid in proofs if uid not in accepted]:
            return Trial(
                False, f'it answers, but verify = "{deliver.verify}" needs {lacking[0]}, which it does not accept'
            )
        echo = "does not accept C-ECHO"
        if str(Verification) in accepted:
            if status != 0:
                return Trial(False, f"C-ECHO was answered {status!r}")
            echo = "answers C-ECHO"
        takes = ", ".join(UID(uid).name for uid in (*reports, *proofs) if uid in accepted)
        return Trial(True, f"it {echo}{f'; it accepts {takes}' if takes else ''}")

    def _associate(self, *abstract_syntaxes: str, handlers: Sequence[Any] = ()) -> Any:
        """As associate, each class in the two uncompressed transfer syntaxes of little endian."""
        syntaxes: list[str | UID] = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
        return self.associate([build_context(uid, syntaxes) for uid in abstract_syntaxes], handlers)

    def associate(self, contexts: Sequence[PresentationContext], handlers: Sequence[Any] = ()) -> Any:
        """An open association of pynetdicom with at least one accepted context, or an Attempt that says why there is none."""
        peer = self.peer
        entity = requestor(peer, self.calling_ae)
        try:
            tls = (tls_client_context(peer), peer.host) if peer.uses_tls else None
        except OSError as error:
            return Attempt(DeliveryOutcome.SET_ASIDE, message=f"our TLS files cannot be used: {error}")
        for _ in range(2):
            began, opened = time.monotonic(), list[Any]()
            handled = [*handlers, (evt.EVT_CONN_OPEN, opened.append)]
            try:
                association = entity.associate(
                    peer.host,
                    peer.port,
                    contexts=list(contexts),
                    ae_title=peer.ae_title,
                    tls_args=tls,
                    evt_handlers=handled,
                )
            except (OSError, UnicodeError) as error:  # of the look-up of the name, before any connection
                return Attempt(
                    DeliveryOutcome.RETRY,
                    message=f"the host name {peer.host} cannot be resolved ({type(error).__name__})",
                )
            if association.is_established:
                return association
            # a peer that rejects and hangs up at once may be gone before pynetdicom has read its words: ask once more
            wordless = not association.is_rejected and association.acceptor.primitive is None
            if not (opened and wordless and time.monotonic() - began < peer.timeout_seconds / 2):
                break
        late = time.monotonic() - began >= peer.timeout_seconds
        why = NO_ANSWER if opened else NOT_IN_TIME if late else NOBODY
        if tls and association.acceptor.primitive is None:
            why = self._why_no_handshake(tls[0]) or why
        return self._why_not(association, [str(c.abstract_syntax) for c in contexts], why)

    def _why_not(self, association: Any, offered: Sequence[str], unreachable: str) -> Attempt:
        """What an association that did not come about means for a delivery. unreachable: why, where the peer said nothing."""
        where = f"{self.peer.ae_title}@{self.peer.host}:{self.peer.port}"
        if association.is_rejected:
            answer = association.acceptor.primitive
            permanent = getattr(answer, "result", 1) == 1
            words = getattr(answer, "reason_str", "") or "no reason given"
            outcome = DeliveryOutcome.SET_ASIDE if permanent else DeliveryOutcome.RETRY
            return Attempt(outcome, message=f"{where} rejects the association: {words}{self._advice(words)}")
        if association.acceptor.primitive is not None:
            classes = ", ".join(UID(uid).name for uid in dict.fromkeys(offered))
            return Attempt(
                DeliveryOutcome.SET_ASIDE,
                message=f"{where} accepts no presentation context for {classes}",
            )
        return Attempt(DeliveryOutcome.RETRY, message=f"{where} cannot be reached: {unreachable}")

    def _advice(self, words: str) -> str:
        """What to do about a rejection, where its words tell."""
        if words.startswith("Calling AE title"):
            title = self.peer.calling_ae_title or self.calling_ae
            return f"; enter {title} at the peer as a known node (Orthanc: DicomModalities)"
        if words.startswith("Called AE title"):
            return f"; the peer is not called {self.peer.ae_title}"
        return ""

    def _why_no_handshake(self, context: ssl.SSLContext) -> str:
        """What a TLS handshake by itself runs into, as pynetdicom keeps it to itself; "" where that works."""
        shaken = False
        try:
            with (
                socket.create_connection((self.peer.host, self.peer.port), self.peer.timeout_seconds) as plain,
                context.wrap_socket(plain, server_hostname=self.peer.host) as secure,
            ):
                shaken = True
                secure.settimeout(1.0)
                secure.recv(1)  # under TLS 1.3 a refusal of our certificate comes after the handshake
        except TimeoutError:
            return "" if shaken else handshake_failure(TimeoutError())
        except OSError as error:
            return handshake_failure(error)
        return ""


def requestor(peer: DicomPeer, calling_ae: str) -> AE:
    """Who associates with a peer: our AE title, implementation and the peer's time-outs, without contexts yet.

    calling_ae: our title where the peer's settings name none.
    """
    entity = AE(ae_title=peer.calling_ae_title or calling_ae)
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = peer.timeout_seconds
    entity.connection_timeout = peer.timeout_seconds
    return entity


def listener_as_peer(listener: ListenerSection, calling_ae: str, timeout_seconds: float) -> DicomNode:
    """Our own listener, as a node of this machine calls it without TLS."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listener.host, listener.host)  # noqa: S104 - where it can be called
    values = {"name": "listener", "ae_title": listener.ae_title, "host": host, "port": listener.port}
    return DicomNode(DicomPeer(type="dicom", timeout_seconds=timeout_seconds, **values), calling_ae)


def tls_client_context(peer: DicomPeer) -> ssl.SSLContext:
    """TLS of 1.2 or later as its client, with our certificate where the settings name one.

    Raises OSError (ssl.SSLError is one) that names the file.
    """
    if problem := peer_tls_problem(peer):
        raise OSError(problem)
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=peer.tls_ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if peer.tls_certificate is not None and peer.tls_key is not None:
        context.load_cert_chain(peer.tls_certificate, peer.tls_key)
    return context
