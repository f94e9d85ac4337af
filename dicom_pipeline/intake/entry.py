"""The one way into the catalog for an instance that is safe on disk, by whatever door it came.

Nearly always that is one transaction. Other bytes under a known UID are compared before they are taken for other content, by
the thread that received them and outside of any transaction; what they are is then entered in a second one. So the order stays
file synced, entry, Success; what is killed in between leaves a file without an entry, which its sender sends again.
"""

from __future__ import annotations

from collections.abc import Callable

from dicom_pipeline import faults
from dicom_pipeline.audit import Held
from dicom_pipeline.catalog.arrivals import Arrival, Known, Received, enter_apart, enter_same, enter_unless_conflict
from dicom_pipeline.catalog.database import Run
from dicom_pipeline.intake.comparison import Comparison
from dicom_pipeline.intake.spool import Spool, Stored

MOST_COMPARED = 4
"""Of the instances under one UID, that which counts first; a UID that has more contents than this is nobody's slip."""

Submit = Callable[[Callable[[Run], Arrival | tuple[Known, ...]]], Arrival | tuple[Known, ...]]
"""Runs work in a transaction and gives its result once it is committed. Raises CatalogError."""

HELD = {Arrival.NEW: Held.NOTHING, Arrival.DUPLICATE: Held.SAME, Arrival.CONFLICT: Held.OTHER}


def enter(received: Received, stored: Stored, spool: Spool, comparison: Comparison, submit: Submit) -> Arrival:
    """Enter an instance whose file is synced; what it was. The file of a re-encoded DUPLICATE is removed by its claim.

    Raises CatalogError; then nothing was entered.
    """
    found = submit(lambda run: enter_unless_conflict(run, received))
    if isinstance(found, Arrival):
        return found
    same = next((known for known in found[:MOST_COMPARED] if _is_same(received, known, spool, comparison)), None)
    faults.passing("compared")
    if same is None or stored.claim is None:
        arrival = submit(lambda run: enter_apart(run, received))
    else:
        discard = stored.claim.discard
        arrival = submit(lambda run: enter_same(run, received, same, discard))
    assert isinstance(arrival, Arrival)
    return arrival


def _is_same(received: Received, known: Known, spool: Spool, comparison: Comparison) -> bool:
    """Whether an instance has the content of a known one, whose file must be whole: it is the only one that will be left."""
    folder = spool.folder
    same = comparison.same(folder / known.path, folder / received.path)
    return same and spool.is_whole(Stored(known.path, 0, known.sha256))
