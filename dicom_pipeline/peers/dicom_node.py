"""A DICOM node: C-STORE as SCU, and C-FIND or Storage Commitment to verify. A report goes as the richest SR class it takes."""

from __future__ import annotations

import io
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydicom import Dataset, dcmread
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)

from dicom_pipeline.peers.commitment import ANSWER_SECONDS, CommitmentRequest
from dicom_pipeline.peers.peer import Attempt, Ending, Question
from dicom_pipeline.peers.query import find_instance
from dicom_pipeline.peers.statuses import SOP_CLASS_NOT_SUPPORTED, attempt_of, with_class
from dicom_pipeline.peers.tls_advice import why_not
from dicom_pipeline.reporting import as_class, classes_for

FIND = str(StudyRootQueryRetrieveInformationModelFind)


@dataclass(frozen=True, slots=True)
class DicomNode:
    """A node at host:port. calling_ae: our title. tls_*: PEM files; TLS where tls_ca is set. verify: how arrival is checked."""

    name: str
    ae_title: str
    host: str
    port: int
    calling_ae: str
    verify: Literal["none", "find", "commitment"] = "none"
    timeout_seconds: float = 30.0
    tls_ca: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None

    def send(self, report: bytes) -> Attempt:
        """C-STORE; what the peer or the network does is told as an Attempt."""
        dataset = dcmread(io.BytesIO(report))
        classes = classes_for(str(dataset.SOPClassUID))
        association = self._associate(*classes, *([FIND] if self.verify == "find" else []))
        if isinstance(association, Attempt):
            return association
        try:
            accepted = {str(context.abstract_syntax) for context in association.accepted_contexts}
            offered = [uid for uid in classes if uid in accepted]
            if not offered:
                return Attempt(Ending.SET_ASIDE, message="the peer accepts no such SOP class")
            for taken in offered:
                sent = as_class(dataset, taken)
                answer = association.send_c_store(sent)
                if answer.get("Status") != SOP_CLASS_NOT_SUPPORTED:  # some accept every context and say it only here
                    break
            attempt = attempt_of(answer.get("Status"), str(answer.get("ErrorComment", "") or ""))
            if attempt.ending is Ending.DELIVERED:
                attempt = self._verified(attempt, association, sent)
        except (ValueError, RuntimeError) as error:
            return Attempt(Ending.RETRY, message=f"the association ended: {error}")
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
    ) -> Question:
        """Ask for Storage Commitment; the answer may come here at once, or later to the listener."""
        request = CommitmentRequest(transaction_uid, sop_class_uid, sop_instance_uid)
        association = self._associate(str(StorageCommitmentPushModel), handlers=request.handlers)
        if isinstance(association, Attempt):
            return Question(association.message)
        try:
            problem = request.ask(association, answer_seconds)
        finally:
            if association.is_established:
                association.release()
        return Question(problem, request.result)

    def _verified(self, attempt: Attempt, association: Any, sent: Dataset) -> Attempt:
        """What verification says of an object that was answered with Success or a warning."""
        if self.verify == "commitment":
            return replace(attempt, to_commit=(str(sent.SOPClassUID), str(sent.SOPInstanceUID)))
        if self.verify == "none":
            return attempt
        found = find_instance(association, sent)
        if found is True:
            return replace(attempt, verified=True)
        if found is False:
            return Attempt(
                Ending.RETRY, attempt.status, "the peer answered Success, but C-FIND does not list the object"
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
            return f"it takes no C-ECHO: {error}"
        finally:
            association.release()
        return "" if status == 0 else f"C-ECHO was answered {status!r}"

    def _associate(self, *abstract_syntaxes: str, handlers: Sequence[Any] = ()) -> Any:
        entity = AE(ae_title=self.calling_ae)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = self.timeout_seconds
        entity.connection_timeout = self.timeout_seconds
        for abstract_syntax in abstract_syntaxes:
            entity.add_requested_context(abstract_syntax, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
        try:
            tls = (self._tls(), self.host) if self.tls_ca else None
        except (OSError, ssl.SSLError) as error:
            return Attempt(Ending.SET_ASIDE, message=f"our TLS files cannot be used: {error}")
        for _ in range(2):
            began, opened = time.monotonic(), list[Any]()
            told = [*handlers, (evt.EVT_CONN_OPEN, opened.append)]
            try:
                association = entity.associate(
                    self.host, self.port, ae_title=self.ae_title, tls_args=tls, evt_handlers=told
                )
            except (OSError, UnicodeError) as error:  # of the look-up of the name, before any connection
                return Attempt(
                    Ending.RETRY, message=f"the host name {self.host} cannot be resolved ({type(error).__name__})"
                )
            if association.is_established:
                return association
            # a peer that rejects and hangs up at once may be gone before pynetdicom has read its words: ask once more
            wordless = not association.is_rejected and association.acceptor.primitive is None
            if not (opened and wordless and time.monotonic() - began < self.timeout_seconds / 2):
                break
        return self._why_not(association, abstract_syntaxes[0], tls[0] if tls else None)

    def _why_not(self, association: Any, abstract_syntax: str, tls: ssl.SSLContext | None) -> Attempt:
        """What an association that did not come about means for a delivery."""
        where = f"{self.ae_title}@{self.host}:{self.port}"
        if association.is_rejected:
            answer = association.acceptor.primitive
            permanent = getattr(answer, "result", 1) == 1
            words = getattr(answer, "reason_str", "") or "no reason given"
            ending = Ending.SET_ASIDE if permanent else Ending.RETRY
            return Attempt(ending, message=f"{where} rejects the association: {words}{self._advice(words)}")
        if association.acceptor.primitive is not None:
            return Attempt(
                Ending.SET_ASIDE,
                message=f"{where} accepts no presentation context for {UID(abstract_syntax).name}",
            )
        why = self._why_no_handshake(tls) if tls else ""
        return Attempt(Ending.RETRY, message=f"{where} cannot be reached{why}")

    def _advice(self, words: str) -> str:
        """What to do about a rejection, where its words tell."""
        if words.startswith("Calling AE title"):
            return f"; enter {self.calling_ae} at the peer as a known node (Orthanc: DicomModalities)"
        if words.startswith("Called AE title"):
            return f"; the peer is not called {self.ae_title}"
        return ""

    def _why_no_handshake(self, context: ssl.SSLContext) -> str:
        """What a TLS handshake by itself runs into, as pynetdicom keeps it to itself; "" where that works."""
        shaken = False
        try:
            with (
                socket.create_connection((self.host, self.port), self.timeout_seconds) as plain,
                context.wrap_socket(plain, server_hostname=self.host) as secure,
            ):
                shaken = True
                secure.settimeout(1.0)
                secure.recv(1)  # under TLS 1.3 a refusal of our certificate comes after the handshake
        except TimeoutError:
            return "" if shaken else f": {why_not(TimeoutError())}"
        except OSError as error:
            return f": {why_not(error)}"
        return ""

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(self.tls_ca))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.tls_certificate and self.tls_key:
            context.load_cert_chain(self.tls_certificate, self.tls_key)
        return context
