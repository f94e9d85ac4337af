"""Storage Commitment, asked of us: what was asked, what was answered, and whether the answer has arrived.

The states of an answer: domain.life.AnswerState. A superseded one stays where it promised more than the newer one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dicom_pipeline.catalog.database import MAX_AHEAD_SECONDS, Catalog, Run
from dicom_pipeline.domain.life import AnswerState


@dataclass(frozen=True, slots=True)
class CommitmentQuery:
    """A question for commitment. items: SOP Instance UID -> SOP Class UID."""

    transaction_uid: str
    items: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Pending:
    """A question whose answer has not arrived."""

    id: int
    transaction_uid: str
    calling_ae: str
    asked_at: float
    attempts: int


@dataclass(frozen=True, slots=True)
class Held:
    """An instance that is in the spool. path: relative to it."""

    sop_class_uid: str
    path: str
    sha256: str


def stored_for_commitment(catalog: Catalog, sop_instance_uid: str) -> Held | None:
    """The instance as it was first received, None where it is unknown or was cleaned up."""
    rows = catalog.read("held_instance", sop_instance_uid=sop_instance_uid)
    return Held(**rows[0]) if rows else None


def enter_commitment(
    asked: CommitmentQuery, answers: Mapping[str, int | None], calling_ae: str, address: str, at: float, next_at: float
) -> Callable[[Run], int]:
    """Work that enters a question and its answers (None: committed) and gives its id. Asked again, it is answered anew.

    What the earlier answer promised stays promised: its sender may have deleted its copies.
    """

    def work(run: Run) -> int:
        key = {"transaction_uid": asked.transaction_uid, "calling_ae": calling_ae}
        run.execute("supersede_commitment", **key)
        identifier = run.execute("add_commitment", **key, address=address, at=at, next_at=next_at)
        for uid, failure in answers.items():
            run.execute(
                "add_committed",
                commitment_id=identifier,
                sop_class_uid=asked.items[uid],
                sop_instance_uid=uid,
                failure=failure,
            )
        run.execute("forget_superseded", **key, commitment_id=identifier)
        return identifier

    return work


def due_commitments(catalog: Catalog, now: float) -> list[Pending]:
    """Questions whose answer is due; a clock that was set back counts as in due_delivery."""
    return [Pending(**row) for row in catalog.read("due_commitments", now=now, furthest=MAX_AHEAD_SECONDS)]


def commitment_items(catalog: Catalog, commitment_id: int) -> dict[str, tuple[str, int | None]]:
    """SOP Instance UID -> SOP Class UID and failure reason (None: committed)."""
    rows = catalog.read("commitment_items", commitment_id=commitment_id)
    return {row["sop_instance_uid"]: (row["sop_class_uid"], row["failure"]) for row in rows}


def finish_commitment(run: Run, commitment_id: int, state: AnswerState, message: str) -> None:
    """Enter that the answer has arrived, or cannot; what has ended before stays as it ended."""
    run.move("finish_commitment", state, commitment_id=commitment_id, message=message)


def postpone_commitment(run: Run, commitment_id: int, next_at: float, message: str) -> None:
    """Enter when the answer is tried again."""
    run.execute("postpone_commitment", commitment_id=commitment_id, next_at=next_at, message=message)
