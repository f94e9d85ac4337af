"""One study in more detail than its account has: when it came, the objects made of it, instances that were not used."""

from __future__ import annotations

from dataclasses import dataclass

from dicom_pipeline.catalog.database import Catalog


@dataclass(frozen=True, slots=True)
class MadeObject:
    """A report or a companion of one. path: relative to the spool. number: of its revision."""

    sop_instance_uid: str
    sop_class_uid: str
    path: str
    created_at: float
    number: int


@dataclass(frozen=True, slots=True)
class UnusedInstance:
    """An instance of a revision that was excluded or failed. reason: of domain.Reason."""

    reason: str
    detail: str
    sop_instance_uid: str
    series_instance_uid: str


def arrival(catalog: Catalog, study_instance_uid: str) -> tuple[float, float] | None:
    """When the first and the last instance of a study came, in seconds since 1970; None where none did."""
    (row,) = catalog.read("study_arrival", study_instance_uid=study_instance_uid)
    return None if row["first_at"] is None else (row["first_at"], row["last_at"])


def accession_number(catalog: Catalog, study_instance_uid: str) -> str:
    """The accession number that the images of a study have; empty where they have none, or no worker has read it."""
    rows = catalog.read("study_accession_number", study_instance_uid=study_instance_uid)
    return (rows[0]["accession_number"] or "") if rows else ""


def objects_of(catalog: Catalog, study_instance_uid: str) -> list[MadeObject]:
    """What was made of a study, oldest revision first."""
    return [MadeObject(**row) for row in catalog.read("study_objects", study_instance_uid=study_instance_uid)]


def unused_instances(catalog: Catalog, revision_id: int, most: int) -> list[UnusedInstance]:
    """Instances of a revision that were not used, at most `most` of each reason, in the order in which they came."""
    return [UnusedInstance(**row) for row in catalog.read("unused_instances", revision_id=revision_id, most=most)]
