"""A fact -> one DICOM audit message (PS3.15 A.5.1 to A.5.3) as one line of XML.

Study Instance UIDs are in it, and no other patient data: the Patient participant object, which the tables of A.5.3 ask for, is
there only where the origin says so (docs/decisions/5-no-patient-in-the-audit-trail.md).
"""

from __future__ import annotations

import base64
import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import singledispatch
from xml.etree.ElementTree import Element, SubElement, tostring

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
    ReportMade,
    StudyPart,
    Transferred,
)

CODES = {  # PS3.16 annex D; CID 400 to 405
    "110100": "Application Activity",
    "110120": "Application Start",
    "110121": "Application Stop",
    "110150": "Application",
    "110102": "Begin Transferring DICOM Instances",
    "110103": "DICOM Instances Accessed",
    "110104": "DICOM Instances Transferred",
    "110105": "DICOM Study Deleted",
    "110106": "Export",
    "110112": "Query",
    "110113": "Security Alert",
    "110126": "Node Authentication",
    "110152": "Destination Role ID",
    "110153": "Source Role ID",
    "110154": "Destination Media",
    "110037": "URI",
    "110180": "Study Instance UID",
    "110182": "Node ID",
}
ASSOCIATION_FAILURE = ("association-failure", "99DICOMPIPE", "Association Failure")
"""CID 403 has no type for an association that breaks the protocol or a limit, and may be extended."""

ACTIONS = {Held.NOTHING: "C", Held.SAME: "R", Held.OTHER: "C", Held.UNKNOWN: "R"}
SYSTEM_OBJECT, PERSON = "2", "1"
PATIENT, REPORT, SECURITY_RESOURCE, QUERY = "1", "3", "13", "24"
CREATION, IMPORT, USE, EXPORT, DELETION = "1", "2", "6", "10", "14"


@dataclass(frozen=True, slots=True)
class Origin:
    """Who tells. source_id: AuditSourceID; process, pid: as in the log lines; patient_ids: name patients too."""

    source_id: str
    ae_title: str
    process: str
    pid: int
    site_id: str = ""
    patient_ids: bool = False


def message_of(fact: Fact, origin: Origin) -> str:
    """The message as one line without a line break."""
    message = _message(fact, _Sheet(origin))
    return tostring(message, encoding="unicode", short_empty_elements=True)


@singledispatch
def _message(fact: object, sheet: _Sheet) -> Element:  # noqa: ARG001 - the registered ones fill it in
    raise TypeError(f"no audit message tells of {type(fact).__name__}")


@_message.register(Activity)
def _activity(fact: Activity, sheet: _Sheet) -> Element:
    kind = "110120" if fact.started else "110121"
    sheet.event("110100", "E", fact.at, types=(_dcm(kind),))
    sheet.ourselves("110150", requests=False)
    return sheet.whole()


@_message.register(Transferred)
def _transferred(fact: Transferred, sheet: _Sheet) -> Element:
    if fact.begins:
        sheet.event("110102", "E", fact.at)
    else:
        sheet.event("110104", ACTIONS[fact.held], fact.at, fact.outcome, fact.words)
    if fact.received:
        sheet.participant(fact.peer, "110153", requests=True)
        sheet.ourselves("110152", requests=False)
    else:
        sheet.ourselves("110153", requests=True)
        sheet.participant(fact.peer, "110152", requests=False)
    sheet.study(fact.study, IMPORT if fact.received else EXPORT)
    sheet.patient(fact.study.patient_id)
    return sheet.whole()


@_message.register(ReportMade)
def _report_made(fact: ReportMade, sheet: _Sheet) -> Element:
    sheet.event("110103", "C", fact.at)
    sheet.ourselves("", requests=True)
    details = [("Revision", str(fact.revision)), *(("Sender", line) for line in fact.senders)]
    sheet.study(fact.sources, USE, details)
    made = [("Revision", str(fact.revision)), ("Fingerprint", fact.fingerprint)]
    if fact.predecessor:
        made.append(("Predecessor", fact.predecessor))
    sheet.study(fact.made, CREATION, made)
    sheet.patient(fact.sources.patient_id)
    return sheet.whole()


@_message.register(Accessed)
def _accessed(fact: Accessed, sheet: _Sheet) -> Element:
    sheet.event("110103", "R", fact.at)
    sheet.participant(fact.user, "", requests=True)
    sheet.ourselves("", requests=False)
    sheet.study(StudyPart(fact.study_instance_uid, {}), USE, [("Route", fact.what)])
    return sheet.whole()


@_message.register(Queried)
def _queried(fact: Queried, sheet: _Sheet) -> Element:
    sheet.event("110112", "E", fact.at)
    sheet.participant(fact.user, "110153", requests=True)
    sheet.ourselves("110152", requests=False)
    sheet.object("store", "12", "RFC-3881", "URI", role=REPORT, query=fact.query)
    return sheet.whole()


@_message.register(Exported)
def _exported(fact: Exported, sheet: _Sheet) -> Element:
    sheet.event("110106", "R", fact.at)
    sheet.participant(fact.user, "110153", requests=True)
    sheet.ourselves("110153", requests=False)
    media = sheet.participant(Node(fact.place, fact.place), "110154", requests=False)
    _code(SubElement(SubElement(media, "MediaIdentifier"), "MediaType"), *_dcm("110037"))
    details = list(fact.details.items())
    for study in fact.studies:
        sheet.study(StudyPart(study, {}), EXPORT, details)
        details = []
    for patient in dict.fromkeys(fact.studies.values()):
        sheet.patient(patient)
    return sheet.whole()


@_message.register(Deleted)
def _deleted(fact: Deleted, sheet: _Sheet) -> Element:
    sheet.event("110105", "D", fact.at)
    sheet.ourselves("", requests=True)
    details = [("Files", str(fact.instances)), ("Rule", fact.words)]
    sheet.study(StudyPart(fact.study_instance_uid, {}), DELETION, details)
    return sheet.whole()


@_message.register(Acknowledged)
def _acknowledged(fact: Acknowledged, sheet: _Sheet) -> Element:
    sheet.event("110103", "U", fact.at)
    sheet.participant(fact.user, "", requests=True)
    sheet.ourselves("", requests=False)
    details = [("Failure acknowledged", f"revision {number}") for number in fact.revisions]
    sheet.study(StudyPart(fact.study_instance_uid, {}), USE, details)
    return sheet.whole()


@_message.register(GivenUp)
def _given_up(fact: GivenUp, sheet: _Sheet) -> Element:
    sheet.event("110104", "R", fact.at, Outcome.SERIOUS_FAILURE, f"given up: {fact.words}")
    sheet.participant(fact.user, "", requests=True)
    sheet.ourselves("110153", requests=False)
    sheet.participant(fact.destination, "110152", requests=False)
    sheet.study(fact.made, EXPORT)
    return sheet.whole()


@_message.register(Alert)
def _alert(fact: Alert, sheet: _Sheet) -> Element:
    kind = _dcm("110126") if fact.kind is AlertKind.NODE_AUTHENTICATION else ASSOCIATION_FAILURE
    sheet.event("110113", "E", fact.at, Outcome.MINOR_FAILURE, types=(kind,))
    sheet.ourselves("", requests=False)
    sheet.participant(fact.node, "", requests=False)
    words = fact.words if fact.count == 1 else f"{fact.words} ({fact.count} times)"
    address = fact.node.address or "unknown"
    sheet.object(
        address, *_dcm("110182"), role=SECURITY_RESOURCE, name=fact.node.name, details=[("Alert Description", words)]
    )
    return sheet.whole()


class _Sheet:
    """A message as it is filled in, in the order that the schema wants."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._root = Element("AuditMessage")
        self._objects: list[Element] = []

    def event(
        self,
        code: str,
        action: str,
        at: float,
        outcome: Outcome = Outcome.SUCCESS,
        words: str = "",
        types: tuple[tuple[str, str, str], ...] = (),
    ) -> None:
        """EventIdentification."""
        made = SubElement(self._root, "EventIdentification", EventActionCode=action)
        made.set("EventDateTime", datetime.fromtimestamp(at, tz=UTC).isoformat(timespec="milliseconds"))
        made.set("EventOutcomeIndicator", str(outcome.value))
        _code(SubElement(made, "EventID"), *_dcm(code))
        for kind in types:
            _code(SubElement(made, "EventTypeCode"), *kind)
        if words:
            SubElement(made, "EventOutcomeDescription").text = clean(words)

    def participant(self, node: Node, role: str, *, requests: bool) -> Element:
        """An ActiveParticipant."""
        made = SubElement(self._root, "ActiveParticipant", UserID=clean(node.name) or "unknown")
        if node.ae_title:
            made.set("AlternativeUserID", f"AETITLES={clean(node.ae_title)}")
        made.set("UserIsRequestor", "true" if requests else "false")
        if node.address:
            made.set("NetworkAccessPointID", clean(node.address))
            made.set("NetworkAccessPointTypeCode", _access_point(node.address))
        if role:
            _code(SubElement(made, "RoleIDCode"), *_dcm(role))
        return made

    def ourselves(self, role: str, *, requests: bool) -> None:
        """This process as an ActiveParticipant: its id and name as the log lines have them (A.5.2.1)."""
        made = self.participant(Node(str(self._origin.pid), ae_title=self._origin.ae_title), role, requests=requests)
        made.set("UserName", clean(self._origin.process))

    def study(self, part: StudyPart, life_cycle: str, details: list[tuple[str, str]] | None = None) -> None:
        """A study as ParticipantObjectIdentification, with its SOP classes."""
        made = self.object(
            part.study_instance_uid, *_dcm("110180"), role=REPORT, life_cycle=life_cycle, details=details or []
        )
        if not part.classes:
            return
        description = SubElement(made, "ParticipantObjectDescription")
        for uid, count in sorted(part.classes.items()):
            group = SubElement(description, "SOPClass", UID=clean(uid), NumberOfInstances=str(count))
            for instance in part.instances.get(uid, ()):
                SubElement(group, "Instance", UID=clean(instance))

    def patient(self, patient_id: str) -> None:
        """The patient, where the settings say so."""
        if self._origin.patient_ids and patient_id:
            self.object(patient_id, "2", "RFC-3881", "Patient Number", role=PATIENT, kind=PERSON)

    def object(
        self,
        identifier: str,
        *code: str,
        role: str,
        kind: str = SYSTEM_OBJECT,
        life_cycle: str = "",
        name: str = "",
        query: str | None = None,
        details: list[tuple[str, str]] | None = None,
    ) -> Element:
        """A ParticipantObjectIdentification. The schema wants a name or a query; without either the identifier is the name."""
        made = Element("ParticipantObjectIdentification", ParticipantObjectID=clean(identifier))
        made.set("ParticipantObjectTypeCode", kind)
        made.set("ParticipantObjectTypeCodeRole", role)
        if life_cycle:
            made.set("ParticipantObjectDataLifeCycle", life_cycle)
        _code(SubElement(made, "ParticipantObjectIDTypeCode"), *code)
        if query is None:
            SubElement(made, "ParticipantObjectName").text = clean(name or identifier)
        else:
            SubElement(made, "ParticipantObjectQuery").text = _base64(query)
        for type_, value in details or []:
            SubElement(made, "ParticipantObjectDetail", type=type_, value=_base64(value))
        self._objects.append(made)
        return made

    def whole(self) -> Element:
        """The message, its source and objects behind the participants."""
        source = SubElement(self._root, "AuditSourceIdentification", AuditSourceID=clean(self._origin.source_id))
        if self._origin.site_id:
            source.set("AuditEnterpriseSiteID", clean(self._origin.site_id))
        SubElement(source, "AuditSourceTypeCode").set("csd-code", "4")  # application server process
        self._root.extend(self._objects)
        return self._root


def clean(text: str) -> str:
    """Received text as it may stand in a line of XML: no control character, no line break, nothing outside XML 1.0."""
    return "".join(c if c.isprintable() and c not in "\ufffe\uffff" else "?" for c in text).strip()


def _dcm(code: str) -> tuple[str, str, str]:
    return code, "DCM", CODES[code]


def _code(element: Element, value: str, scheme: str, meaning: str) -> None:
    element.set("csd-code", value)
    element.set("codeSystemName", scheme)
    element.set("originalText", meaning)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "replace")).decode("ascii")


def _access_point(address: str) -> str:
    """NetworkAccessPointTypeCode: 1 a host name, 2 an IP address, 5 a URI."""
    if "://" in address:
        return "5"
    try:
        ipaddress.ip_address(address.split("%", maxsplit=1)[0])
    except ValueError:
        return "1"
    return "2"
