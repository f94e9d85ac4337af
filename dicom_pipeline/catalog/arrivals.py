"""What arrives: instances, refusals, open associations, announcements."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dicom_pipeline.catalog.database import Catalog


class Arrival(StrEnum):
    """What an instance was when it came."""

    NEW = "new"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Received:
    """One instance that is safe on disk. path: relative to the spool. token: its association."""

    sop_instance_uid: str
    sha256: str
    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    path: str
    bytes: int
    calling_ae: str
    address: str
    token: str
    at: float


def record_instance(catalog: Catalog, received: Received) -> Arrival:
    """Enter an instance. The same content again is a DUPLICATE and changes nothing; other content under a known UID is a
    CONFLICT, kept apart and flagged in the study's next revision. Raises CatalogError; then nothing was entered.
    """
    values = {name: getattr(received, name) for name in received.__slots__ if name not in ("token",)}
    with catalog.transaction() as run:
        known = run.rows("known_instance", sop_instance_uid=received.sop_instance_uid)
        if any(row["sha256"] == received.sha256 for row in known):
            run.execute("touch_association", token=received.token, study_instance_uid=received.study_instance_uid)
            return Arrival.DUPLICATE
        kept = not any(row["kept"] for row in known)
        run.execute("touch_study", study_instance_uid=received.study_instance_uid, at=received.at)
        run.execute("add_instance", kept=int(kept), **values)
        run.execute("touch_association", token=received.token, study_instance_uid=received.study_instance_uid)
        return Arrival.NEW if kept else Arrival.CONFLICT


def path_of_instance(catalog: Catalog, sop_instance_uid: str) -> str | None:
    """Where an instance lies, relative to the spool; None where it never came."""
    rows = catalog.read("instance_path", sop_instance_uid=sop_instance_uid)
    return str(rows[0]["path"]) if rows else None


def record_refusal(
    catalog: Catalog, *, at: float, status: int, reason: str, sop_instance_uid: str, calling_ae: str, address: str
) -> None:
    """Enter that something was refused, and why."""
    with catalog.transaction() as run:
        run.execute(
            "add_refusal",
            at=at,
            status=status,
            reason=reason,
            sop_instance_uid=sop_instance_uid,
            calling_ae=calling_ae,
            address=address,
        )


def open_association(catalog: Catalog, token: str, owner: str, at: float) -> None:
    """Enter an association that is open; a study that it sends is not complete before it closes."""
    with catalog.transaction() as run:
        run.execute("open_association", token=token, owner=owner, at=at)


def close_association(catalog: Catalog, token: str) -> None:
    """Enter that an association has ended, however it ended."""
    with catalog.transaction() as run:
        run.execute("close_association", token=token)


def close_other_owners(catalog: Catalog, owner: str) -> None:
    """Forget the associations of earlier runs of the service: they ended with it."""
    with catalog.transaction() as run:
        run.execute("close_other_owners", owner=owner)


def announce(catalog: Catalog, study_instance_uid: str, expected: int, at: float) -> None:
    """Enter how many instances of a study are to come, so that it need not wait when they are there."""
    with catalog.transaction() as run:
        run.execute("ensure_study", study_instance_uid=study_instance_uid, at=at)
        run.execute("announce", study_instance_uid=study_instance_uid, expected=expected)
