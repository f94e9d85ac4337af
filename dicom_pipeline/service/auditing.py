"""The audit trail of the settings, and the facts that the service's own parts tell it."""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

from pydicom import dcmread

from dicom_pipeline.audit import (
    Accessed,
    Held,
    Node,
    Outcome,
    Queried,
    Record,
    ReportMade,
    StudyPart,
    Transferred,
)
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.arrivals import close_other_owners
from dicom_pipeline.catalog.revisions import Claimed, MadeReport
from dicom_pipeline.catalog.studies import interrupted_transfers, senders_of
from dicom_pipeline.config import AnyDestination, DicomDestination, FolderDestination
from dicom_pipeline.peers.peer import Ending

READ_ROUTES = ("explain", "scores", "report", "contact-sheet", "similar")
"""Routes below /studies/{uid} that show what was made of a study; its state and counts are asked too often to be told."""


class Deliveries:
    """Tells of each report that begins to go to a destination, has arrived, or was set aside."""

    def __init__(self, record: Record, destinations: Sequence[AnyDestination]) -> None:
        self._record = record
        self._nodes = {entry.name: _node(entry) for entry in destinations}

    def begins(self, destination: str, report: bytes) -> None:
        """The first attempt to send a report."""
        self._record(self._fact(destination, report, begins=True))

    def ended(self, destination: str, report: bytes, ending: Ending, status: str) -> None:
        """A report has arrived, or was set aside: refused, or tried for too long."""
        if ending is Ending.DELIVERED:
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


def http_access(method: str, target: str, status: int, address: str) -> Accessed | Queried | None:
    """What an answered request reads that the trail must tell of; None for all others."""
    parts = urlsplit(target)
    path = [unquote(piece) for piece in parts.path.strip("/").split("/")]
    user = Node("HTTP", address)
    if method != "GET" or status != 200:
        return None
    if path == ["search"]:
        return Queried(time.time(), user, target)
    if len(path) == 3 and path[0] == "studies" and path[2] in READ_ROUTES:
        return Accessed(time.time(), user, path[1], path[2])
    return None


def _node(entry: AnyDestination) -> Node:
    if isinstance(entry, DicomDestination):
        return Node(entry.name, entry.host, entry.ae_title)
    if isinstance(entry, FolderDestination):
        return Node(entry.name, entry.path.absolute().as_uri())
    return Node(entry.name, entry.url)
