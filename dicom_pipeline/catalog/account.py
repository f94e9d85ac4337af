"""The account: received = used + excluded + failed; reports made = delivered + pending + set aside + given up."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from dicom_pipeline.catalog.database import Catalog
from dicom_pipeline.catalog.retention import spool_account

LAST_REVISIONS = 100
"""Of which `status` shows each by itself, unless it is asked for more."""

MODALITY = re.compile("[A-Z0-9]{2,12}")


def service_account(catalog: Catalog, last: int | None = LAST_REVISIONS) -> dict[str, Any]:
    """Everything that `status` shows, as plain values: totals, revisions with their outcomes, deliveries, refusals.

    last: of how many revisions, the newest, each is told (oldest first), and of how many failures that nobody has
    acknowledged (newest first); None for all. Totals and counts are of all.
    """
    most = -1 if last is None else last
    newest = catalog.read("revisions", most=most)
    revisions = [revision_account(catalog, dict(row)) for row in newest]
    deliveries: dict[str, dict[str, int]] = {}
    for row in catalog.read("delivery_counts"):
        deliveries.setdefault(row["destination"], {})[row["state"]] = row["count"]
    commitments: dict[str, dict[str, int]] = {}
    for row in catalog.read("commitment_request_counts"):
        commitments.setdefault(row["destination"], {})[row["state"]] = row["count"]
    return {
        "totals": dict(catalog.read("totals")[0]),
        "spool": spool_account(catalog),
        "held": held_studies(catalog),
        "revisions": revisions,
        "deliveries": deliveries,
        "commitments": commitments,
        "failures": [dict(row) for row in catalog.read("open_failures", study_instance_uid="", most=most)],
        "set_aside": [dict(row) for row in catalog.read("deliveries_set_aside")],
        "refusals": refusals(catalog),
    }


def held_studies(catalog: Catalog) -> list[dict[str, Any]]:
    """Studies that do not go on by themselves, and what each waits for (why)."""
    return [_held(row) for row in catalog.read("held_studies")]


def _held(row: Mapping[str, Any]) -> dict[str, Any]:
    """A study that will not go on by itself, and what it waits for."""
    if row["held"]:
        why = "held at the hard cap by a completion rule; `release` lets it go on"
    else:
        why = (
            f"the files of {row['removed']} of its instances were cleaned after delivery; it goes on when these come again, "
            "or `release --partial` lets it go on without"
        )
    return {**row, "held": bool(row["held"]), "why": why}


def refusals(catalog: Catalog) -> dict[str, int]:
    """How often something was refused, by reason."""
    return {row["reason"]: row["count"] for row in catalog.read("refusal_counts")}


def revision_account(catalog: Catalog, row: dict[str, Any]) -> dict[str, Any]:
    """A revision's row with the count of each outcome and reason, and its deliveries.

    senders, modalities: of its study.
    """
    outcomes = {"used": 0, "excluded": 0, "failed": 0, "open": 0}
    reasons: dict[str, int] = {}
    for count in catalog.read("outcome_counts", revision_id=row["id"]):
        outcomes[count["outcome"] or "open"] += count["count"]
        if count["reason"]:
            reasons[count["reason"]] = count["count"]
    return {
        **row,
        **senders_and_modalities(row),
        "received": sum(outcomes.values()),
        **outcomes,
        "reasons": reasons,
        "deliveries": [dict(d) for d in catalog.read("report_deliveries", revision_id=row["id"])],
    }


def senders_and_modalities(row: Mapping[str, Any]) -> dict[str, list[str]]:
    """The columns senders and modalities of a row, which hold JSON, as sorted lists for people.

    Both are received text: of an AE title what is not printable becomes "?"; what cannot be a modality (PS3.3 C.7.3.1.1.1)
    is "other", as it may hold anything.
    """
    senders = ("".join(c if c.isprintable() else "?" for c in title) for title in json.loads(row["senders"]) if title)
    found = (name if MODALITY.fullmatch(name) else "other" for name in json.loads(row["modalities"]) if name)
    return {"senders": sorted(set(senders)), "modalities": sorted(set(found))}
