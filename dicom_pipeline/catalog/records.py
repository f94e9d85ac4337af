"""A finished revision as one plain value, which lies beside its results, so that a lost catalog can be built anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from dicom_pipeline.catalog.arrivals import Received, enter_instance
from dicom_pipeline.catalog.database import Catalog, Run
from dicom_pipeline.catalog.revisions import Claimed, MadeReport, enter_results, outcome_of
from dicom_pipeline.domain import Account, Outcome
from dicom_pipeline.domain.life import RevisionState

RECORD_SCHEMA = "dicom_pipeline/revision/1"


def revision_record(
    catalog: Catalog,
    claimed: Claimed,
    account: Account,
    *,
    fingerprint: str,
    reports: Sequence[MadeReport],
    at: float,
) -> dict[str, Any]:
    """What `finish` with the same arguments enters, and all that the catalog knows of the revision's instances."""
    (revision,) = catalog.read("revision", revision_id=claimed.revision_id)
    instances = []
    for row in catalog.read("revision_record", revision_id=claimed.revision_id):
        outcome, reason, detail = outcome_of(row, account)
        instances.append({**row, "outcome": outcome.value, "reason": reason and reason.value, "detail": detail})
    return {
        "schema": RECORD_SCHEMA,
        **revision,
        "finished_at": at,
        "fingerprint": fingerprint,
        "instances": instances,
        "reports": [asdict(report) for report in reports],
    }


def enter_file(run: Run, received: Received, *, there: bool) -> None:
    """Enter an instance of a rebuilt catalog. there: whether its file is; one that is not counts as cleaned."""
    enter_instance(run, received)
    key = {"sop_instance_uid": received.sop_instance_uid, "sha256": received.sha256}
    if there:
        run.execute("mark_rebuilt", **key)
    else:
        run.execute("mark_removed", at=received.at, **key)


def enter_record(run: Run, record: Mapping[str, Any], at: float) -> None:
    """Enter a finished revision, its reports and their deliveries, whose state nobody knows: they are due at `at`.

    Its instances must have been entered.
    """
    revision_id = run.execute(
        "add_revision",
        **_of(record, "study_instance_uid", "number", "cause", "rule", "predecessor"),
        at=record["created_at"],
        state=RevisionState.PROCESSING.value,
    )
    for instance in record["instances"]:
        outcome = _of(instance, "sop_instance_uid", "sha256", "outcome", "reason", "detail")
        outcome["outcome"] = Outcome(outcome["outcome"]).value  # by its present name
        run.execute("restore_outcome", revision_id=revision_id, **outcome)
    reports = [
        MadeReport(
            **_of(report, "sop_instance_uid", "sop_class_uid", "path", "sha256"),
            destinations=tuple(report["destinations"]),
        )
        for report in record["reports"]
    ]
    used = sum(instance["outcome"] == Outcome.USED for instance in record["instances"])
    fingerprint, finished_at = record["fingerprint"], record["finished_at"]
    enter_results(run, revision_id, reports, used=used, fingerprint=fingerprint, at=finished_at, due_at=at)


def settle_rebuilt(run: Run, at: float) -> None:
    """Let studies wait from now on that have instances of no revision, and no others."""
    run.execute("settle_rebuilt", at=at)


def _of(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: values[name] for name in names}
