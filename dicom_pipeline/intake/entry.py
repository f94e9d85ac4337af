"""The one way into the catalog for an instance that is safe on disk, whichever interface received it.

Nearly always that is one transaction. Other bytes under a known UID are compared before they are taken for other content, by
the thread that received them and outside of any transaction; what they are is then entered in a second one. So the order stays
file synced, entry, Success; what is killed in between leaves a file without an entry, which its sender sends again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from dicom_pipeline import faults
from dicom_pipeline.audit import Held, Node
from dicom_pipeline.catalog.arrivals import Arrival, Known, Received, enter_apart, enter_same, enter_unless_conflict
from dicom_pipeline.catalog.database import Run
from dicom_pipeline.dicom.identity import Identity
from dicom_pipeline.intake.comparison import Comparison
from dicom_pipeline.intake.spool import IncomingFile, Spool, Stored, end_claim

MAX_COMPARED = 4
"""Of the instances under one UID, that which counts first; a UID with more contents than this cannot be accidental."""

Submit = Callable[[Callable[[Run], Arrival | tuple[Known, ...]]], Arrival | tuple[Known, ...]]
"""Runs work in a transaction and gives its result once it is committed. Raises CatalogError."""

HELD = {Arrival.NEW: Held.NOTHING, Arrival.DUPLICATE: Held.SAME, Arrival.CONFLICT: Held.OTHER}


@dataclass(frozen=True, slots=True)
class Origin:
    """How an instance came. calling_ae: the sender's AE title, or the interface; token: of its association, "" without one."""

    transfer_syntax_uid: str
    calling_ae: str
    address: str
    token: str = ""

    @property
    def node(self) -> Node:
        """Who sent it, for the audit trail."""
        return Node(self.calling_ae or self.address, self.address, self.calling_ae if self.token else "")


def received_as(identity: Identity, origin: Origin, stored: Stored, at: float) -> Received:
    """What the catalog is to know of an instance whose file is in the spool. at: seconds since 1970."""
    return Received(
        sop_instance_uid=identity.sop_instance_uid,
        sha256=stored.sha256,
        study_instance_uid=identity.study_instance_uid,
        series_instance_uid=identity.series_instance_uid,
        sop_class_uid=identity.sop_class_uid,
        transfer_syntax_uid=origin.transfer_syntax_uid,
        path=stored.path,
        bytes=stored.bytes,
        fresh=stored.fresh,
        calling_ae=origin.calling_ae,
        address=origin.address,
        token=origin.token,
        at=at,
        modality=identity.modality,
        series_description=identity.series_description,
    )


def keep(
    file: IncomingFile, identity: Identity, origin: Origin, spool: Spool, comparison: Comparison, submit: Submit
) -> Arrival:
    """Name and sync the file of a whole instance, then enter it; what it was. Raises OSError, CatalogError.

    The file is on the disk before its entry: what the catalog names is there, whenever the power fails.
    """
    stored = file.place(identity.sop_instance_uid)
    try:
        faults.passing("placed")
        file.sync(stored)
        faults.passing("synced")
        return enter(received_as(identity, origin, stored, time.time()), stored, spool, comparison, submit)
    finally:
        end_claim(stored)


def enter(received: Received, stored: Stored, spool: Spool, comparison: Comparison, submit: Submit) -> Arrival:
    """Enter an instance whose file is synced; what it was. The file of a re-encoded DUPLICATE is removed by its claim.

    Raises CatalogError; then nothing was entered.
    """
    found = submit(lambda run: enter_unless_conflict(run, received))
    if isinstance(found, Arrival):
        return found
    same = next((known for known in found[:MAX_COMPARED] if _is_same(received, known, spool, comparison)), None)
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
