"""Storage Commitment Push Model as SCU (PS3.4 annex J): N-ACTION out, and the result where it comes on the same association.

A peer may also answer on an association of its own, hours later: the listener takes that (intake/commitment_results.py).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from pydicom import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pynetdicom import evt
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]

from dicom_pipeline.catalog.commitment_requests import answers_of

WELL_KNOWN_INSTANCE = "1.2.840.10008.1.20.1.1"
ANSWER_SECONDS, BRIEF_SECONDS = 2.0, 0.1
"""How long the association stays open for a peer that answers on it at once; brief: for one that did not so far."""


class CommitmentAction:
    """One question about one object. result: SOP Instance UID -> failure reason (None: committed), once it has come."""

    def __init__(self, transaction_uid: str, sop_class_uid: str, sop_instance_uid: str) -> None:
        self.transaction_uid = transaction_uid
        self.result: Mapping[str, int | None] | None = None
        self._come = threading.Event()
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class_uid, sop_instance_uid
        self._request = Dataset()
        self._request.TransactionUID = transaction_uid
        self._request.ReferencedSOPSequence = DicomSequence([item])

    @property
    def handlers(self) -> list[Any]:
        """Event handlers for the association."""
        return [(evt.EVT_N_EVENT_REPORT, self._take)]

    def ask(self, association: Any, answer_seconds: float) -> str:
        """Ask on an association that has the context; "" where the peer took the question, else what is wrong."""
        try:
            answer, _ = association.send_n_action(self._request, 1, StorageCommitmentPushModel, WELL_KNOWN_INSTANCE)
        except (ValueError, RuntimeError) as error:
            return f"Storage Commitment failed: {error}"
        status = answer.get("Status")
        if status is None:
            return "it did not answer the Storage Commitment request"
        if status != 0x0000:
            return f"Storage Commitment was answered 0x{status:04X} {answer.get('ErrorComment', '')}".strip()
        self._come.wait(answer_seconds)
        return ""

    def _take(self, event: Any) -> tuple[int, None]:
        dataset = event.event_information
        if str(dataset.get("TransactionUID", "")) != self.transaction_uid:
            return 0x0110, None
        self.result = answers_of(dataset)
        self._come.set()
        return 0x0000, None
