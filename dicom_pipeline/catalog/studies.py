"""One study: what has come of it, and a revision that a person or a PACS asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dicom_pipeline.catalog.account import revision_account
from dicom_pipeline.catalog.database import Catalog


@dataclass(frozen=True, slots=True)
class HeldInstance:
    """An instance in the spool. path: relative to it; kept: False for other content under a known UID."""

    sop_instance_uid: str
    series_instance_uid: str
    path: str
    kept: bool


def study_account(catalog: Catalog, study_instance_uid: str) -> dict[str, Any] | None:
    """All that is known of a study as plain values; None for a study of which neither instance nor announcement came.

    state: announced, receiving, ready, processing, done, no-image or failed: of the instances that no revision holds yet,
    else of the last revision. revisions: oldest first, each with its account, reports and deliveries.
    """
    rows = catalog.read("study", study_instance_uid=study_instance_uid)
    if not rows:
        return None
    study = rows[0]
    found = catalog.read("study_revisions", study_instance_uid=study_instance_uid)
    revisions = [revision_account(catalog, dict(row)) for row in found]
    if study["waiting"] or not revisions:
        state = "receiving" if study["received"] else "announced"
    else:
        state = str(revisions[-1]["state"])
    return {
        "study_instance_uid": study_instance_uid,
        "state": state,
        "received": study["received"],
        "expected": study["expected"],
        "revisions": revisions,
    }


def held_instances(catalog: Catalog, study_instance_uid: str) -> list[HeldInstance]:
    """The instances of a study in the order in which they came."""
    rows = catalog.read("held_instances", study_instance_uid=study_instance_uid)
    return [
        HeldInstance(row["sop_instance_uid"], row["series_instance_uid"], row["path"], bool(row["kept"]))
        for row in rows
    ]


def ask_revision(catalog: Catalog, study_instance_uid: str, at: float) -> int | None:
    """Make a revision of a study as it stands now, whether or not anything new has come; returns its number.

    None where the last one is still on its way, which a second asking does not overtake. LookupError without instances.
    """
    with catalog.transaction() as run:
        study = run.row("study", study_instance_uid=study_instance_uid)
        if study is None or not study["received"]:
            raise LookupError(study_instance_uid)
        if study["busy"]:
            return None
        last = run.row("last_revision", study_instance_uid=study_instance_uid)
        number = int(last["number"]) + 1 if last else 1
        revision_id = run.execute(
            "add_revision",
            study_instance_uid=study_instance_uid,
            number=number,
            at=at,
            cause="asked",
            state="ready",
            predecessor=last["report"] if last else None,
        )
        run.execute("add_revision_instances", revision_id=revision_id, study_instance_uid=study_instance_uid)
        run.execute("stop_waiting", study_instance_uid=study_instance_uid)
        return number
