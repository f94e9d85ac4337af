"""Who sent what: for the audit trail."""

from __future__ import annotations

from dataclasses import dataclass

from dicom_pipeline.catalog.database import Catalog


@dataclass(frozen=True, slots=True)
class SentBy:
    """Instances of one SOP class in a revision that one node sent."""

    calling_ae: str
    address: str
    sop_class_uid: str
    count: int


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Instances that came while an association was open that never closed. kept: False for other content under a known UID."""

    study_instance_uid: str
    calling_ae: str
    address: str
    sop_class_uid: str
    kept: bool
    count: int
    last_at: float


def senders_of(catalog: Catalog, revision_id: int) -> list[SentBy]:
    """Who sent the instances of a revision, by SOP class."""
    return [SentBy(**row) for row in catalog.read("revision_senders", revision_id=revision_id)]


def interrupted_transfers(catalog: Catalog, owner: str) -> list[Interrupted]:
    """What came on associations of earlier runs of the service that are still open in the catalog: those ended with the run."""
    rows = [dict(row) for row in catalog.read("interrupted_transfers", owner=owner)]
    return [Interrupted(kept=bool(row.pop("kept")), **row) for row in rows]
