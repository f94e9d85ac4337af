"""ACCOUNT FOR WHO: what happened, as DICOM audit messages (PS3.15 A.5) in files of their own and, where asked, in a syslog.

facts (what can happen, as values), messages (a fact -> one line of XML), trail (the files that every process of the service
appends to). transfers and alerts (what the listener gathers until a fact is whole), syslog (RFC 5424 over UDP or TLS),
forwarder (the files -> the syslog).
"""

from dicom_pipeline.audit.facts import (
    Accessed,
    Acknowledged,
    Activity,
    Alert,
    AlertKind,
    Deleted,
    Exported,
    Fact,
    GivenUp,
    Held,
    Node,
    Outcome,
    Queried,
    Record,
    ReportMade,
    StudyPart,
    Transferred,
    unrecorded,
)
from dicom_pipeline.audit.messages import Origin, message_of
from dicom_pipeline.audit.trail import Trail

__all__ = [
    "Accessed",
    "Acknowledged",
    "Activity",
    "Alert",
    "AlertKind",
    "Deleted",
    "Exported",
    "Fact",
    "GivenUp",
    "Held",
    "Node",
    "Origin",
    "Outcome",
    "Queried",
    "Record",
    "ReportMade",
    "StudyPart",
    "Trail",
    "Transferred",
    "message_of",
    "unrecorded",
]
