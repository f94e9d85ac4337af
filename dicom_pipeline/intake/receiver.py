"""One receiver for every interface.

receipt = receiver.begin(source="HTTP", address="10.0.0.7")    # a Part 10 file; C-STORE: begin_data_set
receipt.write(chunk)                 # as often as bytes arrive; memory is one chunk
received = receipt.finish()          # file, folder and catalog are synced where it is stored
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO

from dicom_pipeline.dicom.attributes import UNPARSABLE
from dicom_pipeline.dicom.reading import read_file_meta
from dicom_pipeline.dicom.warnings import suppress_warnings
from dicom_pipeline.intake.entry import Origin
from dicom_pipeline.intake.receipt import Expected, Receipt, ReceivedFile, UploadResult
from dicom_pipeline.intake.storage import Storage

META_GROUP_LENGTH = struct.Struct("<HH2sHI")
"""(0002,0000) UL with its length and value, the first element after the prefix (PS3.10 7.1)."""

META_START = 144
MAX_META_BYTES = 1024**2


class FileReceipt:
    """A file that is coming: `write` its bytes, then `finish`; `abort` where no more come. Of one thread at a time."""

    def __init__(self, storage: Storage, source: str, address: str, size: int) -> None:
        self._storage = storage
        self._source, self._address = source[:16], address
        self._head = bytearray()
        self._receipt: Receipt | None = None
        self._refused: UploadResult | None = None
        if size > storage.max_object_bytes:
            self._refused = UploadResult.TOO_LARGE
        elif storage.disk_is_full(size):
            self._refused = UploadResult.DISK_FULL

    @property
    def refused(self) -> UploadResult | None:
        """Why the file is refused as far as it came; None while it may be stored."""
        return self._refused or (self._receipt.refused if self._receipt is not None else None)

    def write(self, part: bytes | memoryview) -> None:
        """Take the next bytes of the file. Raises OSError where the disk does; then it must be sent again."""
        if self._refused is not None:
            return
        if self._receipt is not None:
            self._receipt.write(part)
            return
        self._head += part
        offset = _data_set_offset(self._head)
        if offset is None and len(self._head) >= META_START:
            self._refuse(UploadResult.UNREADABLE)
        elif offset is not None and len(self._head) >= offset + 2:
            self._begin_data_set(offset)

    def finish(self) -> ReceivedFile:
        """What became of the file. A refusal is written down with source and address.

        Raises OSError or CatalogError; then the file does not count and must be sent again.
        """
        if self._refused is not None or self._receipt is None:
            received = ReceivedFile(self._refused or UploadResult.UNREADABLE)
        else:
            received = self._receipt.finish()
        if not received.result.in_spool:
            self._storage.refuse(self._source, self._address, received.sop_instance_uid, 0, received.result.value)
        return received

    def abort(self) -> None:
        """Discard what came, unless it is stored."""
        if self._receipt is not None:
            self._receipt.abort()

    def _begin_data_set(self, offset: int) -> None:
        """The file meta information is whole: what follows goes to the disk."""
        head = bytes(self._head)
        self._head.clear()
        try:
            with suppress_warnings():
                syntax, _ = read_file_meta(BytesIO(head))
        except UNPARSABLE:
            syntax = ""
        if head[offset : offset + 2] == b"\x02\x00" or not syntax:
            self._refuse(UploadResult.UNREADABLE)
            return
        # a preamble may hold a program; ours is empty
        header = bytes(128) + head[128:offset]
        self._receipt = Receipt(self._storage, Origin(syntax, self._source, self._address), header)
        self._receipt.write(head[offset:])

    def _refuse(self, result: UploadResult) -> None:
        self._refused = result
        self._head.clear()


@dataclass(frozen=True, slots=True)
class Receiver(Storage):
    """Begins receipts over a storage."""

    def begin(self, *, source: str, address: str, size: int = 0) -> FileReceipt:
        """A Part 10 file that is coming. source: at most 16 characters. size: in bytes, where it is known before."""
        return FileReceipt(self, source, address, size)

    def begin_data_set(self, origin: Origin, header: bytes, expected: Expected | None = None) -> Receipt:
        """A data set that is coming without a file's header, which is given. Raises OSError. expected: what it must be."""
        return Receipt(self, origin, header, expected)

    def receive(self, content: bytes, *, source: str, address: str) -> ReceivedFile:
        """A whole file at once. Raises as FileReceipt.finish."""
        receipt = self.begin(source=source, address=address, size=len(content))
        try:
            receipt.write(content)
            return receipt.finish()
        finally:
            receipt.abort()


def _data_set_offset(head: bytes | bytearray) -> int | None:
    """Where the data set begins (PS3.10 7.1): after prefix and file meta group. None where that is not known yet, or never."""
    if len(head) < META_START or head[128:132] != b"DICM":
        return None
    group, element, vr, length, value = META_GROUP_LENGTH.unpack_from(head, 132)
    if (group, element, vr, length) != (2, 0, b"UL", 4) or value > MAX_META_BYTES:
        return None
    return META_START + int(value)
