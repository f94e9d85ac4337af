"""Which studies' files are cleaned from the spool, and cleaning them: after delivery, at an age or a size, never before."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dicom_pipeline.audit import Deleted, Record, unrecorded
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.retention import SpoolStudy, begin_removal, spool_studies, unlink_removed
from dicom_pipeline.disk import sync_folder
from dicom_pipeline.domain import short_uid

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """keep_seconds: after a study is settled. keep_bytes: of all files in the spool. None: no limit of that kind."""

    keep_seconds: float | None = None
    keep_bytes: int | None = None

    @property
    def description(self) -> str:
        """The rule for the audit trail."""
        parts = [f"{self.keep_seconds:.0f} s after delivery"] if self.keep_seconds is not None else []
        return ", ".join(parts + ([f"above {self.keep_bytes} bytes"] if self.keep_bytes is not None else []))


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What was cleaned, or would be."""

    studies: int = 0
    instances: int = 0
    bytes: int = 0


def choose(
    studies: Sequence[SpoolStudy], rule: RetentionRule, now: float, also: Collection[str] = ()
) -> list[SpoolStudy]:
    """The studies to clean, those settled longest ago first. Pure.

    A study goes as a whole: when nothing keeps it and it is old enough, or while the spool holds more than the rule's bytes.
    also: reasons that keep none this time.
    """
    held = sum(study.bytes for study in studies)
    chosen = []
    for study in sorted(studies, key=lambda s: (s.settled_at, s.study_instance_uid)):
        if study.kept_because and study.kept_because not in also:
            continue
        old = rule.keep_seconds is not None and now - study.settled_at >= rule.keep_seconds
        if old or (rule.keep_bytes is not None and held > rule.keep_bytes):
            chosen.append(study)
            held -= study.bytes
    return chosen


def to_clean(catalog: Catalog, rule: RetentionRule, now: float, also: Collection[str] = ()) -> list[SpoolStudy]:
    """As choose, of the spool as it is. A study of which nothing is to be delivered goes only while its results are there."""
    folder = catalog.path.parent
    studies = [
        study
        if study.kept_because or study.result is None or (folder / study.result).exists()
        else replace(study, kept_because="no-results")
        for study in spool_studies(catalog)
    ]
    return choose(studies, rule, now, also)


def clean(
    catalog: Catalog, rule: RetentionRule, now: float, also: Collection[str] = (), record: Record = unrecorded
) -> Cleaned:
    """Clean what may go; what an earlier run left half-done is finished first. Only one process at a time.

    record: the audit trail, told of each study before its files go. Raises CatalogError. A file that cannot be unlinked is
    tried again by the next run.
    """
    unlink_removed(catalog, _unlink, sync_folder)
    studies = instances = size = 0
    for study in to_clean(catalog, rule, now, also):

        def record_deleted(files: int, uid: str = study.study_instance_uid) -> None:
            record(Deleted(now, uid, files, rule.description))

        count = begin_removal(catalog, study.study_instance_uid, now, also, record_deleted)
        if count:
            unlink_removed(catalog, _unlink, sync_folder)
            log.info("study %s: %d files cleaned from the spool", short_uid(study.study_instance_uid), count)
            studies, instances, size = studies + 1, instances + count, size + study.bytes
    return Cleaned(studies, instances, size)


def _unlink(path: Path) -> bool:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.error("cannot remove %s from the spool: %s", path.name, error.strerror)
        return False
    return True
