"""The outbox: one row a report and destination, pending until it is delivered or set aside for a person."""

from __future__ import annotations

from dataclasses import dataclass

from dicom_pipeline.catalog.database import MAX_AHEAD_SECONDS, Catalog, Run
from dicom_pipeline.domain.life import DeliveryState


@dataclass(frozen=True, slots=True)
class DueDelivery:
    """A delivery whose time has come. path: of the report, relative to the spool.

    status, message: of the last attempt. not_committed: times that the destination took the report and did not commit it.
    """

    report_uid: str
    destination: str
    path: str
    sop_class_uid: str
    attempts: int
    created_at: float
    status: str = ""
    message: str = ""
    not_committed: int = 0


def due_delivery(
    catalog: Catalog, destination: str, now: float, furthest: float = MAX_AHEAD_SECONDS
) -> DueDelivery | None:
    """The delivery to a destination that has been due longest, None without one.

    What is due more than `furthest` seconds from now was planned by a clock that has been set back since: it is due too.
    """
    rows = catalog.read("due_delivery", destination=destination, now=now, furthest=furthest)
    return DueDelivery(destination=destination, **rows[0]) if rows else None


@dataclass(frozen=True, slots=True)
class Commitment:
    """A Storage Commitment to ask for. sop_*: of the object as it was sent."""

    transaction_uid: str
    sop_class_uid: str
    sop_instance_uid: str


def record_delivered(
    catalog: Catalog,
    due: DueDelivery,
    *,
    status: str,
    message: str,
    verified: bool,
    at: float,
    commitment: Commitment | None = None,
) -> None:
    """Enter that a report has arrived, and in the same transaction the commitment that the destination is asked for."""
    with catalog.transaction() as run:
        _enter(run, due, DeliveryState.DELIVERED, at, status, message, verified=verified, finished_at=at)
        if commitment is not None:
            run.execute(
                "request_commitment",
                report_uid=due.report_uid,
                destination=due.destination,
                transaction_uid=commitment.transaction_uid,
                sop_class_uid=commitment.sop_class_uid,
                sop_instance_uid=commitment.sop_instance_uid,
                at=at,
            )


def record_retry(catalog: Catalog, due: DueDelivery, *, status: str, message: str, next_at: float) -> None:
    """Enter that an attempt failed and when the next is due, unless a person gave the delivery up meanwhile."""
    with catalog.transaction() as run:
        _enter(run, due, DeliveryState.PENDING, next_at, status, message)


def record_set_aside(catalog: Catalog, due: DueDelivery, *, status: str, message: str, at: float) -> None:
    """Enter that no further attempt makes sense without a person, unless one gave the delivery up meanwhile."""
    with catalog.transaction() as run:
        _enter(run, due, DeliveryState.SET_ASIDE, at, status, message, finished_at=at)


def retry_set_aside(catalog: Catalog, now: float, destination: str = "") -> int:
    """Make set-aside deliveries pending again, of one destination or all; returns how many. Of a named one also what was
    given up.
    """
    with catalog.transaction() as run:
        run.execute("forgive_commitment_failures", destination=destination)
        return run.execute("retry_set_aside", now=now, destination=destination)


def give_up(catalog: Catalog, destination: str, now: float, *, pending: bool) -> int:
    """Enter that deliveries to a destination, set aside or (pending) still to be tried, will never be made; returns how many.

    The reports stay where they are; only the spool's files no longer wait for them.
    """
    with catalog.transaction() as run:
        return run.execute("give_up", destination=destination, now=now, pending=int(pending))


def retry_delivery(catalog: Catalog, report_uid: str, destination: str, now: float) -> bool:
    """Make one delivery that was set aside or given up pending again; returns whether it was either."""
    with catalog.transaction() as run:
        if not run.execute("retry_delivery", report_uid=report_uid, destination=destination, now=now):
            return False
        run.execute("forgive_commitment_failure", report_uid=report_uid, destination=destination)
        return True


def give_up_delivery(catalog: Catalog, report_uid: str, destination: str, now: float) -> bool:
    """Enter that one delivery, set aside or pending, will never be made; returns whether it was either."""
    with catalog.transaction() as run:
        return bool(run.execute("give_up_delivery", report_uid=report_uid, destination=destination, now=now))


def _enter(
    run: Run,
    due: DueDelivery,
    state: DeliveryState,
    next_at: float,
    status: str,
    message: str,
    *,
    verified: bool = False,
    finished_at: float | None = None,
) -> None:
    run.move(
        "record_delivery",
        state,
        report_uid=due.report_uid,
        destination=due.destination,
        next_at=next_at,
        status=status,
        message=message[:500],
        verified=int(verified),
        finished_at=finished_at,
    )
