"""One study: what has come of it, and which of its instances are held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dicom_pipeline.catalog.account import revision_account, senders_and_modalities
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
    from the spool. senders: AE titles. first_at, last_at: of its instances since the last revision, and ever. revisions:
    oldest first, each with its account, reports and deliveries.
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
        **senders_and_modalities(study),
        "first_at": study["first_at"],
        "last_at": study["last_at"],
        "revisions": revisions,
    }


def _study_state(study: Mapping[str, Any], revisions: Sequence[object]) -> StudyState:
    if revisions and not study["waiting"]:
        return StudyState.COMPLETE
    if study["held"]:
        return StudyState.HELD
    return StudyState.RECEIVING if study["received"] else StudyState.ANNOUNCED


@dataclass(frozen=True, slots=True)
class FoundStudy:
    """A study that was looked for. accession_number: of its images, None where no worker has read them."""

    study_instance_uid: str
    accession_number: str | None


def find_studies(catalog: Catalog, text: str, most: int) -> list[FoundStudy]:
    """Studies of this UID or accession number; without any, the newest that have the text in one of these."""
    rows = catalog.read("find_studies", text=text, most=most)
    exact = [row for row in rows if row["is_exact"]]
    return [FoundStudy(row["study_instance_uid"], row["accession_number"]) for row in exact or rows]


def unread_studies(catalog: Catalog, most: int) -> list[tuple[str, str | None]]:
    """The newest studies whose accession number no worker has read: UID, and one of the files, relative to the spool."""
    return [(row["study_instance_uid"], row["path"]) for row in catalog.read("unread_studies", most=most)]


def record_accession_number(catalog: Catalog, study_instance_uid: str, accession_number: str) -> None:
    """Enter what the images of a study have as accession number, empty for none."""
    with catalog.transaction() as run:
        run.execute("set_accession_number", study_instance_uid=study_instance_uid, accession_number=accession_number)


@dataclass(frozen=True, slots=True)
class Failure:
    """A revision that failed, or of which an instance did, that nobody has acknowledged and no later one has mended."""

    revision_id: int
    study_instance_uid: str
    number: int


def open_failures(catalog: Catalog, study_instance_uid: str = "") -> list[Failure]:
    """The open failures of a study, or of all, the newest first."""
    rows = catalog.read("open_failures", study_instance_uid=study_instance_uid, most=-1)
    return [Failure(row["id"], row["study_instance_uid"], row["number"]) for row in rows]


def acknowledge_failures(catalog: Catalog, failures: Sequence[Failure], at: float, user: str) -> None:
    """Enter that a person has seen these failures."""
    with catalog.transaction() as run:
        for failure in failures:
            run.execute("acknowledge", revision_id=failure.revision_id, at=at, user=user)


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
