"""Follows a study in the pipeline until its report is in Orthanc or will never come."""

from __future__ import annotations

import time
from typing import Any

import orthanc

from medsiglip.constants import STATES
from medsiglip.pipeline_client import PipelineClient
from medsiglip.study_content import StudyContent
from medsiglip.study_queue import MAX_WAIT_SECONDS, QueuedStudy, StudyQueue
from medsiglip.study_state import StudyStates

MIN_FOLLOW_SECONDS = 2.0
GIVE_UP_SECONDS = 7 * 24 * 3600.0


class Follower:
    """Follows studies that were sent."""

    def __init__(self, queue: StudyQueue, states: StudyStates, client: PipelineClient) -> None:
        self._queue = queue
        self._states = states
        self._client = client

    def follow(self, row: QueuedStudy) -> None:
        """Ask the pipeline and look for the report. Raises NotInOrthanc, PipelineError and OrthancException."""
        known = self._client.study(row.uid) if self._client.url else None
        reports = StudyContent(
            row.study
        ).reports()  # after the pipeline's answer: what it has delivered by then is seen
        state, message, final = self._progress(known, reports, row)
        age = time.time() - row.sent_at
        due: float | None = time.time() + min(MAX_WAIT_SECONDS, max(MIN_FOLLOW_SECONDS, age / 20))
        if final:
            due = None
        elif age > GIVE_UP_SECONDS:
            due, message = None, f"no report after {GIVE_UP_SECONDS / 86400:.0f} days; Process now follows it again"
            orthanc.LogWarning(f"MedSigLIP: study {row.study[:8]}: {message}")
        if (state, message) == (row.state, row.message):
            self._queue.update(row.study, due, attempts=0)
        else:
            self._states.set(row.study, state, due, message=message, attempts=0)

    def _progress(
        self, known: dict[str, Any] | None, reports: list[dict[str, Any]], row: QueuedStudy
    ) -> tuple[str, str, bool]:
        """State, message, and whether the state is final. known: what the pipeline knows of the study."""
        if not self._client.url:
            return ("reported", "", True) if len(reports) > row.reports else (row.state, row.message, False)
        if known is None:
            return "failed", "the pipeline does not know this study; do Pipeline and Modality name one service?", True
        last = (known["revisions"] or [{}])[-1]
        state = STATES.get(known["state"], known["state"])
        if state not in STATES.values():
            return state, last.get("message", "") or row.message, True
        if state != "reporting":
            return state, row.message, False
        if {report["sop_instance_uid"] for report in reports} & set((last["report"] or "").split(",")):
            return "reported", row.message, True
        message, final = delivery_problem(last["deliveries"], row.message)
        return state, message, final


def delivery_problem(deliveries: list[dict[str, Any]], otherwise: str) -> tuple[str, bool]:
    """Why a finished report is not in Orthanc (`otherwise` while it is on its way), and whether it will never come."""
    states = {delivery["state"] for delivery in deliveries}
    if not deliveries:
        return "the report is made, but the pipeline has no destination; docs/orthanc.md names Orthanc as one", True
    if states == {"delivered"}:
        return "the report was delivered, but Orthanc does not hold it; Process now makes another", True
    if "pending" not in states:
        why = next(delivery["message"] for delivery in deliveries if delivery["state"] != "delivered")
        return f"the report was refused and set aside: {why}; `dicom-pipeline retry` sends it again", False
    return otherwise, False
