"""The outbox as a page: how much waits since when, each delivery with why, and what a person decides about one."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.exceptions import HTTPException

from dicom_pipeline.audit import GivenUp, Node, Record, StudyPart
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.browsing.outbox_list import (
    OutboxEntry,
    OutboxTotal,
    outbox_entries,
    outbox_entry,
    outbox_totals,
)
from dicom_pipeline.catalog.outbox import give_up_delivery
from dicom_pipeline.config import Settings
from dicom_pipeline.domain.life import DeliveryState
from dicom_pipeline.web.pages.study_list import page_number

ROWS = 50
MAX_REASON = 500

GROUPS: dict[str, tuple[str, tuple[DeliveryState, ...]]] = {
    "": ("Open", (DeliveryState.PENDING, DeliveryState.SET_ASIDE)),
    "pending": ("Pending", (DeliveryState.PENDING,)),
    "set-aside": ("Set aside", (DeliveryState.SET_ASIDE,)),
    "given-up": ("Given up", (DeliveryState.GIVEN_UP,)),
    "delivered": ("Delivered", (DeliveryState.DELIVERED,)),
}
"""Value of `state` in the URL -> what it is called, and the states that it lists."""

OPEN = GROUPS[""][1]
ENDED = ("given-up", "delivered")
"""Groups that are listed newest first; of what waits, the oldest matters most."""


@dataclass(frozen=True, slots=True)
class OutboxQuery:
    """What the URL asks for. number: of the page, from 1."""

    group: str = ""
    destination: str = ""
    number: int = 1

    def to(self, **changes: str | int) -> str:
        """The query of a URL that asks for something else besides."""
        values = {"state": self.group, "destination": self.destination, "page": 1, **changes}
        return urlencode({name: value for name, value in values.items() if value and (name, value) != ("page", 1)})


def outbox_query(query: Mapping[str, str]) -> OutboxQuery:
    """The query of a URL. Raises HTTPException 400 where it cannot be meant."""
    group = query.get("state", "")
    if group not in GROUPS:
        raise HTTPException(400, f"expected state={'|'.join(name for name in GROUPS if name)}")
    return OutboxQuery(group, query.get("destination", ""), page_number(query))


def outbox_values(settings: Settings, catalog: Catalog, asked: OutboxQuery) -> dict[str, Any]:
    """What the template shows."""
    totals = outbox_totals(catalog)
    found = outbox_entries(
        catalog,
        GROUPS[asked.group][1],
        destination=asked.destination,
        newest=asked.group in ENDED,
        most=ROWS + 1,
        skip=(asked.number - 1) * ROWS,
    )
    known = {peer.name for peer in settings.delivering}
    free = shutil.disk_usage(settings.spool.folder).free
    return {
        "asked": asked,
        "query": asked.to(page=asked.number),
        "groups": [(name, title, asked.to(state=name)) for name, (title, _) in GROUPS.items()],
        "pending": _count(totals, DeliveryState.PENDING),
        "set_aside": _count(totals, DeliveryState.SET_ASIDE),
        "oldest_at": _oldest(totals),
        "destinations": _destinations(totals, known),
        "free_bytes": free,
        "min_free_bytes": settings.spool.min_free_bytes,
        "entries": found[:ROWS],
        "known": known,
        "newer": asked.to(page=asked.number - 1) if asked.number > 1 else None,
        "older": asked.to(page=asked.number + 1) if len(found) > ROWS else None,
    }


def entry_of(catalog: Catalog, report_uid: str, destination: str) -> OutboxEntry:
    """One delivery. Raises HTTPException 404 where there is none."""
    found = outbox_entry(catalog, report_uid, destination)
    if found is None:
        raise HTTPException(404, "the outbox has no such delivery")
    return found


def give_up(catalog: Catalog, record: Record, entry: OutboxEntry, words: str, address: str) -> bool:
    """Give a delivery up for the reason that a person gave, which the audit trail hears first; whether it was still open.

    address: of the person's browser. Raises HTTPException 400 without a reason.
    """
    words = " ".join(words.split())
    if not words or len(words) > MAX_REASON:
        raise HTTPException(400, f"expected a reason of at most {MAX_REASON} characters")
    if entry.state not in OPEN:
        return False
    now = time.time()
    made = StudyPart(entry.study_instance_uid, {entry.sop_class_uid: 1}, {entry.sop_class_uid: (entry.report_uid,)})
    record(GivenUp(now, Node("HTTP", address), Node(entry.destination), made, words))
    return give_up_delivery(catalog, entry.report_uid, entry.destination, now)


def _count(totals: list[OutboxTotal], state: DeliveryState) -> int:
    return sum(total.count for total in totals if total.state is state)


def _oldest(totals: list[OutboxTotal]) -> float | None:
    return min((total.oldest_at for total in totals if total.oldest_at is not None), default=None)


def _destinations(totals: list[OutboxTotal], known: set[str]) -> list[dict[str, Any]]:
    """Each destination with its counts by state, and whether the settings still have it."""
    names = sorted(known | {total.destination for total in totals})
    made = []
    for name in names:
        of_this = [total for total in totals if total.destination == name]
        counts = {state.name.lower(): _count(of_this, state) for state in DeliveryState}
        made.append({"name": name, "known": name in known, "oldest_at": _oldest(of_this), **counts})
    return made
