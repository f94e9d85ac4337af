"""Instances that come as whole Part 10 files, over HTTP or fetched from an Orthanc: the same promises as C-STORE."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from io import BytesIO

from pydicom import Dataset, dcmread

from dicom_pipeline.acceptor.admission import supported_transfer_syntaxes
from dicom_pipeline.audit import Node, unrecorded
from dicom_pipeline.audit.transfers import ThreadTransfers
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.arrivals import Arrival, Known, Received, record_refusal
from dicom_pipeline.catalog.database import Run
from dicom_pipeline.dicom.attributes import UNPARSABLE, read_value
from dicom_pipeline.dicom.own_objects import is_own_object
from dicom_pipeline.dicom.uids import is_valid_uid
from dicom_pipeline.dicom.warnings import quiet
from dicom_pipeline.intake.comparison import Comparison
from dicom_pipeline.intake.entry import HELD, enter
from dicom_pipeline.intake.spool import Spool, Stored, end_claim

META_GROUP_LENGTH = struct.Struct("<HH2sHI")
"""(0002,0000) UL with its length and value, the first element after the prefix (PS3.10 7.1)."""


class Taken(StrEnum):
    """What became of a file. NEW, DUPLICATE and CONFLICT are in the spool; the rest are refused and count nowhere."""

    NEW = "new"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    OWN_OBJECT = "own-object"
    UNREADABLE = "unreadable"
    MISSING_UID = "missing-uid"
    UNSUPPORTED = "unsupported-transfer-syntax"
    TOO_LARGE = "too-large"
    DISK_FULL = "disk-full"

    @property
    def kept(self) -> bool:
        """Whether the study now holds this instance."""
        return self in (Taken.NEW, Taken.DUPLICATE)

    @property
    def may_succeed_later(self) -> bool:
        """Whether the same file may be taken at another time."""
        return self is Taken.DISK_FULL


@dataclass(frozen=True, slots=True)
class Upload:
    """What happened to one file. The UIDs are empty where they could not be read."""

    taken: Taken
    sop_instance_uid: str = ""
    study_instance_uid: str = ""
    sop_class_uid: str = ""


@dataclass(frozen=True, slots=True)
class Uploads:
    """Takes files into a spool. max_object_bytes, min_free_bytes: as of the listener.

    transfers: told of each instance; who calls `take` flushes them when its request is whole.
    """

    catalog: Catalog
    spool: Spool
    max_object_bytes: int
    min_free_bytes: int
    transfers: ThreadTransfers = field(default_factory=lambda: ThreadTransfers(unrecorded))
    comparison: Comparison = field(default_factory=Comparison)

    def take(self, content: bytes, *, source: str, address: str) -> Upload:
        """Store a file; what is not NEW or DUPLICATE is written down with source (at most 16 characters) and address.

        Raises OSError or CatalogError; then the file does not count and must be sent again.
        """
        refused = self._refused_for_size(len(content))
        if refused is not None:
            self._write_down(refused, Upload(refused), source, address)
            return Upload(refused)
        upload, dataset, offset = _read(content)
        if upload.taken is not Taken.NEW:
            self._write_down(upload.taken, upload, source, address)
            return upload
        header = bytes(128) + content[128:offset]  # a preamble may hold a program; ours is empty
        stored = self.spool.store(upload.sop_instance_uid, header, content[offset:])
        try:
            received = _received(upload, dataset, stored, source, address)
            arrival = enter(received, stored, self.spool, self.comparison, self._commit)
        finally:
            end_claim(stored)
        node, patient = Node(source, address), str(dataset.get("PatientID", "") or "")
        self.transfers.add(node, upload.study_instance_uid, upload.sop_class_uid, HELD[arrival], patient)
        return replace(upload, taken=Taken(arrival.value))

    def _commit(self, work: Callable[[Run], Arrival | tuple[Known, ...]]) -> Arrival | tuple[Known, ...]:
        with self.catalog.transaction() as run:
            return work(run)

    def _refused_for_size(self, size: int) -> Taken | None:
        if size > self.max_object_bytes:
            return Taken.TOO_LARGE
        return Taken.DISK_FULL if self.spool.free_bytes() < self.min_free_bytes + size else None

    def _write_down(self, taken: Taken, upload: Upload, source: str, address: str) -> None:
        record_refusal(
            self.catalog,
            at=time.time(),
            status=0,
            reason=taken.value,
            sop_instance_uid=upload.sop_instance_uid[:64],
            calling_ae=source[:16],
            address=address,
        )


def _read(content: bytes) -> tuple[Upload, Dataset, int]:
    """The identity of a file, its header, and where its data set begins. NEW where it can be stored."""
    wanted = ["SOPInstanceUID", "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "ContributingEquipmentSequence"]
    wanted += ["Modality", "SeriesDescription"]
    wanted.append("PatientID")
    offset = _data_set_offset(content)
    try:
        with quiet():
            dataset = dcmread(BytesIO(content), stop_before_pixels=True, specific_tags=wanted)
            uids = [str(dataset.get(name, "")) for name in wanted[:4]]
            own = is_own_object(dataset)
            syntax = str(dataset.file_meta.get("TransferSyntaxUID", ""))
    except UNPARSABLE:
        return Upload(Taken.UNREADABLE), Dataset(), 0
    sop, sop_class, study, _ = uids
    if offset is None:
        return Upload(Taken.UNREADABLE), dataset, 0
    if not all(is_valid_uid(uid) for uid in uids):
        return Upload(Taken.MISSING_UID), dataset, 0
    if own:
        return Upload(Taken.OWN_OBJECT, sop, study, sop_class), dataset, 0
    if syntax not in supported_transfer_syntaxes():
        return Upload(Taken.UNSUPPORTED, sop, study, sop_class), dataset, 0
    return Upload(Taken.NEW, sop, study, sop_class), dataset, offset


def _received(upload: Upload, dataset: Dataset, stored: Stored, source: str, address: str) -> Received:
    return Received(
        sop_instance_uid=upload.sop_instance_uid,
        sha256=stored.sha256,
        study_instance_uid=upload.study_instance_uid,
        series_instance_uid=str(dataset.SeriesInstanceUID),
        sop_class_uid=str(dataset.SOPClassUID),
        transfer_syntax_uid=str(dataset.file_meta.TransferSyntaxUID),
        path=stored.path,
        bytes=stored.bytes,
        fresh=stored.fresh,
        calling_ae=source[:16],
        address=address,
        token="",
        at=time.time(),
        modality=_text(dataset, "Modality"),
        series_description=_text(dataset, "SeriesDescription"),
    )


def _text(dataset: Dataset, keyword: str) -> str:
    """A value as completion rules look at it; what cannot be read is empty."""
    return str(read_value(dataset, keyword) or "")[:128].strip()


def _data_set_offset(content: bytes) -> int | None:
    """Where the data set begins (PS3.10 7.1): after prefix and file meta group. None where there is no such group."""
    if content[128:132] != b"DICM" or len(content) < 144:
        return None
    group, element, vr, length, value = META_GROUP_LENGTH.unpack_from(content, 132)
    if (group, element, vr, length) != (2, 0, b"UL", 4):
        return None
    offset = 144 + int(value)
    return offset if offset <= len(content) and content[offset : offset + 2] != b"\x02\x00" else None
