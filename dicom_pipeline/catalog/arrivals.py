"""What arrives: instances, refusals, open associations, announcements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from dicom_pipeline.catalog.database import Catalog, Run
from dicom_pipeline.domain import Outcome, Reason
from dicom_pipeline.domain.life import RevisionState
from dicom_pipeline.errors import CatalogError

MAX_REFUSALS = 100_000
"""Refusals that are remembered, so that a port scan cannot fill the disk."""


class Arrival(StrEnum):
    """What an instance was when it came."""

    NEW = "new"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Received:
    """One instance that is safe on disk. path: relative to the spool. token: its association.

    fresh: nothing whole lay under its path before.
    """

    sop_instance_uid: str
    sha256: str
    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    path: str
    bytes: int
    calling_ae: str
    address: str
    token: str
    at: float
    modality: str = ""
    series_description: str = ""
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """An instance that came under the same UID with other bytes, and whose file is there. path: relative to the spool."""

    id: int
    path: str
    sha256: str


def enter_instance(run: Run, received: Received) -> Arrival:
    """Enter an instance. The same bytes again are a DUPLICATE and change nothing; other ones under a known UID are a
    CONFLICT, quarantined and flagged in the study's next revision. Raises CatalogError; then nothing was entered.
    """
    return _enter(run, received, run.rows("known_instance", sop_instance_uid=received.sop_instance_uid))


def _enter(run: Run, received: Received, known: Sequence[Mapping[str, Any]]) -> Arrival:
    """As enter_instance. known: the rows of its UID."""
    values = {f.name: getattr(received, f.name) for f in fields(received)}
    for name in ("token", "modality", "series_description", "fresh"):
        del values[name]
    same = next((row for row in known if row["sha256"] == received.sha256), None)
    if same is not None:
        run.execute("touch_association", token=received.token, study_instance_uid=received.study_instance_uid)
        if same["removed_at"] is not None:
            _return(run, received, same["id"], same["path"])
        elif received.fresh and same["is_primary"]:
            _process_again(run, received, same["id"])
        return Arrival.DUPLICATE
    is_primary = not any(row["is_primary"] for row in known)
    run.execute("touch_study", study_instance_uid=received.study_instance_uid, at=received.at)
    run.execute("add_instance", is_primary=int(is_primary), **values)
    run.execute("touch_association", token=received.token, study_instance_uid=received.study_instance_uid)
    run.execute("add_sender", study_instance_uid=received.study_instance_uid, calling_ae=received.calling_ae)
    run.execute(
        "add_series",
        series_instance_uid=received.series_instance_uid,
        study_instance_uid=received.study_instance_uid,
        modality=received.modality,
        description=received.series_description,
    )
    return Arrival.NEW if is_primary else Arrival.CONFLICT


def enter_unless_conflict(run: Run, received: Received) -> Arrival | tuple[Known, ...]:
    """As enter_instance, but what would be a CONFLICT is not entered: the instances whose content it may have, that which
    counts first. Their bytes are others, their content need not be: who knows says so to enter_same or enter_instance.
    """
    known = run.rows("known_instance", sop_instance_uid=received.sop_instance_uid)
    there = [row for row in known if row["removed_at"] is None]
    if not there or any(row["sha256"] == received.sha256 for row in known):
        return _enter(run, received, known)
    there.sort(key=lambda row: (-row["is_primary"], row["id"]))
    return tuple(Known(row["id"], row["path"], row["sha256"]) for row in there)


def enter_apart(run: Run, received: Received) -> Arrival:
    """As enter_instance, for what was compared. Raises CatalogError where its file is gone: another process, by which the
    same bytes came at the same time, took it for the content of a known one.
    """
    if not (run.folder / received.path).exists():
        raise CatalogError("the instance's file went while it was compared; it must be sent once more")
    return enter_instance(run, received)


def enter_same(run: Run, received: Received, known: Known, discard: Callable[[], None]) -> Arrival:
    """Enter that an instance has the content of a known one, written in another way: a DUPLICATE, which changes nothing.

    discard: lets go of its file, within the transaction. Where the known one's file was cleaned meanwhile, or these very
    bytes were entered by another, it is entered as by enter_apart and its file stays.
    """
    rows = run.rows("known_instance", sop_instance_uid=received.sop_instance_uid)
    gone = any(row["id"] == known.id and row["removed_at"] is not None for row in rows)
    if gone or any(row["sha256"] == received.sha256 for row in rows):
        return enter_apart(run, received)
    run.execute("touch_association", token=received.token, study_instance_uid=received.study_instance_uid)
    discard()
    return Arrival.DUPLICATE


def _return(run: Run, received: Received, instance_id: int, path: str) -> None:
    """Enter that an instance whose file had been cleaned up has its file again. Raises CatalogError where it has not.

    Files are unlinked only within a write transaction such as this one, so what is seen here stays true. A file that lay
    there when the instance came may have been unlinked since; then its sender must send it again. A waiting study gathers
    anew from here on, so that the time in which it lacked files is not held against it; and where the last revision had to
    do without this one, the study waits for another revision.
    """
    if not (run.folder / path).exists():
        raise CatalogError("the instance's file was cleaned up while it came again; it must be sent once more")
    study = received.study_instance_uid
    last = run.row("last_outcome", instance_id=instance_id)
    if last is not None and (last["state"] == RevisionState.PROCESSING or last["reason"] == Reason.CLEANED):
        run.execute("touch_study", study_instance_uid=study, at=received.at)
    run.execute("gather_anew", study_instance_uid=study, at=received.at)
    run.execute("return_instance", instance_id=instance_id, at=received.at)
    run.execute("forget_removal", instance_id=instance_id)


def _process_again(run: Run, received: Received, instance_id: int) -> None:
    """The file of a known instance had been lost or damaged and is whole again: unless the study's last revision used it or
    has yet to read it, the study waits for another one.
    """
    last = run.row("last_outcome", instance_id=instance_id)
    if last is not None and last["outcome"] != Outcome.USED and last["state"] != RevisionState.READY:
        run.execute("touch_study", study_instance_uid=received.study_instance_uid, at=received.at)


def path_of_instance(catalog: Catalog, sop_instance_uid: str) -> str | None:
    """Where an instance lies, relative to the spool; None where it never came."""
    rows = catalog.read("instance_path", sop_instance_uid=sop_instance_uid)
    return str(rows[0]["path"]) if rows else None


def enter_refusal(run: Run, **values: object) -> None:
    """Enter that something was refused, and why. Only the last MAX_REFUSALS are remembered."""
    run.execute("trim_refusals", last=run.execute("add_refusal", **values) - MAX_REFUSALS)


def enter_association(run: Run, token: str, owner: str, at: float) -> None:
    """As open_association, in a transaction of the caller."""
    run.execute("open_association", token=token, owner=owner, at=at)


def end_association(run: Run, token: str) -> None:
    """As close_association, in a transaction of the caller."""
    run.execute("close_association", token=token)


def open_association(catalog: Catalog, token: str, owner: str, at: float) -> None:
    """Enter an association that is open; a study that it sends is not complete before it closes."""
    with catalog.transaction() as run:
        enter_association(run, token, owner, at)


def close_association(catalog: Catalog, token: str) -> None:
    """Enter that an association has ended, however it ended."""
    with catalog.transaction() as run:
        end_association(run, token)


def close_other_owners(catalog: Catalog, owner: str) -> None:
    """Forget the associations of earlier runs of the service: they ended with it."""
    with catalog.transaction() as run:
        run.execute("close_other_owners", owner=owner)


def announce(catalog: Catalog, study_instance_uid: str, expected: int, at: float) -> None:
    """Enter how many instances of a study are to come, so that it need not wait when they are there."""
    with catalog.transaction() as run:
        run.execute("ensure_study", study_instance_uid=study_instance_uid, at=at)
        run.execute("announce", study_instance_uid=study_instance_uid, expected=expected)
