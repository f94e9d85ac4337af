"""One data set on its way in, by whatever interface: limited, read for its identity, stored and entered."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pydicom.uid import ExplicitVRLittleEndian

from dicom_pipeline.acceptor.admission import supported_transfer_syntaxes
from dicom_pipeline.dicom.identity import Identity, IdentityError, read_identity
from dicom_pipeline.dicom.uids import is_valid_uid
from dicom_pipeline.intake.entry import HELD, Origin, keep
from dicom_pipeline.intake.spool import IncomingFile
from dicom_pipeline.intake.storage import Storage


class UploadResult(StrEnum):
    """What became of an instance. NEW, DUPLICATE and CONFLICT are in the spool; the rest are refused and count nowhere."""

    NEW = "new"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    OWN_OBJECT = "own-object"
    UNREADABLE = "unreadable"
    MISSING_UID = "missing-uid"
    AMBIGUOUS_IDENTITY = "ambiguous-identity"
    SOP_INSTANCE_MISMATCH = "sop-instance-mismatch"
    SOP_CLASS_MISMATCH = "sop-class-mismatch"
    UNSUPPORTED = "unsupported-transfer-syntax"
    TOO_LARGE = "too-large"
    DISK_FULL = "disk-full"

    @property
    def stored(self) -> bool:
        """Whether the study now holds this instance."""
        return self in (UploadResult.NEW, UploadResult.DUPLICATE)

    @property
    def in_spool(self) -> bool:
        """Whether it was stored or quarantined: nothing was refused."""
        return self.stored or self is UploadResult.CONFLICT

    @property
    def retryable(self) -> bool:
        """Whether the same instance may be accepted at another time."""
        return self is UploadResult.DISK_FULL


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """What happened to one instance. The UIDs are empty where they could not be read."""

    result: UploadResult
    sop_instance_uid: str = ""
    study_instance_uid: str = ""
    sop_class_uid: str = ""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a request says that its data set is."""

    sop_class_uid: str
    sop_instance_uid: str


class Receipt:
    """A data set that is coming: `write` its bytes, then `finish`; `abort` where no more come. Of one thread at a time.

    What is refused in between is only counted from there on; `finish` says why.
    """

    def __init__(self, storage: Storage, origin: Origin, header: bytes, expected: Expected | None = None) -> None:
        self._storage = storage
        self._origin = origin
        self._expected = expected
        self._bytes = 0
        self._file: IncomingFile | None = None
        self.refused: UploadResult | None = None
        if storage.disk_is_full():
            self.refused = UploadResult.DISK_FULL
        else:
            self._file = storage.spool.receive(header)

    def write(self, part: bytes | memoryview) -> None:
        """Take the next bytes. Raises OSError where the disk does; then the instance must be sent again."""
        self._bytes += len(part)
        if self.refused is None and self._bytes > self._storage.max_object_bytes:
            self.refused = UploadResult.TOO_LARGE
            self.abort()
        if self._file is not None:
            self._file.write(part)

    def finish(self) -> ReceivedFile:
        """What became of the instance; where it is stored, file, folder and catalog are synced.

        Raises OSError or CatalogError; then it does not count and must be sent again.
        """
        try:
            return self._finished()
        finally:
            self.abort()

    def abort(self) -> None:
        """Discard what came, unless it is stored."""
        file, self._file = self._file, None
        if file is not None:
            file.drop()

    def _finished(self) -> ReceivedFile:
        if self.refused is not None or self._file is None:
            return ReceivedFile(self.refused or UploadResult.UNREADABLE)
        try:
            identity = self._identity(self._file)
        except IdentityError as error:
            return ReceivedFile(UploadResult(str(error)))
        result = self._objection(identity) or self._entered(self._file, identity)
        if not identity.whole:
            return ReceivedFile(result)
        return ReceivedFile(result, identity.sop_instance_uid, identity.study_instance_uid, identity.sop_class_uid)

    def _identity(self, file: IncomingFile) -> Identity:
        """Raises IdentityError. What is in a syntax that we do not know is read as most are, for the refusal's UIDs."""
        known = self._origin.transfer_syntax_uid in supported_transfer_syntaxes()
        syntax = self._origin.transfer_syntax_uid if known else str(ExplicitVRLittleEndian)
        with file.read_dataset() as stream:
            return read_identity(stream, syntax, self._storage.max_inflated_bytes)

    def _objection(self, identity: Identity) -> UploadResult | None:
        """Why an instance is not stored; None where it is."""
        expected = self._expected
        if expected is not None and identity.sop_instance_uid != expected.sop_instance_uid:
            return UploadResult.SOP_INSTANCE_MISMATCH
        if expected is not None and identity.sop_class_uid != expected.sop_class_uid:
            return UploadResult.SOP_CLASS_MISMATCH
        if not identity.whole or not is_valid_uid(identity.sop_class_uid):
            return UploadResult.MISSING_UID
        if identity.own:
            return UploadResult.OWN_OBJECT
        if self._origin.transfer_syntax_uid not in supported_transfer_syntaxes():
            return UploadResult.UNSUPPORTED
        return UploadResult.DISK_FULL if self._storage.disk_is_full() else None

    def _entered(self, file: IncomingFile, identity: Identity) -> UploadResult:
        """Sync the file and enter it. Raises OSError or CatalogError."""
        storage, origin = self._storage, self._origin
        arrival = keep(file, identity, origin, storage.spool, storage.comparison, storage.commit)
        self._file = None
        study, sop_class = identity.study_instance_uid, identity.sop_class_uid
        storage.transfers.add(origin.node, study, sop_class, HELD[arrival], identity.patient_id)
        return UploadResult(arrival.value)
