"""One study as a page: when what happened, what the labels say, what was not used and why, its revisions side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.browsing.outbox_list import OutboxEntry, study_entries
from dicom_pipeline.catalog.browsing.study_history import (
    MadeObject,
    accession_number,
    arrival,
    objects_of,
    unused_instances,
)
from dicom_pipeline.catalog.studies import study_account
from dicom_pipeline.config import Settings
from dicom_pipeline.dicom.own_objects import object_kind
from dicom_pipeline.domain.life import DeliveryState, RevisionState, State, StudyState
from dicom_pipeline.web.pages.results import Named, compared, folder_of, names_in, report_in

UNUSED_SHOWN = 20
"""Instances that are listed of each reason; the others are counted."""

REVISIONS_SHOWN = 4
"""Revisions beside one another, the newest; a page is not wider."""

DELIVERIES_SHOWN = 200
CAUSES = {
    "quiet": "nothing came for a while",
    "expected": "the announced number of instances was there",
    "hard-cap": "the longest time to wait was over",
    "asked": "someone asked",
}


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened. at: seconds since 1970. tone: as rendering's."""

    at: float
    title: str
    detail: str = ""
    tone: str = "quiet"


def study_values(settings: Settings, catalog: Catalog, uid: str) -> dict[str, Any] | None:
    """What the template shows; None for a study that is not known."""
    account = study_account(catalog, uid)
    if account is None:
        return None
    spool, objects = settings.spool.folder, objects_of(catalog, uid)
    entries = study_entries(catalog, uid, DELIVERIES_SHOWN)
    revisions = account["revisions"]
    last = revisions[-1] if revisions else None
    shown = revisions[-REVISIONS_SHOWN:]
    result = _last_result(revisions)
    folder = folder_of(spool, uid, result) if result else None
    names = names_in(folder) if folder else Named()
    report = report_in(spool, objects, result) if result else None
    return {
        "uid": uid,
        "account": account,
        "accession_number": accession_number(catalog, uid),
        "state": state_of(account),
        "names": names,
        "last": last,
        "busy": last is not None and last["state"] in (RevisionState.READY, RevisionState.PROCESSING),
        "unused": _unused(catalog, last, names),
        "timeline": timeline(catalog, uid, revisions, entries),
        "entries": entries,
        "companions": {made.sop_instance_uid for made in objects if object_kind(made.sop_class_uid) != "report"},
        "result": result,
        "has_sheet": folder is not None and (folder / "contact_sheet.png").exists(),
        "has_overview": folder is not None and (folder / "report.html").exists(),
        "report": report,
        **_report_values(report),
        "shown": shown,
        "hidden": len(revisions) - len(shown),
        "scores": compared(spool, uid, [revision["number"] for revision in shown], names) if len(shown) > 1 else [],
        "made": _made(objects),
    }


def state_of(account: Mapping[str, Any]) -> State:
    """The state of a study's account."""
    text = account["state"]
    return StudyState.of(text) if text in tuple(StudyState) else RevisionState.of(text)


def timeline(
    catalog: Catalog, uid: str, revisions: Sequence[Mapping[str, Any]], entries: Sequence[OutboxEntry]
) -> list[Moment]:
    """From the first instance to the last delivery, in the order in which it happened."""
    came = arrival(catalog, uid)
    found = (
        [] if came is None else [Moment(came[0], "First instance received"), Moment(came[1], "Last instance received")]
    )
    for revision in revisions:
        number, rule = revision["number"], f" (rule {revision['rule']})" if revision["rule"] else ""
        cause = CAUSES.get(revision["cause"], revision["cause"])
        found.append(Moment(revision["created_at"], f"Revision {number} complete", f"{cause}{rule}", "busy"))
        if revision["finished_at"] is not None:
            state = RevisionState.of(revision["state"])
            tone = "good" if state is RevisionState.DONE else "bad" if state is RevisionState.FAILED else "quiet"
            detail = revision["message"] or state.sentence
            found.append(Moment(revision["finished_at"], f"Revision {number}: {state.replace('-', ' ')}", detail, tone))
    found += [_end_of(entry) for entry in entries if entry.finished_at is not None]
    return sorted(found, key=lambda moment: moment.at)


def _end_of(entry: OutboxEntry) -> Moment:
    assert entry.finished_at is not None
    words = {
        DeliveryState.DELIVERED: ("Delivered to", "read back and compared" if entry.verified else "", "good"),
        DeliveryState.SET_ASIDE: ("Set aside for", entry.message, "bad"),
        DeliveryState.GIVEN_UP: ("Given up for", "", "quiet"),
        DeliveryState.PENDING: ("To be sent again to", entry.message, "busy"),
    }
    title, detail, tone = words[entry.state]
    return Moment(entry.finished_at, f"{title} {entry.destination} (revision {entry.number})", detail, tone)


def _last_result(revisions: Sequence[Mapping[str, Any]]) -> int | None:
    """The newest revision that was processed to its end."""
    ended = (RevisionState.DONE, RevisionState.NO_LABEL, RevisionState.NO_IMAGE)
    return next((r["number"] for r in reversed(revisions) if r["state"] in ended), None)


def _unused(catalog: Catalog, last: Mapping[str, Any] | None, names: Named) -> list[dict[str, Any]]:
    """Of the last revision: each reason, how many instances have it, and some of them; the commonest first."""
    if last is None:
        return []
    found = unused_instances(catalog, last["id"], UNUSED_SHOWN)
    return [
        {
            "reason": reason,
            "count": count,
            "instances": [
                (item, names.series.get(item.series_instance_uid, "")) for item in found if item.reason == reason
            ],
        }
        for reason, count in sorted(last["reasons"].items(), key=lambda pair: -pair[1])
    ]


def _report_values(report: Any) -> dict[str, Any]:
    """What of a report is text for people."""
    if report is None:
        return {"groups": [], "statement": "", "report_moment": "", "provenance": {}}
    from dicom_pipeline.reporting.summary import STATEMENT
    from dicom_pipeline.reporting.text import groups, moment

    hidden = ("notice", "statement")
    return {
        "groups": groups(report),
        "statement": STATEMENT,
        "report_moment": moment(report),
        "provenance": {name: value for name, value in report.parameters.items() if name not in hidden},
    }


def _made(objects: Sequence[MadeObject]) -> dict[int, list[MadeObject]]:
    """Revision -> what was made of it."""
    made: dict[int, list[MadeObject]] = {}
    for each in objects:
        made.setdefault(each.number, []).append(each)
    return made
