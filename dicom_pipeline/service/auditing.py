"""The audit trail of the settings, and the facts that the service's own parts tell it."""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Sequence

from pydicom import dcmread

from dicom_pipeline.audit import (
    Held,
    Node,
    Outcome,
    Record,
    ReportMade,
    StudyPart,
    Transferred,
)
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.arrivals import close_other_owners
from dicom_pipeline.catalog.revisions import Claimed, MadeReport
from dicom_pipeline.catalog.studies import interrupted_transfers, senders_of
from dicom_pipeline.config import AnyPeer, DicomPeer, FolderPeer
from dicom_pipeline.peers.peer import DeliveryOutcome


class Deliveries:
    """Tells of each report that begins to go to a destination, has arrived, or was set aside."""

    def __init__(self, record: Record, peers: Sequence[AnyPeer]) -> None:
        self._record = record
        self._nodes = {peer.name: _node(peer) for peer in peers}

    def begins(self, destination: str, report: bytes) -> None:
        """The first attempt to send a report."""
        self._record(self._fact(destination, report, begins=True))

    def ended(self, destination: str, report: bytes, outcome: DeliveryOutcome, status: str) -> None:
        """A report has arrived, or was set aside: refused, or tried for too long."""
        if outcome is DeliveryOutcome.DELIVERED:
            self._record(self._fact(destination, report))
        else:
            words = f"set aside, status {status or 'none'}; `dicom-pipeline status` has the peer's words"
            self._record(self._fact(destination, report, outcome=Outcome.SERIOUS_FAILURE, words=words))

    def _fact(
        self,
        destination: str,
        report: bytes,
        *,
        begins: bool = False,
        outcome: Outcome = Outcome.SUCCESS,
        words: str = "",
    ) -> Transferred:
        wanted = ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "PatientID"]
        ds = dcmread(io.BytesIO(report), stop_before_pixels=True, specific_tags=wanted)
        sop_class = str(ds.SOPClassUID)
        part = StudyPart(
            str(ds.StudyInstanceUID),
            {sop_class: 1},
            {sop_class: (str(ds.SOPInstanceUID),)},
            str(ds.get("PatientID", "") or ""),
        )
        node = self._nodes.get(destination, Node(destination))
        return Transferred(time.time(), node, False, part, begins=begins, outcome=outcome, words=words)


def report_made(
    catalog: Catalog,
    claimed: Claimed,
    reports: Sequence[MadeReport],
    *,
    fingerprint: str,
    patient_id: str,
) -> ReportMade:
    """That a revision's reports were made, and of what whom sent."""
    senders = senders_of(catalog, claimed.revision_id)
    sources: Counter[str] = Counter()
    by_sender: Counter[str] = Counter()
    for sender in senders:
        sources[sender.sop_class_uid] += sender.count
        by_sender[f"{sender.calling_ae}@{sender.address}"] += sender.count
    made: dict[str, tuple[str, ...]] = {}
    for report in reports:
        made[report.sop_class_uid] = (*made.get(report.sop_class_uid, ()), report.sop_instance_uid)
    study = claimed.revision.study_instance_uid
    return ReportMade(
        time.time(),
        StudyPart(study, dict(sources), patient_id=patient_id),
        StudyPart(study, {uid: len(uids) for uid, uids in made.items()}, made),
        claimed.revision.number,
        tuple(f"{name} {count} instances" for name, count in sorted(by_sender.items())),
        fingerprint,
        claimed.revision.predecessor,
    )


def forget_interrupted(catalog: Catalog, record: Record, owner: str) -> None:
    """Tell of what came on associations that ended with a service, or a listener, that was killed, and forget these.

    owner: the run whose associations are left; "" for none, as at the start of a listener.
    """
    for found in interrupted_transfers(catalog, owner):
        record(
            Transferred(
                found.last_at,
                Node(found.calling_ae, found.address, found.calling_ae),
                received=True,
                study=StudyPart(found.study_instance_uid, {found.sop_class_uid: found.count}),
                held=Held.NOTHING if found.is_primary else Held.OTHER,
                outcome=Outcome.MINOR_FAILURE,
                words="the service ended before this association did; what is named here was acknowledged and is kept",
            )
        )
    close_other_owners(catalog, owner)


def _node(peer: AnyPeer) -> Node:
    if isinstance(peer, DicomPeer):
        return Node(peer.name, peer.host, peer.ae_title)
    if isinstance(peer, FolderPeer):
        return Node(peer.name, peer.path.absolute().as_uri())
    return Node(peer.name, peer.url)
