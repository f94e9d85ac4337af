"""Instances that come as Part 10 files, over HTTP or fetched from a source: the same promises as C-STORE.

receipt = receiver.begin(source="HTTP", address="10.0.0.7")
receipt.write(chunk)                 # as often as bytes arrive; memory is one chunk
received = receipt.finish()          # file, folder and catalog are synced where it is stored
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from io import BytesIO

from pydicom.uid import ExplicitVRLittleEndian

from dicom_pipeline.acceptor.admission import supported_transfer_syntaxes
from dicom_pipeline.audit import Node, unrecorded
from dicom_pipeline.audit.transfers import ThreadTransfers
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.arrivals import Arrival, Known, record_refusal
from dicom_pipeline.catalog.database import Run
from dicom_pipeline.dicom.attributes import UNPARSABLE
from dicom_pipeline.dicom.reading import read_file_meta
from dicom_pipeline.dicom.uids import is_valid_uid
from dicom_pipeline.dicom.warnings import quiet
from dicom_pipeline.intake.comparison import Comparison
from dicom_pipeline.intake.entry import HELD, Origin, keep
from dicom_pipeline.intake.identity import MAX_INFLATED_BYTES, Identity, IdentityError, read_identity
from dicom_pipeline.intake.spool import IncomingFile, Spool

META_GROUP_LENGTH = struct.Struct("<HH2sHI")
"""(0002,0000) UL with its length and value, the first element after the prefix (PS3.10 7.1)."""

META_START = 144
MAX_META_BYTES = 1024**2


class UploadResult(StrEnum):
    """What became of a file. NEW, DUPLICATE and CONFLICT are in the spool; the rest are refused and count nowhere."""

    NEW = "new"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    OWN_OBJECT = "own-object"
    UNREADABLE = "unreadable"
    MISSING_UID = "missing-uid"
    AMBIGUOUS_IDENTITY = "ambiguous-identity"
    UNSUPPORTED = "unsupported-transfer-syntax"
    TOO_LARGE = "too-large"
    DISK_FULL = "disk-full"

    @property
    def stored(self) -> bool:
        """Whether the study now holds this instance."""
        return self in (UploadResult.NEW, UploadResult.DUPLICATE)

    @property
    def retryable(self) -> bool:
        """Whether the same file may be accepted at another time."""
        return self is UploadResult.DISK_FULL


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """What happened to one file. The UIDs are empty where they could not be read."""

    result: UploadResult
    sop_instance_uid: str = ""
    study_instance_uid: str = ""
    sop_class_uid: str = ""


@dataclass(frozen=True, slots=True)
class Receiver:
    """Receives files into a spool. max_object_bytes, min_free_bytes, max_inflated_bytes: as of the listener.

    transfers: told of each instance; who finishes receipts flushes them, in the same thread, when its request is whole.
    """

    catalog: Catalog
    spool: Spool
    max_object_bytes: int
    min_free_bytes: int
    transfers: ThreadTransfers = field(default_factory=lambda: ThreadTransfers(unrecorded))
    comparison: Comparison = field(default_factory=Comparison)
    max_inflated_bytes: int = MAX_INFLATED_BYTES

    def begin(self, *, source: str, address: str, size: int = 0) -> Receipt:
        """A file that is coming. source: at most 16 characters. size: in bytes, where it is known before."""
        return Receipt(self, source, address, size)

    def receive(self, content: bytes, *, source: str, address: str) -> ReceivedFile:
        """A whole file at once. Raises as Receipt.finish."""
        receipt = self.begin(source=source, address=address, size=len(content))
        try:
            receipt.write(content)
            return receipt.finish()
        finally:
            receipt.abort()

    def _commit(self, work: Callable[[Run], Arrival | tuple[Known, ...]]) -> Arrival | tuple[Known, ...]:
        with self.catalog.transaction() as run:
            return work(run)


class Receipt:
    """One file on its way in: `write` its bytes, then `finish`; `abort` where no more come. Of one thread at a time.

    What is refused in between is only counted from there on; `finish` says why.
    """

    def __init__(self, receiver: Receiver, source: str, address: str, size: int) -> None:
        self._receiver = receiver
        self._source = source[:16]
        self._address = address
        self._head = bytearray()
        self._syntax = ""
        self._bytes = 0
        self._file: IncomingFile | None = None
        self._refused: UploadResult | None = None
        if size > receiver.max_object_bytes:
            self._refused = UploadResult.TOO_LARGE
        elif receiver.spool.free_bytes() < receiver.min_free_bytes + size:
            self._refused = UploadResult.DISK_FULL

    @property
    def refused(self) -> UploadResult | None:
        """Why the file is refused as far as it came; None while it may be stored."""
        return self._refused

    def write(self, part: bytes | memoryview) -> None:
        """Take the next bytes of the file. Raises OSError where the disk does; then it must be sent again."""
        self._bytes += len(part)
        if self._refused is None and self._bytes > self._receiver.max_object_bytes:
            self._refuse(UploadResult.TOO_LARGE)
        if self._refused is not None:
            return
        if self._file is not None:
            self._file.write(part)
            return
        self._head += part
        offset = _data_set_offset(self._head)
        if offset is None and len(self._head) >= META_START:
            self._refuse(UploadResult.UNREADABLE)
        elif offset is not None and len(self._head) >= offset + 2:
            self._open(offset)

    def finish(self) -> ReceivedFile:
        """What became of the file. A refusal is written down with source and address.

        Raises OSError or CatalogError; then the file does not count and must be sent again.
        """
        try:
            received = self._kept()
        finally:
            self.abort()
        if received.result not in (UploadResult.NEW, UploadResult.DUPLICATE, UploadResult.CONFLICT):
            record_refusal(
                self._receiver.catalog,
                at=time.time(),
                status=0,
                reason=received.result.value,
                sop_instance_uid=received.sop_instance_uid[:64],
                calling_ae=self._source,
                address=self._address,
            )
        return received

    def abort(self) -> None:
        """Discard what came, unless it is stored."""
        file, self._file = self._file, None
        if file is not None:
            file.drop()

    def _open(self, offset: int) -> None:
        """The file meta information is whole: what follows goes to the disk."""
        head = bytes(self._head)
        self._head.clear()
        try:
            with quiet():
                self._syntax, _ = read_file_meta(BytesIO(head))
        except UNPARSABLE:
            self._syntax = ""
        if head[offset : offset + 2] == b"\x02\x00" or not self._syntax:
            self._refuse(UploadResult.UNREADABLE)
            return
        # a preamble may hold a program; ours is empty
        self._file = self._receiver.spool.receive(bytes(128) + head[128:offset])
        self._file.write(head[offset:])

    def _refuse(self, result: UploadResult) -> None:
        self._refused = result
        self._head.clear()
        self.abort()

    def _kept(self) -> ReceivedFile:
        """Store what came, where nothing is against it."""
        if self._refused is not None or self._file is None:
            return ReceivedFile(self._refused or UploadResult.UNREADABLE)
        try:
            identity = self._identity(self._file)
        except IdentityError as error:
            return ReceivedFile(UploadResult(str(error)))
        if not identity.whole or not is_valid_uid(identity.sop_class_uid):
            return ReceivedFile(UploadResult.MISSING_UID)
        if identity.own:
            result = UploadResult.OWN_OBJECT
        elif self._syntax not in supported_transfer_syntaxes():
            result = UploadResult.UNSUPPORTED
        else:
            result = UploadResult(self._entered(self._file, identity).value)
        return ReceivedFile(result, identity.sop_instance_uid, identity.study_instance_uid, identity.sop_class_uid)

    def _identity(self, file: IncomingFile) -> Identity:
        """Raises IdentityError. What is in a syntax that we do not know is read as most are, for the refusal's UIDs."""
        syntax = self._syntax if self._syntax in supported_transfer_syntaxes() else ExplicitVRLittleEndian
        with file.read_dataset() as stream:
            return read_identity(stream, syntax, self._receiver.max_inflated_bytes)

    def _entered(self, file: IncomingFile, identity: Identity) -> Arrival:
        """Sync the file and enter it. Raises OSError or CatalogError."""
        receiver = self._receiver
        origin = Origin(self._syntax, self._source, self._address)
        arrival = keep(file, identity, origin, receiver.spool, receiver.comparison, receiver._commit)
        self._file = None
        node = Node(self._source, self._address)
        study, sop_class = identity.study_instance_uid, identity.sop_class_uid
        receiver.transfers.add(node, study, sop_class, HELD[arrival], identity.patient_id)
        return arrival


def _data_set_offset(head: bytes | bytearray) -> int | None:
    """Where the data set begins (PS3.10 7.1): after prefix and file meta group. None where that is not known yet, or never."""
    if len(head) < META_START or head[128:132] != b"DICM":
        return None
    group, element, vr, length, value = META_GROUP_LENGTH.unpack_from(head, 132)
    if (group, element, vr, length) != (2, 0, b"UL", 4) or value > MAX_META_BYTES:
        return None
    return META_START + int(value)
