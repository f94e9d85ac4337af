"""C-STORE as SCP: a data set goes to disk as it comes, and Success is the answer once disk and catalog have it.

Statuses: PS3.4 table B.2-1, PS3.7 annex C. Nothing is coerced. Every refusal is written down with its reason.
"""

from __future__ import annotations

import logging
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID

from dicom_pipeline import faults
from dicom_pipeline.acceptor.dimse import Command, Element
from dicom_pipeline.acceptor.operations import SUCCESS, Context, Operation, Sender
from dicom_pipeline.audit import Node
from dicom_pipeline.audit.transfers import ThreadTransfers
from dicom_pipeline.catalog.arrivals import Arrival, enter_refusal
from dicom_pipeline.catalog.database import Run
from dicom_pipeline.config import ListenerSection
from dicom_pipeline.dicom.uids import is_valid_uid
from dicom_pipeline.domain import short_uid
from dicom_pipeline.errors import CatalogError
from dicom_pipeline.intake.comparison import Comparison
from dicom_pipeline.intake.entry import HELD, Origin, keep
from dicom_pipeline.intake.group_commit import Committer
from dicom_pipeline.intake.identity import Identity, IdentityError, read_identity
from dicom_pipeline.intake.spool import IncomingFile, Spool

log = logging.getLogger(__name__)

OUT_OF_RESOURCES = 0xA700
DATA_SET_DOES_NOT_MATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000

IDENTITY_STATUS = {"too-large": OUT_OF_RESOURCES, "ambiguous-identity": DATA_SET_DOES_NOT_MATCH}

REFUSAL_SECONDS = 2.0
"""How long an answer waits for its refusal to be written down."""


class RefusedError(Exception):
    """Ends the handling of one C-STORE with a status and a reason code."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Storage:
    """What every association's C-STORE needs: limits, spool, catalog and audit trail.

    transfers: told of each instance by the thread of its association, which flushes them.
    """

    def __init__(
        self,
        settings: ListenerSection,
        min_free_bytes: int,
        spool: Spool,
        committer: Committer,
        transfers: ThreadTransfers,
    ) -> None:
        self.settings = settings
        self.min_free_bytes = min_free_bytes
        self.transfers = transfers
        self.spool = spool
        self.committer = committer
        self.comparison = Comparison()

    def disk_is_full(self, wanted: int = 0) -> bool:
        """Whether less than the watermark is free, or would be after `wanted` more bytes."""
        return self.spool.free_bytes() < self.min_free_bytes + wanted

    def commit(self, work: Callable[[Run], Any]) -> Any:
        """Work in a transaction together with what arrives at the same time; its result. Raises CatalogError."""
        submitted = self.committer.submit(work)
        faults.passing("entry-submitted")
        return submitted.result()

    def refuse(self, sender: Sender, uid: str, status: int, reason: str) -> None:
        """Write down that something was refused. status 0: no DIMSE message was answered with it."""
        calling = _printable(sender.calling_ae) or "a peer that gave no title"
        if status:
            log.warning("%s of %s answered 0x%04X: %s", short_uid(uid), calling, status, reason)
        else:
            log.warning("%s: %s", calling, reason)
        values = {
            "at": time.time(),
            "status": status,
            "reason": reason,
            "sop_instance_uid": uid[:64],
            "calling_ae": sender.calling_ae[:16],
            "address": sender.address,
        }
        written = self.committer.submit(lambda run: enter_refusal(run, **values))
        try:
            written.result(REFUSAL_SECONDS)
        except TimeoutError:
            log.warning("the answer does not wait for a refusal to be written down: the catalog is busy")
        except CatalogError as error:
            log.error("cannot write down a refusal: %s", error)


class Store(Operation):
    """One C-STORE request: `write` for each piece of the data set, then `finish` for the status. Neither raises."""

    def __init__(self, storage: Storage, sender: Sender, context: Context, command: Command) -> None:
        self._storage = storage
        self._sender = sender
        self._context = context
        self._class = command.uid(Element.AFFECTED_CLASS)
        self.uid = command.uid(Element.AFFECTED_INSTANCE)
        self.received = 0
        self._file: IncomingFile | None = None
        self._problem: RefusedError | None = None
        try:
            self._check_request()
            header = file_header(self._class, self.uid, context.transfer_syntax, sender.calling_ae)
            self._file = storage.spool.receive(header)
            faults.passing("store-begun")
        except (RefusedError, OSError) as error:
            self._fail(error)

    def write(self, part: memoryview) -> None:
        """Take a piece; after a failure the rest is only counted."""
        self.received += len(part)
        if self._file is None:
            return
        try:
            if self.received > self._storage.settings.max_object_bytes:
                raise RefusedError(OUT_OF_RESOURCES, "too-large")
            self._file.write(part)
        except (RefusedError, OSError) as error:
            self._fail(error)

    def finish(self) -> tuple[int, str]:
        """The status and, for a refusal, its reason. Success means that file, folder and catalog are synced."""
        try:
            if self._problem is None:
                self._keep()
        except (RefusedError, OSError, CatalogError) as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - the edge of an association: hostile input must not end it unanswered
            log.error("cannot understand %s: %s", short_uid(self.uid), type(error).__name__)
            self._fail(RefusedError(CANNOT_UNDERSTAND, "unreadable"))
        if self._problem is None:
            return SUCCESS, ""
        self._storage.refuse(self._sender, self.uid, self._problem.status, self._problem.reason)
        return self._problem.status, self._problem.reason

    def drop(self) -> None:
        """The association ended in the middle: forget what came."""
        if self._file is not None:
            self._file.drop()
            self._file = None

    def _check_request(self) -> None:
        if self._class != self._context.abstract_syntax:
            raise RefusedError(DATA_SET_DOES_NOT_MATCH, "sop-class-mismatch")
        if not is_valid_uid(self.uid):
            raise RefusedError(DATA_SET_DOES_NOT_MATCH, "invalid-uid")
        if self._storage.disk_is_full():
            raise RefusedError(OUT_OF_RESOURCES, "disk-full")

    def _keep(self) -> None:
        assert self._file is not None
        faults.passing("store-arrived")
        identity = self._identity(self._file)
        if identity.own:
            raise RefusedError(SUCCESS, "own-object")
        if self._storage.disk_is_full():
            raise RefusedError(OUT_OF_RESOURCES, "disk-full")
        sender, storage = self._sender, self._storage
        origin = Origin(self._context.transfer_syntax, sender.calling_ae, sender.address, sender.token)
        arrival = keep(self._file, identity, origin, storage.spool, storage.comparison, storage.commit)
        self._file = None
        node = Node(sender.calling_ae or sender.address, sender.address, sender.calling_ae)
        study, held = identity.study_instance_uid, HELD[arrival]
        storage.transfers.add(node, study, self._class, held, identity.patient_id)
        if arrival is not Arrival.NEW:
            log.info("%s is a %s", short_uid(self.uid), arrival.value)

    def _identity(self, file: IncomingFile) -> Identity:
        try:
            with file.read_dataset() as stream:
                identity = read_identity(
                    stream, self._context.transfer_syntax, self._storage.settings.max_inflated_bytes
                )
        except IdentityError as error:
            raise RefusedError(IDENTITY_STATUS.get(str(error), CANNOT_UNDERSTAND), str(error)) from error
        if identity.sop_instance_uid != self.uid:
            raise RefusedError(DATA_SET_DOES_NOT_MATCH, "sop-instance-mismatch")
        if identity.sop_class_uid != self._class:
            raise RefusedError(DATA_SET_DOES_NOT_MATCH, "sop-class-mismatch")
        if not identity.whole:
            raise RefusedError(DATA_SET_DOES_NOT_MATCH, "missing-uid")
        return identity

    def _fail(self, error: Exception) -> None:
        if isinstance(error, RefusedError):
            self._problem = error
        elif isinstance(error, CatalogError):
            log.error("cannot enter %s: %s", short_uid(self.uid), error)
            self._problem = RefusedError(OUT_OF_RESOURCES, "catalog-error")
        else:
            log.error("cannot write %s: %s", short_uid(self.uid), getattr(error, "strerror", ""))
            self._problem = RefusedError(OUT_OF_RESOURCES, "disk-error")
        with suppress(OSError):
            self.drop()


def file_header(sop_class: str, sop_instance: str, transfer_syntax: str, calling_ae: str) -> bytes:
    """Preamble and File Meta Information (PS3.10 7.1), with the sender's AE title, so that the file says where it came from."""
    texts = (
        (0x0002, b"UI", sop_class),
        (0x0003, b"UI", sop_instance),
        (0x0010, b"UI", transfer_syntax),
        (0x0012, b"UI", str(PYNETDICOM_IMPLEMENTATION_UID)),
        (0x0016, b"AE", calling_ae),
    )
    body = struct.pack("<HH2sHL2s", 2, 1, b"OB", 0, 2, b"\x00\x01")
    for element, vr, text in texts:
        value = text.encode("ascii", "replace")
        value += (b" " if vr == b"AE" else b"\0") * (len(value) % 2)
        body += struct.pack("<HH2sH", 2, element, vr, len(value)) + value
    return b"\0" * 128 + b"DICM" + struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(body)) + body


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)[:16]
