"""STOW-RS as a server (PS3.18 section 10.5): instances that a DICOMweb client stores with us."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from dicom_pipeline.intake.receiver import Taken, Upload, Uploads

FAILURE_REASONS = {
    Taken.CONFLICT: 0x0110,
    Taken.UNREADABLE: 0xC000,
    Taken.MISSING_UID: 0xA900,
    Taken.UNSUPPORTED: 0x0122,
    Taken.TOO_LARGE: 0xA700,
    Taken.DISK_FULL: 0xA700,
}
"""Failure Reason (0008,1197) of what is not taken (PS3.18 table I.2-2); our own objects count as stored."""


def store(uploads: Uploads, body: bytes, content_type: str, address: str) -> tuple[int, dict[str, Any]]:
    """HTTP status and DICOM JSON of a store request: 200 all stored, 202 some, 409 none. ValueError for no such request."""
    stored: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    for part in parts(body, content_type):
        upload = uploads.take(part, source="STOW", address=address)
        reason = FAILURE_REASONS.get(upload.taken)
        (stored if reason is None else failed).append(_reference(upload, reason))
    answer = {}
    if stored:
        answer["00081199"] = {"vr": "SQ", "Value": stored}
    if failed:
        answer["00081198"] = {"vr": "SQ", "Value": failed}
    return (200 if not failed else 202 if stored else 409), answer


def parts(body: bytes, content_type: str) -> Iterator[bytes]:
    """The parts of a multipart/related body (RFC 2046 5.1), without their headers. Raises ValueError."""
    boundary = re.search(r'boundary="?([^";,]{1,70})"?', content_type)
    if not content_type.lower().startswith("multipart/related") or boundary is None:
        raise ValueError("expected Content-Type: multipart/related; type=application/dicom; boundary=...")
    mark = b"--" + boundary[1].strip().encode()
    begin = body.find(mark)
    if begin < 0:
        raise ValueError("the body has no part")
    begin += len(mark)
    while body[begin : begin + 2] != b"--":
        end = body.find(b"\r\n" + mark, begin)
        head = body.find(b"\r\n\r\n", begin)
        if end < 0 or not 0 <= head <= end:
            raise ValueError("the body ends within a part")
        yield body[head + 4 : end]
        begin = end + 2 + len(mark)


def _reference(upload: Upload, reason: int | None) -> dict[str, Any]:
    reference = {"00081155": {"vr": "UI", "Value": [upload.sop_instance_uid] if upload.sop_instance_uid else []}}
    if upload.sop_class_uid:
        reference["00081150"] = {"vr": "UI", "Value": [upload.sop_class_uid]}
    return reference if reason is None else {**reference, "00081197": {"vr": "US", "Value": [reason]}}
