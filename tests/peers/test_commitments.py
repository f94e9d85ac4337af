"""Asking destinations to commit what they were sent: what odd answers, errors, many questions and a set clock lead to."""

import copy
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.account import service_account
from dicom_pipeline.catalog.commitment_requests import MAX_FAILURES, due_request, record_result
from dicom_pipeline.catalog.outbox import Commitment, due_delivery, record_delivered
from dicom_pipeline.catalog.revisions import MadeReport
from dicom_pipeline.delivery.retry import RetryRule
from dicom_pipeline.delivery.sender import Sender
from dicom_pipeline.errors import CatalogError
from dicom_pipeline.peers.peer import Attempt, CommitmentReply, DeliveryOutcome
from tests.peers.entries import SR, finish_next, ready_study
from tests.peers.made import dicom_node
from tests.peers.programs import free_port, wait_until

DAY = 24 * 3600.0


def delivered(folder: Path, count: int, at: float) -> Catalog:
    """A catalog with so many reports that "pacs" took, and whose commitment it is to be asked for; one is still pending."""
    catalog = Catalog(folder / "catalog.sqlite")
    ready_study(catalog)
    (folder / "report.dcm").write_bytes(b"a report")
    reports = [MadeReport(f"9.{number}", SR, "report.dcm", "h", ("pacs",)) for number in range(count + 1)]
    finish_next(catalog, reports, at=at)
    for _ in range(count):
        due = due_delivery(catalog, "pacs", at)
        wanted = Commitment(f"2.25.{due.report_uid[2:]}", SR, due.report_uid)
        record_delivered(catalog, due, status="0x0000", message="", verified=False, at=at, commitment=wanted)
    return catalog


@contextmanager
def peer(answer):
    """A node that takes questions. answer: told of each, on a thread of its own while the association is open."""
    asked = []

    def act(event):
        asked.append(str(event.action_information.ReferencedSOPSequence[0].ReferencedSOPInstanceUID))
        threading.Timer(0.05, answer, (event.assoc, copy.deepcopy(event.action_information))).start()
        return 0x0000, None

    entity, port = AE(ae_title="PEER"), free_port()
    entity.add_supported_context(StorageCommitmentPushModel)
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_N_ACTION, act)])
    try:
        yield dicom_node("PEER", port, verify="commitment"), asked
    finally:
        server.shutdown()


class Odd:
    """A destination whose questions fail in a way that nobody foresaw, save for one object's."""

    name = "pacs"

    def __init__(self, good: str) -> None:
        self.good = good

    def send(self, report: bytes) -> Attempt:
        return Attempt(DeliveryOutcome.RETRY, "0xA700")

    def echo(self) -> str:
        return ""

    def ask_commitment(self, transaction_uid, sop_class_uid, sop_instance_uid, answer_seconds=0.0) -> CommitmentReply:
        if sop_instance_uid != self.good:
            raise AttributeError("nobody foresaw this")
        return CommitmentReply("", {sop_instance_uid: None})


def test_an_answer_about_another_object_is_no_answer_and_the_peer_is_left_in_peace(tmp_path):
    def about_another(association, asked):
        asked.ReferencedSOPSequence[0].ReferencedSOPInstanceUID = "1.2.3.4"
        result = Dataset()
        result.TransactionUID = asked.TransactionUID
        result.ReferencedSOPSequence = DicomSequence(asked.ReferencedSOPSequence)
        association.send_n_event_report(result, 1, StorageCommitmentPushModel, "1.2.840.10008.1.20.1.1")

    catalog = delivered(tmp_path, 1, time.time())
    with peer(about_another) as (node, asked):
        sender = Sender(catalog, tmp_path, [node])
        assert sender.ask_due(node)
        assert not sender.ask_due(node)
    assert asked == ["9.0"]
    assert service_account(catalog)["commitments"] == {"pacs": {"pending": 1}}


def test_a_question_that_fails_unforeseen_holds_up_no_other_and_touches_no_delivery(tmp_path):
    catalog = delivered(tmp_path, 3, time.time() - 5)
    sender = Sender(catalog, tmp_path, [Odd("9.2")], {"pacs": RetryRule(first_seconds=0.1, max_wait_seconds=0.1)})
    sender.start()
    try:
        wait_until(
            lambda: service_account(catalog)["commitments"]["pacs"].get("committed") == 1, 60, "the third was not asked"
        )
    finally:
        sender.stop()
    account = service_account(catalog)
    assert account["deliveries"] == {"pacs": {"delivered": 3, "pending": 1}}
    assert account["commitments"] == {"pacs": {"committed": 1, "pending": 2}}


def test_a_peer_that_answers_elsewhere_is_not_waited_for_with_each_question(tmp_path):
    """Orthanc and most archives answer on an association of their own: a thousand reports must not take half an hour."""
    catalog = delivered(tmp_path, 20, time.time())
    with peer(lambda *_: None) as (node, asked):
        sender = Sender(catalog, tmp_path, [node])
        began = time.monotonic()
        while sender.ask_due(node):
            pass
        took = time.monotonic() - began
    assert len(asked) == 20
    assert took < 20, "two seconds for each"


def test_a_clock_that_was_set_back_holds_up_no_question(tmp_path):
    catalog = delivered(tmp_path, 1, 1.7e9)
    assert due_request(catalog, "pacs", 1.7e9 - 365 * DAY) is not None
    assert due_request(catalog, "pacs", 1.7e9 - 60) is None


def test_a_first_question_that_comes_late_is_not_given_up_before_it_can_be_answered(tmp_path):
    catalog = delivered(tmp_path, 1, time.time() - 2 * DAY)  # the service stood still in between
    with peer(lambda *_: None) as (node, _):
        assert Sender(catalog, tmp_path, [node]).ask_due(node)
    assert service_account(catalog)["commitments"] == {"pacs": {"pending": 1}}


@pytest.mark.parametrize("days", [0.5, 30])
def test_what_was_not_committed_is_sent_again_as_patiently_as_at_first(tmp_path, days):
    """The peer lost it long after it came: the time after which a delivery is given up begins anew."""
    catalog = delivered(tmp_path, 1, 1.7e9)
    late = 1.7e9 + days * DAY
    assert record_result(catalog, "2.25.0", {"9.0": 0x0112}, late)
    again = due_delivery(catalog, "pacs", late + 61)
    while again.report_uid != "9.0":
        record_delivered(catalog, again, status="", message="", verified=True, at=late)
        again = due_delivery(catalog, "pacs", late + 61)
    assert (again.created_at, again.attempts) == (late, 0)


def test_a_result_that_is_told_twice_is_understood_twice_and_counts_once(tmp_path):
    """Its sender did not get our answer, and would repeat it for ever if the second were an error."""
    catalog = delivered(tmp_path, 1, 1.7e9)
    for _ in range(2):
        assert record_result(catalog, "2.25.0", {"9.0": 0x0112}, 1.7e9 + 5)
    assert not record_result(catalog, "2.25.0", {"9.77": None}, 1.7e9 + 5)
    assert not record_result(catalog, "2.25.99", {"9.0": None}, 1.7e9 + 5)
    account = service_account(catalog)
    assert account["commitments"] == {"pacs": {"failed": 1}}
    assert [d["message"] for d in account["revisions"][0]["deliveries"] if d["message"]] == [
        "stored, but not committed: 0x0112 (1 times)"
    ]


def test_a_catalog_that_cannot_be_written_ends_no_thread(tmp_path, monkeypatch):
    """Sending fails unforeseen, and that cannot be entered just then: the destination goes on once it can."""
    catalog = delivered(tmp_path, 0, time.time() - 5)
    odd = Odd("")
    monkeypatch.setattr(odd, "send", lambda _: 1 / 0)
    sender = Sender(catalog, tmp_path, [odd])
    tried = []

    def locked(*_, **__):
        tried.append(1)
        raise CatalogError("locked")

    with monkeypatch.context() as patched:
        patched.setattr("dicom_pipeline.delivery.sender.record_set_aside", locked)
        sender.start()
        wait_until(lambda: tried, 60, "it was not tried")
    try:
        wait_until(lambda: service_account(catalog)["deliveries"] == {"pacs": {"set-aside": 1}}, 60, "the thread ended")
    finally:
        sender.stop()


class Heard:
    """Takes down what the audit trail is told."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def begins(self, destination: str, report: bytes) -> None:
        self.said.append((destination, "begins"))

    def ended(self, destination: str, report: bytes, outcome: DeliveryOutcome, status: str) -> None:
        self.said.append((destination, outcome.value))


class Forgetful(Odd):
    """Takes each report and commits none."""

    sent = 0

    def send(self, report: bytes) -> Attempt:
        self.sent += 1
        return Attempt(DeliveryOutcome.DELIVERED, "0x0000", to_commit=(SR, "9.0"))

    def ask_commitment(self, transaction_uid, sop_class_uid, sop_instance_uid, answer_seconds=0.0) -> CommitmentReply:
        return CommitmentReply("", {sop_instance_uid: 0x0110})


def test_what_is_never_committed_is_set_aside_in_the_end_and_the_trail_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("dicom_pipeline.catalog.commitment_requests.REPEAT_SECONDS", 0.0)
    catalog, forgetful, heard = delivered(tmp_path, 0, time.time()), Forgetful(""), Heard()
    sender = Sender(catalog, tmp_path, [forgetful], audit=heard)
    while sender.send_due(forgetful) or sender.ask_due(forgetful):
        pass
    assert forgetful.sent == MAX_FAILURES
    (waiting,) = service_account(catalog)["set_aside"]
    assert "not committed: 0x0110 (5 times)" in waiting["message"]
    assert heard.said == [("pacs", "begins"), ("pacs", "delivered")] * MAX_FAILURES + [("pacs", "set-aside")]
