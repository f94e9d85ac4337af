"""Studies in a catalog without files: entered, ready to be processed, and processed."""

from collections.abc import Sequence

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.arrivals import Arrival, Received, enter_instance
from dicom_pipeline.catalog.revisions import Claimed, MadeReport, claim_next, finish, make_revision
from dicom_pipeline.domain import Account, Outcome, Reason

SR = "1.2.840.10008.5.1.4.1.1.88.34"
"""Comprehensive 3D SR Storage."""

USED = (Outcome.USED, None, "")


def record_instance(catalog: Catalog, received: Received) -> Arrival:
    """Enter an instance in a transaction of its own."""
    with catalog.transaction() as run:
        return enter_instance(run, received)


def ready_study(catalog: Catalog, study: str = "1") -> str:
    """A study of one instance whose first revision is ready to be processed; returns the instance's UID."""
    sop = f"{study}.1"
    record_instance(
        catalog,
        Received(sop, "aa", study, "1.9", "1.2.3", "1.2.4", f"instances/{sop}", 10, "AE", "127.0.0.1", "t", 1.0),
    )
    make_revision(catalog, study, 2.0, "quiet")
    return sop


def finish_next(
    catalog: Catalog,
    reports: Sequence[MadeReport],
    *,
    at: float,
    outcome: tuple[Outcome, Reason | None, str] = USED,
) -> Claimed:
    """Process what is next in the queue, all its instances with one outcome."""
    claimed = claim_next(catalog, "w")
    account = Account(dict.fromkeys(claimed.revision.instances, outcome))
    finish(catalog, claimed, account, fingerprint="f", reports=reports, at=at)
    return claimed
