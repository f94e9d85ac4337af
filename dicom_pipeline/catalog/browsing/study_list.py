"""The studies as a list for a person: searched, filtered, a page at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dicom_pipeline.catalog.account import senders_and_modalities
from dicom_pipeline.catalog.database import Catalog
from dicom_pipeline.domain import Outcome
from dicom_pipeline.domain.life import DeliveryState, RevisionState, State, StudyState


@dataclass(frozen=True, slots=True)
class StudyFilter:
    """Which studies are listed; what is empty asks nothing.

    text: a part of a Study Instance UID, accession number or sender's AE title. since, until: seconds since 1970 between which
    instances came. states: as StudyLine has them. set_aside: a delivery of the study waits for a person.
    """

    text: str = ""
    since: float | None = None
    until: float | None = None
    states: tuple[State, ...] = ()
    set_aside: bool = False


@dataclass(frozen=True, slots=True)
class StudyLine:
    """One study of the list.

    state: a StudyState while instances wait for a revision, else the RevisionState of the last one. first_at, last_at: of its
    instances since the last revision. accession_number: None until a worker has read it. used, excluded, failed: instances of
    the last revision, None while it is not processed. deliveries: number by state, of the last revision's reports.
    """

    study_instance_uid: str
    state: State
    senders: tuple[str, ...]
    modalities: tuple[str, ...]
    accession_number: str | None
    first_at: float
    last_at: float
    received: int
    expected: int | None
    revision: int | None
    message: str
    used: int | None
    excluded: int | None
    failed: int | None
    deliveries: Mapping[DeliveryState, int]


def list_studies(catalog: Catalog, chosen: StudyFilter, most: int, skip: int = 0) -> list[StudyLine]:
    """At most `most` studies, those that received an instance last first, after the first `skip`. Raises CatalogError."""
    rows = catalog.read(
        "study_page",
        text=chosen.text,
        since=chosen.since,
        until=chosen.until,
        states=json.dumps([state.value for state in chosen.states]),
        set_aside=int(chosen.set_aside),
        most=most,
        skip=skip,
    )
    return [_line(row) for row in rows]


def _line(row: Mapping[str, Any]) -> StudyLine:
    people = senders_and_modalities(row)
    outcomes = json.loads(row["outcomes"])
    processed = bool(outcomes) and "open" not in outcomes
    counts = {outcome: outcomes.get(outcome.value, 0) if processed else None for outcome in Outcome}
    return StudyLine(
        study_instance_uid=row["study_instance_uid"],
        state=_state(row),
        senders=tuple(people["senders"]),
        modalities=tuple(people["modalities"]),
        accession_number=row["accession_number"],
        first_at=row["first_at"],
        last_at=row["last_at"],
        received=row["received"],
        expected=row["expected"],
        revision=row["number"],
        message=row["message"] or "",
        used=counts[Outcome.USED],
        excluded=counts[Outcome.EXCLUDED],
        failed=counts[Outcome.FAILED],
        deliveries={DeliveryState.of(state): count for state, count in json.loads(row["deliveries"]).items()},
    )


def _state(row: Mapping[str, Any]) -> State:
    """As the query filters by it, and as study_account says."""
    if row["held"]:
        return StudyState.HELD
    if row["waiting"]:
        return StudyState.RECEIVING
    return StudyState.ANNOUNCED if row["state"] is None else RevisionState.of(row["state"])
