"""C-STORE as SCP: a data set goes to disk as it comes, and Success is the answer once disk and catalog have it.

Statuses: PS3.4 table B.2-1, PS3.7 annex C. Nothing is coerced. Every refusal is written down with its reason.
"""

from __future__ import annotations

import logging
import struct
from contextlib import suppress

from dicom_pipeline import faults
from dicom_pipeline.acceptor.dimse import Command, Element
from dicom_pipeline.acceptor.operations import SUCCESS, Context, Operation, Sender
from dicom_pipeline.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, is_valid_uid
from dicom_pipeline.domain import short_uid
from dicom_pipeline.errors import CatalogError
from dicom_pipeline.intake.entry import Origin
from dicom_pipeline.intake.receipt import Expected, Receipt, UploadResult
from dicom_pipeline.intake.receiver import Receiver

log = logging.getLogger(__name__)

OUT_OF_RESOURCES = 0xA700
DATA_SET_DOES_NOT_MATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000

STATUSES = {
    UploadResult.OWN_OBJECT: SUCCESS,
    UploadResult.UNREADABLE: CANNOT_UNDERSTAND,
    UploadResult.MISSING_UID: DATA_SET_DOES_NOT_MATCH,
    UploadResult.AMBIGUOUS_IDENTITY: DATA_SET_DOES_NOT_MATCH,
    UploadResult.SOP_INSTANCE_MISMATCH: DATA_SET_DOES_NOT_MATCH,
    UploadResult.SOP_CLASS_MISMATCH: DATA_SET_DOES_NOT_MATCH,
    UploadResult.TOO_LARGE: OUT_OF_RESOURCES,
    UploadResult.DISK_FULL: OUT_OF_RESOURCES,
}
"""Of an instance that is not stored. A transfer syntax that we do not know is never negotiated."""


class Store(Operation):
    """One C-STORE request: `write` for each piece of the data set, then `finish` for the status. Neither raises."""

    def __init__(self, receiver: Receiver, sender: Sender, context: Context, command: Command) -> None:
        self._receiver = receiver
        self._sender = sender
        self.uid = command.uid(Element.AFFECTED_INSTANCE)
        self.received = 0
        self._receipt: Receipt | None = None
        self._failure: tuple[int, str] | None = None
        sop_class = command.uid(Element.AFFECTED_CLASS)
        if sop_class != context.abstract_syntax:
            self._failure = DATA_SET_DOES_NOT_MATCH, UploadResult.SOP_CLASS_MISMATCH.value
        elif not is_valid_uid(self.uid):
            self._failure = DATA_SET_DOES_NOT_MATCH, "invalid-uid"
        else:
            self._begin(Expected(sop_class, self.uid), context.transfer_syntax)

    def _begin(self, expected: Expected, transfer_syntax: str) -> None:
        sender = self._sender
        header = file_header(expected.sop_class_uid, self.uid, transfer_syntax, sender.calling_ae)
        origin = Origin(transfer_syntax, sender.calling_ae, sender.address, sender.token)
        try:
            self._receipt = self._receiver.begin_data_set(origin, header, expected)
            faults.passing("store-begun")
        except OSError as error:
            self._fail(error)

    def write(self, part: memoryview) -> None:
        """Take a piece; after a failure the rest is only counted."""
        self.received += len(part)
        if self._receipt is None or self._failure is not None:
            return
        try:
            self._receipt.write(part)
        except OSError as error:
            self._fail(error)

    def finish(self) -> tuple[int, str]:
        """The status and, for a refusal, its reason. Success means that file, folder and catalog are synced."""
        if self._receipt is not None and self._failure is None:
            try:
                self._finish(self._receipt)
            except Exception as error:  # noqa: BLE001 - the edge of an association: hostile input must not end it unanswered
                self._fail(error)
        if self._failure is None:
            return SUCCESS, ""
        self._receiver.refuse(self._sender.calling_ae, self._sender.address, self.uid, *self._failure)
        return self._failure

    def drop(self) -> None:
        """The association ended in the middle: forget what came."""
        if self._receipt is not None:
            self._receipt.abort()

    def _finish(self, receipt: Receipt) -> None:
        faults.passing("store-arrived")
        result = receipt.finish().result
        if not result.in_spool:
            self._failure = STATUSES[result], result.value
        elif result is not UploadResult.NEW:
            log.info("%s is a %s", short_uid(self.uid), result.value)

    def _fail(self, error: Exception) -> None:
        if isinstance(error, CatalogError):
            log.error("cannot enter %s: %s", short_uid(self.uid), error)
            self._failure = OUT_OF_RESOURCES, "catalog-error"
        elif isinstance(error, OSError):
            log.error("cannot write %s: %s", short_uid(self.uid), error.strerror)
            self._failure = OUT_OF_RESOURCES, "disk-error"
        else:
            log.error("cannot understand %s: %s", short_uid(self.uid), type(error).__name__)
            self._failure = CANNOT_UNDERSTAND, UploadResult.UNREADABLE.value
        with suppress(OSError):
            self.drop()


def file_header(sop_class: str, sop_instance: str, transfer_syntax: str, calling_ae: str) -> bytes:
    """Preamble and File Meta Information (PS3.10 7.1), with the sender's AE title, so that the file says where it came from."""
    texts = (
        (0x0002, b"UI", sop_class),
        (0x0003, b"UI", sop_instance),
        (0x0010, b"UI", transfer_syntax),
        (0x0012, b"UI", IMPLEMENTATION_CLASS_UID),
        (0x0013, b"SH", IMPLEMENTATION_VERSION_NAME),
        (0x0016, b"AE", calling_ae),
    )
    body = struct.pack("<HH2sHL2s", 2, 1, b"OB", 0, 2, b"\x00\x01")
    for element, vr, text in texts:
        value = text.encode("ascii", "replace")
        value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
        body += struct.pack("<HH2sH", 2, element, vr, len(value)) + value
    return b"\0" * 128 + b"DICM" + struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(body)) + body
