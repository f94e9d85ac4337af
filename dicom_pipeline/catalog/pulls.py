"""What is fetched from others: how far a source's changes were read, which studies wait, and runs over an archive."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from dicom_pipeline.catalog.database import MAX_AHEAD_SECONDS, Catalog


@dataclass(frozen=True, slots=True)
class Pull:
    """A study of a source that is to be fetched. study_key: the source's own name of it."""

    study_key: str
    attempts: int
    due_at: float


@dataclass(frozen=True, slots=True)
class BackfillStudy:
    """A study of a run. instances: by the archive's own count. account: what became of them, None until fetched."""

    study_key: str
    instances: int
    account: Mapping[str, int] | None


def last_change(catalog: Catalog, source: str) -> int | None:
    """Number of the last change of a source that was read; None for a new source."""
    rows = catalog.read("source_seq", source=source)
    return int(rows[0]["seq"]) if rows else None


def advance(catalog: Catalog, source: str, seq: int, due: Mapping[str, float]) -> None:
    """Enter a change number and, in the same transaction, the studies found up to it with the times they are due."""
    with catalog.transaction() as run:
        run.execute("set_source_seq", source=source, seq=seq)
        for study_key, due_at in due.items():
            run.execute("want_pull", source=source, study_key=study_key, due_at=due_at)


def next_pull(catalog: Catalog, source: str, now: float, furthest: float = MAX_AHEAD_SECONDS) -> Pull | None:
    """The study that has been due longest, None without one; a clock that was set back counts as in due_delivery."""
    rows = catalog.read("next_pull", source=source, now=now, furthest=furthest)
    return Pull(**rows[0]) if rows else None


def postpone_pull(catalog: Catalog, source: str, pull: Pull, due_at: float) -> None:
    """Enter that fetching failed and when it is tried again."""
    with catalog.transaction() as run:
        run.execute("postpone_pull", source=source, study_key=pull.study_key, due_at=due_at)


def forget_pull(catalog: Catalog, source: str, pull: Pull) -> None:
    """Enter that a study was fetched; a wish that came meanwhile stands."""
    with catalog.transaction() as run:
        run.execute("forget_pull", source=source, study_key=pull.study_key, due_at=pull.due_at)


def open_backfill(catalog: Catalog, source: str, filters: str) -> int | None:
    """The run over a source with these filters that was not finished, None without one."""
    rows = catalog.read("open_backfill", source=source, filters=filters)
    return int(rows[0]["id"]) if rows else None


def start_backfill(catalog: Catalog, source: str, filters: str, studies: Mapping[str, int], at: float) -> int:
    """Enter a run with its studies (key -> instances) as a whole; returns its id."""
    with catalog.transaction() as run:
        backfill_id = run.execute("add_backfill", source=source, filters=filters, at=at)
        for study_key, instances in studies.items():
            run.execute("add_backfill_study", backfill_id=backfill_id, study_key=study_key, instances=instances)
    return backfill_id


def backfill_studies(catalog: Catalog, backfill_id: int) -> list[BackfillStudy]:
    """The studies of a run."""
    rows = catalog.read("backfill_studies", backfill_id=backfill_id)
    return [
        BackfillStudy(row["study_key"], row["instances"], json.loads(row["account"]) if row["account"] else None)
        for row in rows
    ]


def record_backfill_study(
    catalog: Catalog, backfill_id: int, study_key: str, instances: int, account: Mapping[str, int]
) -> None:
    """Enter what became of a study's instances, and how many the archive counted when they were fetched."""
    with catalog.transaction() as run:
        run.execute(
            "set_backfill_account",
            backfill_id=backfill_id,
            study_key=study_key,
            instances=instances,
            account=json.dumps(account, sort_keys=True),
        )


def finish_backfill(catalog: Catalog, backfill_id: int, at: float) -> None:
    """Enter that a run has come to its end."""
    with catalog.transaction() as run:
        run.execute("finish_backfill", backfill_id=backfill_id, at=at)
