"""STOW-RS as a server (PS3.18 section 10.5): instances that a DICOMweb client stores with us."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from dicom_pipeline.intake.receipt import ReceivedFile, UploadResult
from dicom_pipeline.intake.receiver import FileReceipt, Receiver

FAILURE_REASONS = {
    UploadResult.CONFLICT: 0x0110,
    UploadResult.UNREADABLE: 0xC000,
    UploadResult.MISSING_UID: 0xA900,
    UploadResult.AMBIGUOUS_IDENTITY: 0xA900,
    UploadResult.UNSUPPORTED: 0x0122,
    UploadResult.TOO_LARGE: 0xA700,
    UploadResult.DISK_FULL: 0xA700,
}
"""Failure Reason (0008,1197) of what is not stored (PS3.18 table I.2-2); our own objects count as stored."""

MAX_BOUNDARY_BYTES = 256
"""RFC 2046 allows 70; Orthanc sends 73."""


class StowError(Exception):
    """A request body that is no multipart/related store request."""


def store(receiver: Receiver, chunks: Iterable[bytes], content_type: str, address: str) -> tuple[int, dict[str, Any]]:
    """HTTP status and DICOM JSON of a store request: 200 all stored, 202 some, 409 none.

    chunks: of the body, in pieces of any size. Raises StowError; the parts before the fault are stored all the same.
    """
    stored: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    for received in _received(receiver, chunks, content_type, address):
        reason = FAILURE_REASONS.get(received.result)
        (stored if reason is None else failed).append(_reference(received, reason))
    answer = {}
    if stored:
        answer["00081199"] = {"vr": "SQ", "Value": stored}
    if failed:
        answer["00081198"] = {"vr": "SQ", "Value": failed}
    return (200 if not failed else 202 if stored else 409), answer


def _received(receiver: Receiver, chunks: Iterable[bytes], content_type: str, address: str) -> Iterator[ReceivedFile]:
    """What became of each part, as soon as it has ended."""
    parts = _Parts(receiver, address)
    parser = MultipartParser(boundary_of(content_type), parts.callbacks())
    try:
        for chunk in chunks:
            parser.write(chunk)
            yield from parts.finished()
    except MultipartParseError as error:
        raise StowError("the body is not multipart/related as its boundary says") from error
    finally:
        parts.abort()
    if not parts.complete:
        raise StowError("the body ends within a part" if parts.begun else "the body has no part")


def boundary_of(content_type: str) -> bytes:
    """The boundary of a multipart/related body (RFC 2046 5.1). Raises StowError."""
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if kind.lower() != b"multipart/related" or not 1 <= len(boundary) <= MAX_BOUNDARY_BYTES:
        raise StowError("expected Content-Type: multipart/related; type=application/dicom; boundary=...")
    return boundary


class _Parts:
    """Receipts for the parts of a body, as python-multipart's parser finds them. Headers of parts are not looked at."""

    def __init__(self, receiver: Receiver, address: str) -> None:
        self._receiver = receiver
        self._address = address
        self._receipt: FileReceipt | None = None
        self._finished: list[ReceivedFile] = []
        self.begun = False
        self.complete = False

    def callbacks(self) -> Any:
        """By the names of python-multipart."""
        return {
            "on_part_begin": self._begin,
            "on_part_data": lambda data, start, end: self._data(data[start:end]),
            "on_part_end": self._end,
            "on_end": self._complete,
        }

    def finished(self) -> list[ReceivedFile]:
        """What has ended since the last call."""
        finished, self._finished = self._finished, []
        return finished

    def abort(self) -> None:
        """Discard a part that has not ended."""
        if self._receipt is not None:
            self._receipt.abort()

    def _begin(self) -> None:
        self.begun = True
        self._receipt = self._receiver.begin(source="STOW", address=self._address)

    def _data(self, data: bytes) -> None:
        if self._receipt is not None:
            self._receipt.write(data)

    def _end(self) -> None:
        receipt, self._receipt = self._receipt, None
        if receipt is not None:
            self._finished.append(receipt.finish())

    def _complete(self) -> None:
        self.complete = True


def _reference(received: ReceivedFile, reason: int | None) -> dict[str, Any]:
    reference = {"00081155": {"vr": "UI", "Value": [received.sop_instance_uid] if received.sop_instance_uid else []}}
    if received.sop_class_uid:
        reference["00081150"] = {"vr": "UI", "Value": [received.sop_class_uid]}
    return reference if reason is None else {**reference, "00081197": {"vr": "US", "Value": [reason]}}
