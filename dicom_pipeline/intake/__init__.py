"""RECEIVE: instances over DICOM into the spool, durable before Success is said; and when a study is complete.

On the wire: wire (PDUs), negotiation (associations), messages (DIMSE commands), association (one connection), tls,
certificates (are our files good) and handshakes (why one failed).
What is admitted: admission (settings, limits), identity (what an instance is known by), held (what of it was here before).
What becomes of it: storing (C-STORE), spool (durable files), entering (into the catalog, by whatever door), comparison (is
it the same content, re-encoded), commits (group commit), commitment (Storage Commitment that we
are asked for), event_reports (its results), commitment_results (of what we asked for). upload takes whole files; listener
holds it all; completion (when a study is complete) is pure, ages makes it proof against clocks that jump; retention cleans
the spool.
"""

from dicom_pipeline.intake.admission import ListenerSettings, Peer, check_address
from dicom_pipeline.intake.ages import Ages
from dicom_pipeline.intake.completion import AtCap, CompletionRule, Decision, decide, rule_for
from dicom_pipeline.intake.listener import PARTS, Listener
from dicom_pipeline.intake.spool import Spool
from dicom_pipeline.intake.upload import Taken, Upload, Uploads

__all__ = [
    "PARTS",
    "Ages",
    "AtCap",
    "CompletionRule",
    "Decision",
    "Listener",
    "ListenerSettings",
    "Peer",
    "Spool",
    "Taken",
    "Upload",
    "Uploads",
    "check_address",
    "decide",
    "rule_for",
]
