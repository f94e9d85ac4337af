"""C-STORE statuses and what they mean for a delivery (PS3.4 table B.2-1, PS3.7 annex C)."""

from __future__ import annotations

from dicom_pipeline.delivery.destination import Attempt, Ending

WARNINGS = {
    0xB000: "coercion of data elements",
    0xB006: "elements discarded",
    0xB007: "data set does not match SOP class",
}


def attempt_of(status: int | None, comment: str = "") -> Attempt:
    """The attempt that a C-STORE status means; None is a peer that did not answer."""
    if status is None:
        return Attempt(Ending.RETRY, message="the peer did not answer")
    code = f"0x{status:04X}"
    if status == 0x0000:
        return Attempt(Ending.DELIVERED, code)
    if status in WARNINGS or 0xB000 <= status <= 0xBFFF:
        return Attempt(Ending.DELIVERED, code, f"warning: {comment or WARNINGS.get(status, 'unnamed')}")
    if 0xA700 <= status <= 0xA7FF or status in (0x0110, 0x0213):
        return Attempt(Ending.RETRY, code, comment or "the peer is out of resources")
    return Attempt(Ending.SET_ASIDE, code, comment or "the peer refuses this object")
