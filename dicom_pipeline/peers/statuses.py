"""C-STORE statuses and what they mean for a delivery (PS3.4 table B.2-1, PS3.7 annex C)."""

from __future__ import annotations

from dataclasses import replace

from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom.status import GENERAL_STATUS, STATUS_WARNING, STORAGE_SERVICE_CLASS_STATUS, code_to_category

from dicom_pipeline.peers.peer import Attempt, DeliveryOutcome

WARNINGS = {
    0xB000: "coercion of data elements",
    0xB006: "elements discarded",
    0xB007: "data set does not match SOP class",
}
DUPLICATE, PROCESSING_FAILURE, SOP_CLASS_NOT_SUPPORTED = 0x0111, 0x0110, 0x0122


def attempt_of(status: int | None, comment: str = "") -> Attempt:
    """The attempt that a C-STORE status means; None is a peer that did not answer."""
    if status is None:
        return Attempt(DeliveryOutcome.RETRY, message="the peer did not answer")
    code = f"0x{status:04X}"
    if status == 0x0000:
        return Attempt(DeliveryOutcome.DELIVERED, code)
    if code_to_category(status) == STATUS_WARNING:  # 0001, 0107, 0116 and Bxxx (PS3.7 C.1.3)
        words = comment or WARNINGS.get(status) or _meaning(status) or "unnamed"
        return Attempt(DeliveryOutcome.DELIVERED, code, f"warning: {words}")
    if status == DUPLICATE:  # after an answer that was lost; the UID is named by the content, so it is the same object
        return Attempt(
            DeliveryOutcome.DELIVERED, code, f"warning: {comment or 'the peer has an object of this UID already'}"
        )
    if 0xA700 <= status <= 0xA7FF or status in (PROCESSING_FAILURE, 0x0213):
        failure = "the peer failed to process it" if status == PROCESSING_FAILURE else "the peer is out of resources"
        return Attempt(DeliveryOutcome.RETRY, code, comment or failure)
    meaning = _meaning(status)
    return Attempt(
        DeliveryOutcome.SET_ASIDE, code, comment or f"the peer refuses this object{f' ({meaning})' if meaning else ''}"
    )


def with_class(attempt: Attempt, sent: Dataset) -> Attempt:
    """A delivered attempt that says of which simpler class and UID the object is that arrived."""
    if attempt.outcome is not DeliveryOutcome.DELIVERED:
        return attempt
    note = f"as {UID(sent.SOPClassUID).name}, UID {sent.SOPInstanceUID}"
    return replace(attempt, message=f"{attempt.message} {note}".strip())


def _meaning(status: int) -> str:
    """What the standard calls a status, "" where it has no name."""
    return (STORAGE_SERVICE_CLASS_STATUS.get(status) or GENERAL_STATUS.get(status) or ("", ""))[1]
