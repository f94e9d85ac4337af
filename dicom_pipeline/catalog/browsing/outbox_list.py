"""The outbox as a list for a person: how much waits since when, and each delivery with why."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dicom_pipeline.catalog.database import Catalog
from dicom_pipeline.domain.life import DeliveryState


@dataclass(frozen=True, slots=True)
class OutboxTotal:
    """Deliveries to one destination in one state.

    oldest_at: of those that are pending or set aside, when the oldest was entered or last tried anew by a person; else None.
    """

    destination: str
    state: DeliveryState
    count: int
    oldest_at: float | None


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """One object on its way to one destination. number: of the study's revision. status, message: of the last attempt.

    next_at: of a pending one. Times are seconds since 1970.
    """

    report_uid: str
    destination: str
    state: DeliveryState
    attempts: int
    created_at: float
    next_at: float
    finished_at: float | None
    status: str
    message: str
    verified: bool
    sop_class_uid: str
    study_instance_uid: str
    number: int


def outbox_totals(catalog: Catalog) -> list[OutboxTotal]:
    """A line a destination and state that there is. Raises CatalogError."""
    return [
        OutboxTotal(row["destination"], DeliveryState.of(row["state"]), row["count"], row["oldest_at"])
        for row in catalog.read("outbox_totals")
    ]


def outbox_entries(
    catalog: Catalog,
    states: Sequence[DeliveryState],
    *,
    destination: str = "",
    newest: bool = False,
    most: int,
    skip: int = 0,
) -> list[OutboxEntry]:
    """At most `most` deliveries in these states, after the first `skip`: those entered first first, or last (newest).

    destination: only to this one, where given. Raises CatalogError.
    """
    values = json.dumps([state.value for state in states])
    rows = catalog.read("outbox_page", states=values, destination=destination, newest=int(newest), most=most, skip=skip)
    return [_entry(row) for row in rows]


def study_entries(catalog: Catalog, study_instance_uid: str, most: int) -> list[OutboxEntry]:
    """At most `most` deliveries of what was made of a study, oldest revision first. Raises CatalogError."""
    return [_entry(row) for row in catalog.read("study_deliveries", study_instance_uid=study_instance_uid, most=most)]


def outbox_entry(catalog: Catalog, report_uid: str, destination: str) -> OutboxEntry | None:
    """One delivery, None where there is none. Raises CatalogError."""
    rows = catalog.read("one_delivery", report_uid=report_uid, destination=destination)
    return _entry(rows[0]) if rows else None


def _entry(row: Mapping[str, Any]) -> OutboxEntry:
    return OutboxEntry(**{**row, "state": DeliveryState.of(row["state"]), "verified": bool(row["verified"])})
