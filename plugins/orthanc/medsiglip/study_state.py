"""The state of a study: in the queue, and in the study's metadata, where any client of Orthanc can read it."""

from __future__ import annotations

import json
import time
from typing import Any

import orthanc

from medsiglip.study_queue import StudyQueue


class RetryLater(Exception):  # noqa: N818 - a step that must be taken again, not an error
    """The current step with a study must be taken again later."""


class ResendLater(Exception):  # noqa: N818
    """A C-STORE job ended with instances missing: send them again later. transfers: jobs that ended so."""

    def __init__(self, message: str, transfers: int) -> None:
        super().__init__(message)
        self.transfers = transfers


class StudyStates:
    """Writes states. metadata: number of the study's metadata that shows the state."""

    def __init__(self, queue: StudyQueue, metadata: int) -> None:
        self._queue = queue
        self._metadata = metadata

    def set(self, study: str, state: str, due: float | None, **values: Any) -> None:
        """Write the state and other columns to the queue, then show the state."""
        self._queue.update(study, due, state=state, **values)
        self.show(study)

    def show(self, study: str, state: str = "") -> None:
        """Write the state in the queue, or another one, to the study's metadata."""
        row = self._queue.get(study)
        if row is None:
            return
        value = {"state": state or row.state, "instances": row.expected, "message": row.message}
        value["at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        try:
            orthanc.RestApiPut(f"/studies/{study}/metadata/{self._metadata}", json.dumps(value).encode())
        except orthanc.OrthancException as error:
            orthanc.LogWarning(f"MedSigLIP: the state of study {study[:8]} cannot be shown: {error}")
