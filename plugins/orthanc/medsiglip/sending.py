"""Sends a study: what the pipeline lacks of it, over HTTP or by a C-STORE job of Orthanc's."""

from __future__ import annotations

import collections
import hashlib
import json
import time
from collections.abc import Callable, Iterable
from typing import Any

import orthanc

from medsiglip.configuration import Configuration
from medsiglip.orthanc_rest import get_bytes, get_json
from medsiglip.pipeline_client import PipelineClient, PipelineError
from medsiglip.study_content import StudyContent
from medsiglip.study_queue import QueuedStudy, StudyQueue
from medsiglip.study_state import ResendLater, RetryLater, StudyStates

MAX_TRANSFERS = 4
"""C-STORE jobs after which what is missing counts as refused, where part of the study has arrived."""

MAX_TRANSFERS_OF_NOTHING = 16
"""The same where nothing has arrived (in three quarters of an hour): the peer may be down."""

RUNNING = ("Pending", "Running", "Paused", "Retry")
"""States of an Orthanc job that has not ended."""

NOT_READABLE = "deleted in Orthanc or not readable there"


class Sender:
    """Sends studies. stopping: says whether Orthanc is stopping."""

    def __init__(
        self,
        configuration: Configuration,
        queue: StudyQueue,
        states: StudyStates,
        client: PipelineClient,
        stopping: Callable[[], bool],
    ) -> None:
        self._configuration = configuration
        self._queue = queue
        self._states = states
        self._client = client
        self._stopping = stopping

    def examine(self, row: QueuedStudy) -> None:
        """Send what the pipeline lacks; where a person asked and it lacks nothing, ask for another revision.

        Raises NotInOrthanc, PipelineError, OrthancException and RetryLater.
        """
        content = StudyContent(row.study)
        instances = content.instances(content.matching(self._configuration))
        if not instances:
            self._skip(row, "no series matches the rules" if content.series else "the study has only reports")
            return
        digest = hashlib.sha256("\n".join(sorted(instances)).encode()).hexdigest()
        if digest == row.digest and not row.force:
            self._queue.update(row.study, time.time())  # only reports, or series that no rule selects, are new
            return
        known = self.stored_instances(content.uid)
        stored = set(known or ())
        missing = [instances[uid] for uid in sorted(instances) if uid not in stored]
        if digest == row.digest and len(stored) >= row.expected:
            missing = []  # what the pipeline lacks was refused before
        values: dict[str, Any] = {"uid": content.uid, "digest": digest, "expected": len(stored | set(instances))}
        values |= {"sent_at": time.time(), "reports": len(content.reports()), "transfer": ""}
        if not missing:
            if row.force:
                self._client.process(content.uid)
            self._sent(row, {}, values)
        elif self._configuration.send == "DICOM":
            self._send_by_dicom(row, missing, values, permissive=known is not None)
        else:
            self._send_by_http(row, missing, instances.values(), values)

    def _skip(self, row: QueuedStudy, reason: str) -> None:
        """Nothing is to be sent now. What was sent of the study before is followed to its end."""
        if row.digest:
            self._queue.update(row.study, time.time())
        else:
            self._states.set(row.study, "not-chosen", None, message=reason)

    def _send_by_dicom(self, row: QueuedStudy, missing: list[str], values: dict[str, Any], permissive: bool) -> None:
        """Start a C-STORE job.

        permissive: the job goes on after a refusal. Where the pipeline cannot be asked what has arrived, the first refusal
        must end the job, or the rest would be lost unnoticed.
        """
        self._states.show(row.study, "sending")
        if row.transfers % 2:
            missing.reverse()  # a job that ends at what is refused sends what is on the other side of it
        self.announce(values["uid"], values["expected"])
        order = {"Resources": missing, "Asynchronous": True, "Permissive": permissive}
        answer = orthanc.RestApiPost(f"/modalities/{self._configuration.modality}/store", json.dumps(order).encode())
        values["transfer"] = json.loads(answer)["ID"]
        self._states.set(row.study, "sending", time.time() + 0.5, message="", **values)

    def _send_by_http(
        self, row: QueuedStudy, missing: list[str], instances: Iterable[str], values: dict[str, Any]
    ) -> None:
        self._states.show(row.study, "sending")
        self.announce(values["uid"], values["expected"])
        refused = self._upload(missing)
        if refused is None:
            return  # Orthanc is stopping; the study is still marked as being examined, so the next start examines it
        if refused[NOT_READABLE] and storage_is_away(row.study, instances):
            raise RetryLater("Orthanc can read none of this study's files; is its storage there?")
        self._sent(row, refused, values)

    def _upload(self, instances: list[str]) -> collections.Counter[str] | None:
        """Send instances over HTTP. Reason -> count of what was not stored; None where Orthanc is stopping."""
        refused: collections.Counter[str] = collections.Counter()
        for instance in instances:
            if self._stopping():
                return None
            content = get_bytes(f"/instances/{instance}/file")
            reason = NOT_READABLE if content is None else self._client.upload(content)
            if reason:
                refused[reason] += 1
        return refused

    def stored_instances(self, uid: str) -> list[str] | None:
        """What the pipeline has stored of a study; None with DICOM where the pipeline cannot be asked. Raises PipelineError."""
        if not self._client.url:
            return None
        try:
            return self._client.stored_instances(uid)
        except PipelineError as error:
            if error.status == 0 and self._configuration.send == "DICOM":
                return None
            raise

    def announce(self, uid: str, count: int) -> None:
        """Tell the pipeline how many instances will come. With DICOM this only saves waiting, so it may fail."""
        if not self._client.url:
            return
        try:
            self._client.announce(uid, count)
        except PipelineError:
            if self._configuration.send == "REST":
                raise

    def _sent(self, row: QueuedStudy, refused: dict[str, int], values: dict[str, Any]) -> None:
        """All is sent: subtract what was refused (reason -> count) from the announced count, then follow the study."""
        values = {**values, "transfer": "", "attempts": 0, "transfers": 0}
        lost = sum(refused.values())
        message = ", ".join(f"{count} x {reason}" for reason, count in sorted(refused.items()))
        if lost and lost >= values["expected"]:
            values["digest"] = ""
            self._states.set(row.study, "failed", None, message=f"the pipeline stored no instance: {message}", **values)
            return
        if lost:
            values["expected"] -= lost
            self.announce(values["uid"], values["expected"])
            message = f"not stored: {message}"
        self._states.set(row.study, "sent", time.time() + 0.5, message=message, **values)

    def follow_transfer(self, row: QueuedStudy) -> None:
        """Follow Orthanc's C-STORE job, which outlives a restart of Orthanc, and what has arrived of it.

        A permissive job succeeds whatever was refused: what the pipeline has stored decides where it can be asked. Raises
        NotInOrthanc, PipelineError, OrthancException and ResendLater.
        """
        job = get_json(f"/jobs/{row.transfer}")
        state = job["State"] if job else "Failure"
        if state in RUNNING:
            self._queue.update(row.study, time.time() + 1.0)
            return
        content, stored = StudyContent(row.study), self.stored_instances(row.uid)
        if stored is None:
            lost = int(job["Content"].get("FailedInstancesCount", 0)) if state == "Success" else row.expected
        else:
            lost = len(set(content.instances(content.matching(self._configuration))) - set(stored))
        most = MAX_TRANSFERS if stored else MAX_TRANSFERS_OF_NOTHING
        if not lost or (stored is not None and row.transfers + 1 >= most):
            values = {"uid": row.uid, "expected": row.expected}
            self._sent(row, {"refused over DICOM": lost} if lost else {}, values)
            return
        reason = (job or {}).get("ErrorDescription", "") if state != "Success" else f"{lost} instances did not arrive"
        message = f"C-STORE to {self._configuration.modality}: {reason or 'the job is gone'}"
        raise ResendLater(message, row.transfers + 1)


def storage_is_away(study: str, instances: Iterable[str]) -> bool:
    """Whether Orthanc holds a study of which it can read no file now."""
    readable = any(get_bytes(f"/instances/{instance}/file") is not None for instance in instances)
    return not readable and get_json(f"/studies/{study}") is not None
