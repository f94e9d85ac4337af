"""The store against the catalog: what is missing, what is orphaned, what is stale."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa

from dicom_pipeline.catalog.revisions import FinishedStudy

CHECKED = ("study_instance_uid", "sop_instance_uid", "fingerprint", "revision")
"""The columns that `check` reads."""


class Fault(StrEnum):
    """What can be wrong with a study in the store."""

    MISSING = "missing"
    """Instances that the catalog says were used have no row."""

    ORPHANED = "orphaned"
    """Rows of a study that the catalog does not know, or of instances that its newest revision did not use."""

    STALE = "stale"
    """Rows of another fingerprint or revision than the catalog's newest finished one."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault of one study. count: instances without rows, or rows."""

    study_instance_uid: str
    fault: Fault
    count: int


def check(tables: Iterable[pa.Table], studies: Sequence[FinishedStudy]) -> list[Finding]:
    """Compare rows (CHECKED columns, of every space) with each study's newest finished revision."""
    rows: dict[str, list[tuple[str, str, int]]] = defaultdict(list)
    for table in tables:
        for study, *rest in zip(*(table[name].to_pylist() for name in CHECKED), strict=True):
            rows[study].append((rest[0], rest[1], rest[2]))
    findings = []
    for expected in studies:
        mine = rows.pop(expected.study_instance_uid, [])
        missing = expected.used - {sop for sop, _, _ in mine}
        orphaned = [row for row in mine if row[0] not in expected.used]
        stale = [row for row in mine if row[0] in expected.used and row[1:] != (expected.fingerprint, expected.number)]
        for fault, found in ((Fault.MISSING, missing), (Fault.ORPHANED, orphaned), (Fault.STALE, stale)):
            if found:
                findings.append(Finding(expected.study_instance_uid, fault, len(found)))
    findings += [Finding(study, Fault.ORPHANED, len(left)) for study, left in rows.items()]
    return findings
