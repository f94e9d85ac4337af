"""Whose files may be cleaned from the spool, and the two steps in which they go.

    stored --begin_removal--> removed, its file still to be unlinked --unlink_removed--> gone
      ^                                                             |
      +-------------------- the same instance comes again ----------+

An instance counts as removed before its file goes, and files go only within a write transaction. So whatever stops the
process in between, the catalog never believes in a file that is not there, and the next run unlinks what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicom_pipeline.catalog.database import Catalog

UNLINKED_AT_ONCE = 64
"""Files of one transaction: receiving waits for it."""


@dataclass(frozen=True, slots=True)
class SpoolStudy:
    """A study's files in the spool. settled_at: the last arrival, result or delivery, seconds since 1970.

    result: path of what was made of it where nothing of it is to be delivered, relative to the spool; else None.
    kept_because: held, receiving, processing, not-delivered, not-committed, content-conflict, failed, committed or rebuilt;
    empty where the files may go.
    """

    study_instance_uid: str
    instances: int
    bytes: int
    settled_at: float
    result: str | None
    kept_because: str


def spool_studies(catalog: Catalog) -> list[SpoolStudy]:
    """Every study with files in the spool, those settled longest ago first."""
    return [SpoolStudy(**row) for row in catalog.read("spool_studies")]


def spool_account(catalog: Catalog) -> dict[str, Any]:
    """How much is held, may be cleaned, was removed, and why the rest stays: studies, instances and bytes."""
    counts = {row["kept_because"]: dict(row) for row in catalog.read("spool_counts")}
    sizes = {
        why: {name: row[name] for name in ("studies", "instances", "bytes")} for why, row in sorted(counts.items())
    }
    nothing = {"studies": 0, "instances": 0, "bytes": 0}
    return {
        "held": {name: sum(size[name] for size in sizes.values()) for name in nothing},
        "may_go": sizes.pop("", nothing),
        "kept_because": sizes,
        "removed": dict(catalog.read("removed_counts")[0]),
    }


def begin_removal(
    catalog: Catalog,
    study_instance_uid: str,
    at: float,
    also: Collection[str] = (),
    tell: Callable[[int], None] = lambda _: None,
) -> int:
    """Enter that a study's files go; returns how many, 0 where they may not go now. also: reasons that keep none.

    tell: called with how many before the catalog has it, so that a kill leaves nothing that goes untold.
    """
    with catalog.transaction() as run:
        study = run.row("spool_study", study_instance_uid=study_instance_uid)
        if study is None or study["kept_because"] not in ("", *also):
            return 0
        run.execute("want_removals", study_instance_uid=study_instance_uid)
        count = run.execute("remove_study_files", study_instance_uid=study_instance_uid, at=at)
        tell(count)
        return count


def unlink_removed(catalog: Catalog, unlink: Callable[[Path], bool], sync: Callable[[Path], None]) -> int:
    """Unlink the files of removed instances; returns how many are gone.

    unlink: whether the file of a path is gone now. sync: waits until the disk has a folder. Only one process at a time.
    """
    after = gone = 0
    while True:
        with catalog.transaction() as run:  # an instance that comes again waits for its end
            rows = run.rows("removals", after=after, most=UNLINKED_AT_ONCE)
            paths = {row["instance_id"]: run.folder / row["path"] for row in rows}
            done = [instance_id for instance_id, path in paths.items() if unlink(path)]
        if not rows:
            return gone
        for folder in {paths[instance_id].parent for instance_id in done}:
            sync(folder)
        with catalog.transaction() as run:
            for instance_id in done:
                run.execute("forget_removal", instance_id=instance_id)
        after, gone = rows[-1]["instance_id"], gone + len(done)


def trust_rebuilt(catalog: Catalog) -> int:
    """Enter that instances of a rebuilt catalog may be cleaned like others; returns how many."""
    with catalog.transaction() as run:
        return run.execute("forget_rebuilt")
