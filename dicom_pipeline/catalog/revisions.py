"""Revisions: made when a study is complete, claimed by a worker, finished with everything that came of them at once.

Their states and how one follows another: domain/life.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dicom_pipeline.catalog.database import Catalog, Run
from dicom_pipeline.domain import NO_LABEL_FITS, Account, Outcome, Reason, Revision
from dicom_pipeline.domain.life import RevisionState
from dicom_pipeline.errors import FilesCleanedError, TransitionError


@dataclass(frozen=True, slots=True)
class WaitingStudy:
    """A study with instances that no revision holds yet.

    busy: a revision of it is still being processed. removed: instances whose files were cleaned from the spool. held: a rule
    made it wait for a person. senders: AE titles. series: modality and description of each.
    """

    study_instance_uid: str
    first_at: float
    last_at: float
    expected: int | None
    received: int
    open_association: bool
    busy: bool
    removed: int = 0
    held: bool = False
    senders: frozenset[str] = frozenset()
    series: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ClaimedInstance:
    """An instance of a claimed revision.

    is_primary: False for conflicting content under a known UID, which is quarantined. calling_ae: who sent it. removed: its
    file was cleaned from the spool.
    """

    sop_instance_uid: str
    series_instance_uid: str
    sha256: str
    path: str
    is_primary: bool
    calling_ae: str
    removed: bool = False


@dataclass(frozen=True, slots=True)
class Claimed:
    """A revision that this worker holds."""

    revision_id: int
    revision: Revision
    instances: Sequence[ClaimedInstance]
    attempts: int


@dataclass(frozen=True, slots=True)
class MadeReport:
    """A report, or a companion of one, that was written. path: relative to the spool. destinations: where it goes."""

    sop_instance_uid: str
    sop_class_uid: str
    path: str
    sha256: str
    destinations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FinishedStudy:
    """A study's newest finished revision. used: SOP Instance UIDs of the instances with at least one used frame."""

    revision_id: int
    study_instance_uid: str
    number: int
    fingerprint: str
    used: frozenset[str]


def waiting_studies(catalog: Catalog) -> list[WaitingStudy]:
    """All studies that wait to be complete."""
    found = []
    for row in map(dict, catalog.read("waiting_studies")):
        row.update({name: bool(row[name]) for name in ("open_association", "busy", "held")})
        row["senders"] = frozenset(json.loads(row["senders"]))
        row["series"] = tuple((modality, description) for modality, description in json.loads(row["series"]))
        found.append(WaitingStudy(**row))
    return found


def make_revision(catalog: Catalog, study_instance_uid: str, at: float, cause: str, rule: str = "") -> int | None:
    """Turn a study as it stands into its next revision; returns its number. rule: that ended the waiting.

    None where it waits no more, as someone asked for its revision meanwhile, or must wait on.
    """
    with catalog.transaction() as run:
        if not _may_go_on(run, study_instance_uid):
            return None
        number, _ = _add_revision(run, study_instance_uid, at, cause, rule)
        return number


def discard_study(catalog: Catalog, study_instance_uid: str, at: float, cause: str, rule: str) -> int | None:
    """Make a revision that is not processed: each of its instances has the reason DISCARDED. Returns as make_revision."""
    with catalog.transaction() as run:
        if not _may_go_on(run, study_instance_uid):
            return None
        number, revision_id = _add_revision(run, study_instance_uid, at, cause, rule)
        message = f"rule {rule}: {Reason.DISCARDED.sentence}"
        _end(run, revision_id, RevisionState.DISCARDED, Reason.DISCARDED, message, at)
        return number


def hold_study(catalog: Catalog, study_instance_uid: str) -> None:
    """Let a study wait until a person asks for its revision."""
    with catalog.transaction() as run:
        run.execute("hold_study", study_instance_uid=study_instance_uid)


def ask_revision(
    catalog: Catalog, study_instance_uid: str, at: float, *, while_gathering: bool = True, partial: bool = False
) -> int | None:
    """Make a revision of a study as it stands because someone asked, new instances or none; returns its number.

    None where the last one is still on its way, which a second asking does not overtake, and for a study that gathers
    instances unless `while_gathering`. partial: also where files of it were cleaned; those have the reason CLEANED. Raises
    LookupError for a study without instances, FilesCleanedError where files were cleaned.
    """
    with catalog.transaction() as run:
        study = run.row("study", study_instance_uid=study_instance_uid)
        if study is None or not study["received"]:
            raise LookupError(study_instance_uid)
        if study["busy"] or (study["waiting"] and not while_gathering):
            return None
        if study["removed"] and (not partial or study["removed"] == study["received"]):
            raise FilesCleanedError(
                f"the files of {study['removed']} of the study's {study['received']} instances were cleaned from the spool "
                "after their report was delivered; send these instances again"
            )
        number, _ = _add_revision(run, study_instance_uid, at, "asked", "")
        return number


def _may_go_on(run: Run, study_instance_uid: str) -> bool:
    """Whether a study still waits, and for nothing but a rule."""
    study = run.row("study", study_instance_uid=study_instance_uid)
    return study is not None and bool(study["waiting"]) and not (study["busy"] or study["held"] or study["removed"])


def _add_revision(run: Run, study_instance_uid: str, at: float, cause: str, rule: str) -> tuple[int, int]:
    """The next revision of a study as it stands: its number and its id."""
    last = run.row("last_revision", study_instance_uid=study_instance_uid)
    number = int(last["number"]) + 1 if last else 1
    revision_id = run.execute(
        "add_revision",
        study_instance_uid=study_instance_uid,
        number=number,
        at=at,
        cause=cause,
        rule=rule,
        state=RevisionState.READY.value,
        predecessor=last["report"] if last else None,
    )
    run.execute("add_revision_instances", revision_id=revision_id, study_instance_uid=study_instance_uid)
    run.execute("stop_waiting", study_instance_uid=study_instance_uid)
    return number, revision_id


def finished_studies(catalog: Catalog) -> list[FinishedStudy]:
    """Each study's newest finished revision, with the instances that it used."""
    return [
        FinishedStudy(
            row["id"],
            row["study_instance_uid"],
            row["number"],
            row["fingerprint"] or "",
            frozenset(used["sop_instance_uid"] for used in catalog.read("used_instances", revision_id=row["id"])),
        )
        for row in catalog.read("last_finished")
    ]


def instances_of(catalog: Catalog, revision_id: int) -> tuple[ClaimedInstance, ...]:
    """The instances of a revision."""
    return _instances(catalog.read("revision_instances", revision_id=revision_id))


def claim_next(catalog: Catalog, owner: str) -> Claimed | None:
    """The oldest ready revision, now held by `owner`; None where nothing is ready."""
    if not catalog.read("next_ready"):
        return None  # no write lock just to look
    with catalog.transaction() as run:
        row = run.row("next_ready")
        if row is None:
            return None
        run.move("claim", RevisionState.PROCESSING, revision_id=row["id"], owner=owner)
        found = run.rows("revision_instances", revision_id=row["id"])
    instances = _instances(found)
    revision = Revision(
        study_instance_uid=row["study_instance_uid"],
        number=row["number"],
        created_at=datetime.fromtimestamp(row["created_at"], tz=UTC),
        instances={i.sop_instance_uid: i.sha256 for i in instances if i.is_primary},
        predecessor=row["predecessor"],
        predecessor_class=row["predecessor_class"],
    )
    return Claimed(row["id"], revision, instances, row["attempts"] + 1)


def hand_back(catalog: Catalog, claimed: Claimed, owner: str) -> None:
    """Make ready again what a worker that is stopped in order has not finished; its claim does not count as an attempt."""
    with catalog.transaction() as run:
        run.move("hand_back", RevisionState.READY, revision_id=claimed.revision_id, owner=owner)


def next_attempts(catalog: Catalog) -> int:
    """How often the revision that claim_next would give was claimed before; 0 where nothing is ready."""
    return next((int(row["attempts"]) for row in catalog.read("next_ready")), 0)


def release_stale(catalog: Catalog, owner: str, most_attempts: int, at: float) -> int:
    """Make ready again what a dead worker held; what has died too often fails with CRASHED_WORKER. Returns how many."""
    with catalog.transaction() as run:
        released = run.execute("release", owner=owner)
        for row in run.rows("worn_out", most=most_attempts):
            _end(run, row["id"], RevisionState.FAILED, Reason.CRASHED_WORKER, Reason.CRASHED_WORKER.sentence, at)
    return released


def finish(
    catalog: Catalog,
    claimed: Claimed,
    account: Account,
    *,
    fingerprint: str,
    reports: Sequence[MadeReport],
    at: float,
) -> None:
    """Enter in one transaction what became of each instance, the reports made and a delivery a report and destination."""
    with catalog.transaction() as run:
        for row in run.rows("revision_instances", revision_id=claimed.revision_id):
            outcome, reason, detail = outcome_of(row, account)
            run.execute(
                "set_outcome",
                revision_id=claimed.revision_id,
                instance_id=row["id"],
                outcome=outcome.value,
                reason=reason.value if reason else None,
                detail=detail,
            )
        used = account.counts[Outcome.USED]
        enter_results(run, claimed.revision_id, reports, used=used, fingerprint=fingerprint, at=at, due_at=at)


def enter_results(
    run: Run,
    revision_id: int,
    reports: Sequence[MadeReport],
    *,
    used: int,
    fingerprint: str,
    at: float,
    due_at: float,
) -> None:
    """Enter the reports of a revision, a delivery a report and destination, due at `due_at`, and that the revision ended.

    used: how many of its instances were.
    """
    for report in reports:
        run.execute(
            "add_report",
            revision_id=revision_id,
            sop_instance_uid=report.sop_instance_uid,
            sop_class_uid=report.sop_class_uid,
            path=report.path,
            sha256=report.sha256,
            at=at,
        )
        for destination in report.destinations:
            run.execute("add_delivery", report_uid=report.sop_instance_uid, destination=destination, at=due_at)
    state = RevisionState.DONE if reports else RevisionState.NO_IMAGE
    _finish(run, revision_id, state, fingerprint, "" if reports else missing_report_reason(used), at)


def missing_report_reason(used: int) -> str:
    """What a finished revision without a report says to a person. used: how many of its instances were used."""
    return NO_LABEL_FITS if used else "no usable image"


def fail(catalog: Catalog, claimed: Claimed, reason: Reason, message: str, at: float) -> None:
    """Enter that a revision failed as a whole."""
    with catalog.transaction() as run:
        _end(run, claimed.revision_id, RevisionState.FAILED, reason, message, at)


def _end(run: Run, revision_id: int, state: RevisionState, reason: Reason, message: str, at: float) -> None:
    """End a revision as a whole: one reason for each of its instances that has none yet, no report."""
    run.execute("set_all_outcomes", revision_id=revision_id, outcome=reason.outcome.value, reason=reason.value)
    _finish(run, revision_id, state, None, message, at)


def _finish(run: Run, revision_id: int, state: RevisionState, fingerprint: str | None, message: str, at: float) -> None:
    """Enter the last state of a revision. Raises TransitionError where it has ended, or was never begun."""
    values = {"revision_id": revision_id, "fingerprint": fingerprint, "message": message, "at": at}
    if not run.move("finish_revision", state, **values):
        raise TransitionError(f"revision {revision_id} cannot become {state}: it has ended, or another worker has it")


def _instances(rows: Sequence[Mapping[str, Any]]) -> tuple[ClaimedInstance, ...]:
    return tuple(
        ClaimedInstance(
            i["sop_instance_uid"],
            i["series_instance_uid"],
            i["sha256"],
            i["path"],
            bool(i["is_primary"]),
            i["calling_ae"],
            bool(i["removed"]),
        )
        for i in rows
    )


def outcome_of(row: Mapping[str, Any], account: Account) -> tuple[Outcome, Reason | None, str]:
    """What became of an instance (its row), given the account of those that count."""
    if not row["is_primary"]:
        return Outcome.FAILED, Reason.CONTENT_CONFLICT, ""
    return account.outcomes[str(row["sop_instance_uid"])]
