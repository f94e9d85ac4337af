"""What we propose and ask as SCU is what the Conformance Statement says: presentation contexts, roles, C-FIND keys."""

import io
import re
from contextlib import contextmanager
from pathlib import Path

import pydicom
import pytest
from pydicom.datadict import dictionary_description
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel

from dicom_pipeline.config import DicomPeer
from dicom_pipeline.dicom.part10 import encode
from dicom_pipeline.dicom.uids import uid_of
from dicom_pipeline.intake.commitment import event_report
from dicom_pipeline.intake.event_reports import send_event_report
from tests.peers.made import dicom_node
from tests.peers.programs import free_port
from tests.reporting.made import report
from tests.reporting.test_companions import companions

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "conformance.md").read_text()
REPORTS = [f"1.2.840.10008.5.1.4.1.1.88.{last}" for last in (34, 33, 22)]
FIND, PUSH_MODEL, VERIFICATION = "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.1.20.1", "1.2.840.10008.1.1"


@contextmanager
def recording():
    """A node that accepts every class we use; yields its port, the association requests and the C-FIND identifiers."""
    requests, identifiers, entity, port = [], [], AE(ae_title="PEER"), free_port()
    classes = [f"1.2.840.10008.5.1.4.1.1.{tail}" for tail in ("7", "66", "88.59", "104.1")]
    for uid in (*REPORTS, *classes, FIND, VERIFICATION):
        entity.add_supported_context(uid)
    entity.add_supported_context(PUSH_MODEL, scu_role=True, scp_role=True)

    def find(event):
        identifiers.append(event.identifier)
        yield 0xFF00, event.identifier
        yield 0x0000, None

    handlers = [
        (evt.EVT_REQUESTED, lambda event: requests.append(event.assoc.requestor)),
        (evt.EVT_C_STORE, lambda _: 0x0000),
        (evt.EVT_C_FIND, find),
        (evt.EVT_N_ACTION, lambda _: (0x0000, None)),
        (evt.EVT_N_EVENT_REPORT, lambda _: (0x0000, None)),
    ]
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
    try:
        yield port, requests, identifiers
    finally:
        server.shutdown()


def proposed(requestor) -> list[tuple[str, list[str]]]:
    """SOP class and transfer syntaxes of each presentation context."""
    contexts = requestor.primitive.presentation_context_definition_list
    return [(str(c.abstract_syntax), [str(syntax) for syntax in c.transfer_syntax]) for c in contexts]


def row(part: str, activity: str) -> tuple[list[str], list[str], str]:
    """SOP classes, transfer syntaxes and role of an activity in the table of a part of the page."""
    table = PAGE.split(part)[1].split("####")[0]
    classes, syntaxes, role = re.search(
        rf"^\| {re.escape(activity)} \| (.+) \| (.+) \| (.+) \|$", table, re.MULTILINE
    ).groups()
    return [re.findall(r"[\d.]{9,}", text) for text in (classes, syntaxes)] + [role]


@pytest.fixture(scope="module")
def sr() -> bytes:
    return encode(report("CT")[0])


def test_the_contexts_that_deliveries_propose(sr):
    with recording() as (port, requests, _):
        assert dicom_node("PEER", port).send(sr).status == "0x0000"
        assert dicom_node("PEER", port, verify="find").send(sr).verified
        for companion in companions()[0]:
            assert dicom_node("PEER", port).send(encode(companion)).status == "0x0000"
            assert [uid for uid, _ in proposed(requests[-1])] == [str(companion.SOPClassUID)]
        assert dicom_node("PEER", port).echo() == ""
        made = pydicom.dcmread(io.BytesIO(sr))
        node = dicom_node("PEER", port)
        assert node.ask_commitment(uid_of("t"), str(made.SOPClassUID), str(made.SOPInstanceUID), 0.0).error == ""
    activities = {
        "Deliver a report": proposed(requests[0]),
        'with `verify = "find"`, on the same association': [c for c in proposed(requests[1]) if c[0] == FIND],
        "Check a connection (`doctor`)": proposed(requests[-2]),
        "Ask for commitment": proposed(requests[-1]),
    }
    assert [uid for uid, _ in proposed(requests[1])] == [*REPORTS, FIND]
    for activity, contexts in activities.items():
        classes, syntaxes, role = row("7.2.2.3 Association initiation", activity)
        assert ([uid for uid, _ in contexts], role) == (classes, "SCU"), activity
        assert all(given == syntaxes for _, given in contexts), activity
    assert all(len(syntaxes) == 2 for request in requests for _, syntaxes in proposed(request))
    assert {request.maximum_length for request in requests} == {16382}
    assert all(not request.role_selection and request.user_identity is None for request in requests)


def test_the_context_and_role_of_a_commitment_result():
    result = event_report(uid_of("t"), {"1.2.3": ("1.2.840.10008.5.1.4.1.1.2", 0x0119)})
    with recording() as (port, requests, _):
        peer = DicomPeer(type="dicom", name="peer", ae_title="PEER", host="127.0.0.1", port=port)
        assert send_event_report(peer, "DICOMPIPE", *result) == ""
    (request,) = requests
    classes, syntaxes, role = row("7.2.1.3 Association initiation", "Send a commitment result")
    assert role == "SCP"
    assert [(uid, given) for uid, given in proposed(request)] == [(classes[0], syntaxes)]
    (item,) = request.role_selection.values()
    assert (item.sop_class_uid, item.scu_role, item.scp_role) == (StorageCommitmentPushModel, False, True)


def test_the_keys_of_c_find(sr):
    with recording() as (port, _, identifiers):
        assert dicom_node("PEER", port, verify="find").send(sr).verified
    (identifier,) = identifiers
    stated = re.findall(
        r"^\| ([^|]+) \| \(([0-9A-F]{4}),([0-9A-F]{4})\) \| \w\w \| ",
        PAGE.split("5.2.7 Query")[1].split("####")[0],
        re.MULTILINE,
    )
    sent = [(dictionary_description(e.tag), f"{e.tag.group:04X}", f"{e.tag.elem:04X}") for e in identifier]
    assert sent == sorted(stated, key=lambda key: key[1:])
    made = pydicom.dcmread(io.BytesIO(sr))
    assert identifier.QueryRetrieveLevel == "IMAGE"
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        assert identifier[keyword].value == made[keyword].value
