"""Storage Commitment of what we delivered: which destination is asked about which report, and what it said.

The states of a request: domain.life.CommitmentState. After MAX_FAILURES answers that a report is not committed, its
delivery is set aside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dicom_pipeline.backoff import backoff_seconds
from dicom_pipeline.catalog.database import MAX_AHEAD_SECONDS, Catalog, Run
from dicom_pipeline.domain.life import CommitmentState, sources

PROCESSING_FAILURE = 0x0110
REPEAT_SECONDS = 60.0
"""Wait before a report is sent again that its destination did not commit; doubles each time."""

MAX_FAILURES = 5


@dataclass(frozen=True, slots=True)
class CommitmentRequest:
    """A commitment that a destination is to be asked for. sop_*: of the object as it was sent."""

    transaction_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    attempts: int
    requested_at: float


def answers_of(event: Any) -> dict[str, int | None]:
    """SOP Instance UID -> failure reason (None: committed) of an N-EVENT-REPORT's data set (PS3.4 table J.3-2)."""
    answers: dict[str, int | None] = {}
    for item in event.get("ReferencedSOPSequence") or ():
        answers[str(item.ReferencedSOPInstanceUID)] = None
    for item in event.get("FailedSOPSequence") or ():
        answers[str(item.ReferencedSOPInstanceUID)] = int(item.get("FailureReason", PROCESSING_FAILURE))
    return answers


def due_request(catalog: Catalog, destination: str, now: float) -> CommitmentRequest | None:
    """The commitment that a destination is to be asked for next, None without one.

    A clock that was set back counts as in due_delivery.
    """
    rows = catalog.read("due_commitment_request", destination=destination, now=now, furthest=MAX_AHEAD_SECONDS)
    return CommitmentRequest(**rows[0]) if rows else None


def postpone_request(catalog: Catalog, transaction_uid: str, *, next_at: float, message: str, given_up: bool) -> None:
    """Enter that it was asked for, or could not be, and when to ask again where no answer comes."""
    state = CommitmentState.GIVEN_UP if given_up else CommitmentState.PENDING
    with catalog.transaction() as run:
        run.move(
            "postpone_commitment_request",
            state,
            transaction_uid=transaction_uid,
            next_at=next_at,
            message=message[:500],
        )


def enter_result(run: Run, transaction_uid: str, failures: Mapping[str, int | None], at: float) -> bool:
    """Enter what a destination answered: SOP Instance UID -> failure reason, None where it is committed.

    A committed report is verified. One that is not is sent again, later each time; after MAX_FAILURES such answers
    the sender sets it aside for a person. What was answered already stays: a peer that did not get our answer says it
    again. False where nothing like it was asked.
    """
    asked = run.row("commitment_request", transaction_uid=transaction_uid)
    if asked is None or asked["sop_instance_uid"] not in failures:
        return False
    if asked["state"] not in sources(CommitmentState.COMMITTED):
        return True
    failure = failures[asked["sop_instance_uid"]]
    delivery = {"report_uid": asked["report_uid"], "destination": asked["destination"]}
    answer = {"transaction_uid": transaction_uid, "failures": asked["failures"] + (failure is not None)}
    if failure is None:
        run.move("finish_commitment_request", CommitmentState.COMMITTED, message="", **answer)
        run.execute("verify_delivery", **delivery)
        return True
    wait = backoff_seconds(asked["failures"], REPEAT_SECONDS, MAX_AHEAD_SECONDS)
    message = f"stored, but not committed: 0x{failure:04X}"
    run.move("finish_commitment_request", CommitmentState.FAILED, message=message, **answer)
    run.execute(
        "repeat_delivery",
        at=at,
        next_at=at if answer["failures"] >= MAX_FAILURES else at + wait,
        message=f"{message} ({answer['failures']} times)",
        **delivery,
    )
    return True


def record_result(catalog: Catalog, transaction_uid: str, failures: Mapping[str, int | None], at: float) -> bool:
    """As enter_result, in a transaction of its own."""
    with catalog.transaction() as run:
        return enter_result(run, transaction_uid, failures, at)
