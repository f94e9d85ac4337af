"""Audit messages by PS3.15 A.5: by the schema, and by the tables of A.5.3 where the schema leaves things open."""

import base64
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.sr.codedict import codes

from dicom_pipeline.audit import Alert, AlertKind, Node, message_of
from dicom_pipeline.audit.messages import CODES
from tests.audit.facts import AT, CT, FACTS, ORIGIN, SR, problems

TABLES = {  # EventID, EventActionCode, EventTypeCode, (RoleIDCode, UserIsRequestor) of each participant, roles of the objects
    "started": ("110100", "E", "110120", [("110150", "false")], []),
    "stopped": ("110100", "E", "110121", [("110150", "false")], []),
    "received": ("110104", "C", None, [("110153", "true"), ("110152", "false")], ["3"]),
    "received-again": ("110104", "R", None, [("110153", "true"), ("110152", "false")], ["3"]),
    "conflict": ("110104", "C", None, [("110153", "true"), ("110152", "false")], ["3"]),
    "begins": ("110102", "E", None, [("110153", "true"), ("110152", "false")], ["3"]),
    "delivered": ("110104", "R", None, [("110153", "true"), ("110152", "false")], ["3"]),
    "report": ("110103", "C", None, [(None, "true")], ["3", "3"]),
    "accessed": ("110103", "R", None, [(None, "true"), (None, "false")], ["3"]),
    "queried": ("110112", "E", None, [("110153", "true"), ("110152", "false")], ["3"]),
    "exported": ("110106", "R", None, [("110153", "true"), ("110153", "false"), ("110154", "false")], ["3", "3"]),
    "deleted": ("110105", "D", None, [(None, "true")], ["3"]),
    "acknowledged": ("110103", "U", None, [(None, "true"), (None, "false")], ["3"]),
    "given-up": ("110104", "R", None, [(None, "true"), ("110153", "false"), ("110152", "false")], ["3"]),
    "alert": ("110113", "E", "110126", [(None, "false"), (None, "false")], ["13"]),
    "alerts": ("110113", "E", "association-failure", [(None, "false"), (None, "false")], ["13"]),
}


def parsed(name, origin=ORIGIN):
    return ET.fromstring(message_of(FACTS[name], origin))


def details(element):
    return [(d.get("type"), base64.b64decode(d.get("value")).decode()) for d in element.iter("ParticipantObjectDetail")]


@pytest.mark.system
def test_every_kind_of_message_meets_the_schema(tmp_path):
    named = replace(ORIGIN, patient_ids=True)
    lines = [
        message_of(fact, origin) for fact in FACTS.values() for origin in (ORIGIN, named, replace(ORIGIN, site_id=""))
    ]
    assert problems(lines, tmp_path) == ""
    assert "AuditMessage" in problems(["<AuditMessage/>"], tmp_path / "wrong")  # the schema does say no


@pytest.mark.parametrize("name", FACTS)
def test_the_tables_of_a_5_3(name):
    message = parsed(name)
    event, action, kind, participants, roles = TABLES[name]
    identification = message.find("EventIdentification")
    assert identification.find("EventID").get("csd-code") == event
    assert identification.get("EventActionCode") == action
    assert identification.get("EventDateTime") == "2025-11-25T00:20:00.250+00:00"
    found = identification.find("EventTypeCode")
    assert (found.get("csd-code") if found is not None else None) == kind
    told = [
        (None if p.find("RoleIDCode") is None else p.find("RoleIDCode").get("csd-code"), p.get("UserIsRequestor"))
        for p in message.iter("ActiveParticipant")
    ]
    assert told == participants
    objects = list(message.iter("ParticipantObjectIdentification"))
    assert [o.get("ParticipantObjectTypeCodeRole") for o in objects] == roles
    assert message.find("AuditSourceIdentification").get("AuditSourceID") == "DICOMPIPE@host"
    assert all(p.get("UserID") for p in message.iter("ActiveParticipant"))


def test_the_codes_are_those_of_dicom():
    known = {getattr(codes.DCM, name).value: getattr(codes.DCM, name).meaning for name in codes.DCM.dir()}
    assert {value: known[value] for value in CODES} == CODES


def test_a_report_is_linked_to_its_study_revision_and_senders():
    sources, made = parsed("report").iter("ParticipantObjectIdentification")
    assert sources.get("ParticipantObjectID") == made.get("ParticipantObjectID") == "1.2.3.4"
    assert details(sources) == [("Revision", "2"), ("Sender", "CT1@10.1.2.3 20 instances")]
    assert sources.find(".//SOPClass").attrib == {"UID": CT, "NumberOfInstances": "20"}
    assert details(made) == [("Revision", "2"), ("Fingerprint", "ab" * 32), ("Predecessor", "2.25.8")]
    assert made.find(".//SOPClass").attrib == {"UID": SR, "NumberOfInstances": "1"}
    assert made.find(".//Instance").get("UID") == "2.25.9"


def test_who_sent_is_told_by_ae_title_and_address():
    sender, ours = parsed("received").iter("ActiveParticipant")
    assert sender.attrib == {
        "UserID": "CT1",
        "AlternativeUserID": "AETITLES=CT1",
        "UserIsRequestor": "true",
        "NetworkAccessPointID": "10.1.2.3",
        "NetworkAccessPointTypeCode": "2",
    }
    assert (ours.get("UserID"), ours.get("UserName")) == ("4711", "listener")
    points = [
        [p.get("NetworkAccessPointTypeCode") for p in parsed(name).iter("ActiveParticipant")]
        for name in ("delivered", "exported")
    ]
    assert points == [[None, "1"], [None, None, "5"]]


@pytest.mark.parametrize("name", ["received", "report", "exported"])
def test_patients_are_named_only_where_that_is_set(name):
    def patients(origin):
        objects = parsed(name, origin).iter("ParticipantObjectIdentification")
        return [o.get("ParticipantObjectID") for o in objects if o.get("ParticipantObjectTypeCode") == "1"]

    assert patients(ORIGIN) == []
    assert "PAT-42" not in message_of(FACTS[name], ORIGIN)
    assert patients(replace(ORIGIN, patient_ids=True)) in (["PAT-42"], ["P1", "P2"])


@given(title=st.text(max_size=20), words=st.text(max_size=40))
def test_received_text_never_breaks_a_line_or_the_xml(title, words):
    line = message_of(Alert(AT, AlertKind.NODE_AUTHENTICATION, Node(title, title, title), words), ORIGIN)
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    message = ET.fromstring(line)
    assert details(message)[0][1].encode("utf-8", "replace") == words.encode("utf-8", "replace")
