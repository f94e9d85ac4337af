"""One study: what has come of it, and which of its instances are held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dicom_pipeline.catalog.account import revision_account
from dicom_pipeline.catalog.database import Catalog
from dicom_pipeline.domain.life import StudyState


@dataclass(frozen=True, slots=True)
class HeldInstance:
    """An instance that came. path: relative to the spool; is_primary: False for conflicting content under a known UID.

    removed: its file was cleaned from the spool.
    """

    sop_instance_uid: str
    series_instance_uid: str
    path: str
    is_primary: bool
    removed: bool


def study_account(catalog: Catalog, study_instance_uid: str) -> dict[str, Any] | None:
    """All that is known of a study as plain values; None for a study of which neither instance nor announcement came.

    state: a StudyState while instances wait for a revision, else the RevisionState of the last one. received: instances;
    conflicts: those that came besides, with other content under a known UID. cleaned: instances whose files were cleaned
    from the spool. revisions: oldest first, each with its account, reports and deliveries.
    """
    rows = catalog.read("study", study_instance_uid=study_instance_uid)
    if not rows:
        return None
    study = rows[0]
    found = catalog.read("study_revisions", study_instance_uid=study_instance_uid)
    revisions = [revision_account(catalog, dict(row)) for row in found]
    state = _study_state(study, revisions)
    return {
        "study_instance_uid": study_instance_uid,
        "state": revisions[-1]["state"] if state is StudyState.COMPLETE else state.value,
        "received": study["received"],
        "conflicts": study["conflicts"],
        "cleaned": study["removed"],
        "expected": study["expected"],
        "revisions": revisions,
    }


def _study_state(study: Mapping[str, Any], revisions: Sequence[object]) -> StudyState:
    if revisions and not study["waiting"]:
        return StudyState.COMPLETE
    if study["held"]:
        return StudyState.HELD
    return StudyState.RECEIVING if study["received"] else StudyState.ANNOUNCED


def held_instances(catalog: Catalog, study_instance_uid: str) -> list[HeldInstance]:
    """The instances of a study in the order in which they came."""
    rows = catalog.read("held_instances", study_instance_uid=study_instance_uid)
    return [
        HeldInstance(
            row["sop_instance_uid"],
            row["series_instance_uid"],
            row["path"],
            bool(row["is_primary"]),
            bool(row["removed"]),
        )
        for row in rows
    ]


@dataclass(frozen=True, slots=True)
class SentBy:
    """Instances of one SOP class in a revision that one node sent."""

    calling_ae: str
    address: str
    sop_class_uid: str
    count: int


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Instances that came while an association was open that never closed.

    is_primary: False for conflicting content under a known UID.
    """

    study_instance_uid: str
    calling_ae: str
    address: str
    sop_class_uid: str
    is_primary: bool
    count: int
    last_at: float


def senders_of(catalog: Catalog, revision_id: int) -> list[SentBy]:
    """Who sent the instances of a revision, by SOP class."""
    return [SentBy(**row) for row in catalog.read("revision_senders", revision_id=revision_id)]


def interrupted_transfers(catalog: Catalog, owner: str) -> list[Interrupted]:
    """What came on associations of earlier runs of the service that are still open in the catalog: those ended with the run."""
    rows = [dict(row) for row in catalog.read("interrupted_transfers", owner=owner)]
    return [Interrupted(is_primary=bool(row.pop("is_primary")), **row) for row in rows]
