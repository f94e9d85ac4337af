"""Each status that the Conformance Statement says our node answers with is provoked, and the page has no other."""

import re
import struct
import threading
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset
from pynetdicom import AE, dsutils, evt

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.config import ListenerSection
from dicom_pipeline.dicom.part10 import encode
from dicom_pipeline.intake import commitment, commitment_results
from dicom_pipeline.intake.dicom_services import ListeningNode
from dicom_pipeline.intake.spool import Spool
from tests.catalog.test_catalog import delivered_report
from tests.peers.programs import free_port
from tests.peers.raw import CT, RawSender, data, data_set
from tests.reporting.made import report

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "conformance.md").read_text()
SR, VERIFICATION = "1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.1.1"
PUSH_MODEL, WELL_KNOWN = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"
CONTEXTS = {CT: 1, VERIFICATION: 3, PUSH_MODEL: 5, SR: 7}
C_STORE, C_GET, C_FIND, C_MOVE, C_ECHO = 0x0001, 0x0010, 0x0020, 0x0021, 0x0030
N_EVENT_REPORT, N_GET, N_SET, N_ACTION, N_CREATE, N_DELETE = 0x0100, 0x0110, 0x0120, 0x0130, 0x0140, 0x0150
REQUESTS_FOR_AN_INSTANCE = (N_GET, N_SET, N_ACTION, N_DELETE)


def command(field: int, sop_class: str, instance: str, kind: int, *, with_data: bool) -> bytes:
    """A command set. kind: event or action type."""
    requested = field in REQUESTS_FOR_AN_INSTANCE
    values = {
        0x0003 if requested else 0x0002: sop_class,
        0x0100: field,
        0x0110: 7,
        0x0700: 0,
        0x0800: 1 if with_data else 0x0101,
        0x1001 if requested else 0x1000: instance,
        0x1008 if field == N_ACTION else 0x1002: kind,
    }
    body = b""
    for number, value in sorted(values.items()):
        content = struct.pack("<H", value) if isinstance(value, int) else value.encode() + b"\0" * (len(value) % 2)
        body += struct.pack("<HHL", 0, number, len(content)) + content
    return struct.pack("<HHLL", 0, 0, 4, len(body)) + body


@pytest.fixture
def node(tmp_path):
    """A function: settings -> a context with a listening node."""

    @contextmanager
    def listening(**settings):
        folder = tmp_path / "spool"
        catalog = Catalog(folder / "catalog.sqlite")
        listener = ListeningNode(ListenerSection(port=free_port(), **settings), catalog, Spool(folder), "run")
        listener.start()
        try:
            yield listener
        finally:
            listener.stop()
            catalog.close()

    return listening


def answer(listener, field, context, *, sop_class=None, instance=WELL_KNOWN, kind=1, body=None) -> int:
    """The status that a request is answered with on the context of a SOP class."""
    sender = RawSender(listener.settings.port, classes=tuple(CONTEXTS))
    asked = command(field, sop_class or context, instance, kind, with_data=body is not None)
    sender.socket.sendall(data(CONTEXTS[context], asked, command=True))
    for start in range(0, len(body or b""), 16000):
        last = start + 16000 >= len(body)
        sender.socket.sendall(data(CONTEXTS[context], body[start : start + 16000], command=False, last=last))
    status = sender.status()
    sender.socket.close()
    return status


def image(uid="1.2.3.4", **values) -> bytes:
    return data_set(uid, "1.2.3.9", **values)


def implicit(dataset: Dataset) -> bytes:
    return dsutils.encode(dataset, True, True)


def question(*uids, transaction="2.25.77") -> bytes:
    asked = Dataset()
    asked.TransactionUID, asked.ReferencedSOPSequence = transaction, []
    for uid in uids:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CT, uid
        asked.ReferencedSOPSequence.append(item)
    return implicit(asked)


def own_report() -> tuple[str, bytes]:
    made = pydicom.dcmread(BytesIO(encode(report("CT")[0])))
    return str(made.SOPInstanceUID), dsutils.encode(made, True, True)


def stated() -> set[tuple[str, str]]:
    """(operation, status) of the page's table."""
    part = PAGE.split("#### 7.3.2 DIMSE services")[1].split("C-CANCEL")[0]
    return set(re.findall(r"^\| ([^|]+) \| (0x[0-9A-F]{4}) \|", part, re.MULTILINE))


def test_the_statuses_of_storage_and_verification(node):
    found = {}
    with node(max_object_bytes=4096) as listener:
        found["C-ECHO"] = {answer(listener, C_ECHO, VERIFICATION)}
        first, other = image(pixels=b"\1\0"), image(pixels=b"\2\0")
        uid, own = own_report()
        good = [answer(listener, C_STORE, CT, instance="1.2.3.4", body=body) for body in (first, first, other)]
        assert good == [0x0000] * 3  # stored, held already, kept apart
        too_large = answer(listener, C_STORE, CT, instance="1.2.3.5", body=image("1.2.3.5", pixels=bytes(8192)))
        mismatch = answer(listener, C_STORE, CT, instance="1.2.3.6", body=image("1.2.3.7"))
        no_uid = answer(listener, C_STORE, CT, instance="one", body=image("1.2.3.8"))
        other_class = answer(listener, C_STORE, CT, sop_class=SR, instance="1.2.3.4", body=first)
        unreadable = answer(listener, C_STORE, CT, instance="1.2.3.4", body=b"\xff" * 64)
        empty = answer(listener, C_STORE, CT, instance="1.2.3.4")
        assert {mismatch, no_uid, other_class} == {0xA900}
        found["C-STORE"] = {*good, too_large, mismatch, unreadable, empty}
        found["any of these"] = {answer(listener, C_ECHO, CT), answer(listener, C_STORE, VERIFICATION, body=first)}
        others = (C_FIND, C_GET, C_MOVE, N_CREATE, N_SET, N_GET, N_DELETE)
        unknown = {answer(listener, field, VERIFICATION) for field in others}
        found["any other, such as C-FIND, C-MOVE, C-GET, N-CREATE"] = unknown
    with node() as listener:  # within the size of a report
        assert answer(listener, C_STORE, SR, instance=uid, body=own) == 0x0000
        assert not list((listener.spool.folder / "instances").rglob(f"*{uid}*"))
    assert {(name, f"0x{s:04X}") for name, each in found.items() for s in each} == {
        pair for pair in stated() if not pair[0].startswith("N-")
    }


def test_the_statuses_of_storage_commitment(node, monkeypatch):
    asked, told = {}, {}
    with node() as listener:
        report_uid, transaction = delivered_report(listener.catalog)
        asked |= {answer(listener, N_ACTION, PUSH_MODEL, body=question("1.2.3")): "taken"}
        asked |= {answer(listener, N_ACTION, PUSH_MODEL, instance="1.2.3", body=question("1.2.3")): "instance"}
        asked |= {answer(listener, N_ACTION, PUSH_MODEL, kind=2, body=question("1.2.3")): "action"}
        asked |= {answer(listener, N_ACTION, PUSH_MODEL, body=question()): "no instance"}
        assert answer(listener, N_ACTION, PUSH_MODEL, body=b"\xff" * 64) == 0x0115
        result = question(report_uid, transaction=transaction)
        told |= {answer(listener, N_EVENT_REPORT, PUSH_MODEL, body=result): "ours"}
        told |= {answer(listener, N_EVENT_REPORT, PUSH_MODEL, body=question("1.2.3", transaction="2.25.99")): "other"}
        told |= {answer(listener, N_EVENT_REPORT, PUSH_MODEL, body=b"\xff" * 64): "unreadable"}
        monkeypatch.setattr(commitment, "MAX_REQUEST_BYTES", 16)
        monkeypatch.setattr(commitment_results, "MAX_BYTES", 16)
        asked |= {answer(listener, N_ACTION, PUSH_MODEL, body=question("1.2.3")): "too large"}
        told |= {answer(listener, N_EVENT_REPORT, PUSH_MODEL, body=result): "too large"}
    assert {("N-ACTION", f"0x{s:04X}") for s in asked} | {("N-EVENT-REPORT", f"0x{s:04X}") for s in told} == {
        pair for pair in stated() if pair[0].startswith("N-")
    }


def test_the_failure_reasons_of_a_commitment(node):
    """Of an instance that is not held, one that is held under another class, and one whose file is damaged."""
    answers, came = [], threading.Event()

    def take(event):
        answers.append(event.event_information)
        came.set()
        return 0x0000, None

    with node() as listener:
        for uid in ("1.2.3.4", "1.2.3.5"):
            assert answer(listener, C_STORE, CT, instance=uid, body=image(uid, pixels=b"\1\0")) == 0x0000
        for path in (listener.spool.folder / "instances").rglob("*.dcm"):
            if b"1.2.3.5" in path.read_bytes():
                path.write_bytes(path.read_bytes()[:-1] + b"\7")
        asked = Dataset()
        asked.TransactionUID, asked.ReferencedSOPSequence = "2.25.78", []
        for sop_class, uid in ((CT, "1.2.3.6"), (SR, "1.2.3.4"), (CT, "1.2.3.5")):
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
            asked.ReferencedSOPSequence.append(item)
        entity = AE()
        entity.add_requested_context(PUSH_MODEL)
        association = entity.associate(
            "127.0.0.1", listener.settings.port, ae_title="DICOMPIPE", evt_handlers=[(evt.EVT_N_EVENT_REPORT, take)]
        )
        association.send_n_action(asked, 1, PUSH_MODEL, WELL_KNOWN)
        assert came.wait(20)
        association.release()
    given = {item.ReferencedSOPInstanceUID: item.FailureReason for item in answers[0].FailedSOPSequence}
    (text,) = re.findall(r"Failure Reasons \(0008,1197\): (.*?\.)", " ".join(PAGE.split()))
    words = {"1.2.3.6": "not held", "1.2.3.4": "held under another SOP class", "1.2.3.5": "its file is damaged"}
    assert text == ", ".join(f"0x{given[uid]:04X} {what}" for uid, what in words.items()) + "."


def test_the_sizes_of_the_page_are_those_of_the_code():
    assert commitment.MAX_REQUEST_BYTES == commitment_results.MAX_BYTES == 16 * 1024**2
    assert PAGE.count("above 16 MiB") == 2


def test_of_the_transfer_syntaxes_in_one_context_the_first_of_the_table_is_chosen(node):
    table = re.findall(
        r"\| (1\.2\.840\.[\d.]+) \|", PAGE.split("<!-- table: transfer-syntaxes -->")[1].split("<!--")[0]
    )
    with node() as listener:
        for first, last in ((0, 1), (1, 2), (1, 10), (4, 17)):
            proposed = [table[last], table[first]]
            for order in (proposed, proposed[::-1]):
                entity = AE()
                entity.add_requested_context(CT, order)
                association = entity.associate("127.0.0.1", listener.settings.port, ae_title="DICOMPIPE")
                assert association.accepted_contexts[0].transfer_syntax == [table[first]]
                association.release()
