"""Deliveries: statuses and back-off as values, and real destinations that refuse, vanish and come back."""

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom import AE, evt

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.account import service_account
from dicom_pipeline.catalog.revisions import MadeReport
from dicom_pipeline.cli.network import send_instances
from dicom_pipeline.delivery.retry import RetryRule, next_attempt
from dicom_pipeline.delivery.sender import Sender
from dicom_pipeline.dicom.part10 import encode
from dicom_pipeline.errors import DeliveryError
from dicom_pipeline.peers.peer import DeliveryOutcome
from dicom_pipeline.peers.statuses import attempt_of
from dicom_pipeline.planning import scan
from tests.peers.cutting import Cut, CuttingRelay
from tests.peers.entries import SR, finish_next, ready_study
from tests.peers.made import dicom_node, folder, orthanc_server
from tests.peers.orthanc import Orthanc
from tests.peers.programs import ENVIRONMENT, free_port, need, wait_until
from tests.reporting.made import report


@pytest.fixture(scope="module")
def sr() -> bytes:
    return encode(report("CT")[0])


@given(st.integers(0, 100), st.floats(0, 1e6))
def test_back_off_grows_to_its_longest_and_ends(attempts, age):
    rule = RetryRule(first_seconds=2, max_wait_seconds=3600, max_seconds=604800)
    again = next_attempt(attempts, 0.0, age, "seed", rule)
    if age >= rule.max_seconds:
        assert again is None
    else:
        wait = min(3600, 2 * 2.0 ** min(attempts, 30))
        assert wait * 0.5 - 1e-3 <= again - age <= wait + 1e-3
        assert again == next_attempt(attempts, 0.0, age, "seed", rule)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (0x0000, DeliveryOutcome.DELIVERED),
        (0xB000, DeliveryOutcome.DELIVERED),
        (0xB007, DeliveryOutcome.DELIVERED),
        (0xBFFF, DeliveryOutcome.DELIVERED),
        (0x0001, DeliveryOutcome.DELIVERED),
        (0x0107, DeliveryOutcome.DELIVERED),
        (0x0116, DeliveryOutcome.DELIVERED),
        (0x0111, DeliveryOutcome.DELIVERED),
        (0xA700, DeliveryOutcome.RETRY),
        (0xA7FF, DeliveryOutcome.RETRY),
        (None, DeliveryOutcome.RETRY),
        (0xA900, DeliveryOutcome.SET_ASIDE),
        (0xC000, DeliveryOutcome.SET_ASIDE),
        (0x0122, DeliveryOutcome.SET_ASIDE),
        (0x0124, DeliveryOutcome.SET_ASIDE),
        (0xFE00, DeliveryOutcome.SET_ASIDE),
    ],
)
def test_each_status_class_is_understood_from_a_real_answer(status, outcome, sr):
    assert attempt_of(status).outcome is outcome
    assert (attempt_of(status).message == "") is (status == 0x0000)
    if status is None:
        return
    entity = AE()
    entity.add_supported_context(SR)
    port = free_port()
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda _: status)])
    try:
        attempt = node(port).send(sr)
    finally:
        server.shutdown()
    assert (attempt.outcome, attempt.status) == (outcome, f"0x{status:04X}")


def node(port, title="PEER", **options):
    return dicom_node(title, port, **options)


def test_a_peer_that_is_away_or_takes_no_such_class(sr):
    assert node(free_port()).send(sr).outcome is DeliveryOutcome.RETRY
    assert "cannot be reached" in node(free_port()).echo()
    entity = AE()
    entity.add_supported_context("1.2.840.10008.1.1")
    port = free_port()
    server = entity.start_server(("127.0.0.1", port), block=False)
    try:
        assert node(port).send(sr).outcome is DeliveryOutcome.SET_ASIDE
        assert node(port).echo() == ""
    finally:
        server.shutdown()


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70 + ".invalid"])
def test_a_name_that_is_not_resolved_is_tried_again(host, sr, sample_data):
    """As while the hospital's name server is away."""
    away = dicom_node("PEER", 104, host=host, verify="commitment")
    attempt = away.send(sr)
    assert attempt.outcome is DeliveryOutcome.RETRY
    for words in (attempt.message, away.echo(), away.ask_commitment("2.25.5", SR, "1.2.3").error):
        assert "cannot be resolved" in words
    (headers,) = scan([sample_data / "studies" / "cr-chest-normal"]).studies.values()
    with pytest.raises(DeliveryError, match="cannot be resolved"):
        send_instances(headers, "PEER", host, 104, "US")


def test_a_folder_never_overwrites_another_content(tmp_path, sr):
    files = folder(tmp_path / "out")
    assert files.send(sr).outcome is DeliveryOutcome.DELIVERED
    assert files.send(sr).outcome is DeliveryOutcome.DELIVERED
    (path,) = (tmp_path / "out").iterdir()
    assert path.read_bytes() == sr
    path.write_bytes(b"other")
    assert files.send(sr).outcome is DeliveryOutcome.SET_ASIDE
    assert path.read_bytes() == b"other"
    (tmp_path / "file").write_text("")
    assert folder(tmp_path / "file" / "sub").send(sr).outcome is DeliveryOutcome.RETRY


def test_a_folder_on_a_full_disk_keeps_no_piece_and_gets_it_when_there_is_room(tmp_path, sr):
    """In a process of its own, whose files may not grow beyond half of the report."""
    (tmp_path / "report.dcm").write_bytes(sr)
    code = (
        "import resource, signal, sys; from pathlib import Path; from tests.peers.made import folder;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); here = Path(sys.argv[1]);"
        "sr = (here / 'report.dcm').read_bytes();"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (len(sr) // 2, resource.RLIM_INFINITY));"
        "print(folder(here / 'out').send(sr).outcome, len(list((here / 'out').iterdir())))"
    )
    said = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["retry", "0"]
    assert folder(tmp_path / "out").send(sr).outcome is DeliveryOutcome.DELIVERED
    assert [path.read_bytes() for path in (tmp_path / "out").iterdir()] == [sr]


def test_a_delivered_file_is_on_the_disk_with_its_name(tmp_path, sr, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(str(Path(f"/proc/self/fd/{handle}").readlink())))
    assert folder(tmp_path / "out").send(sr).outcome is DeliveryOutcome.DELIVERED
    assert [path.endswith(".part") for path in synced] == [True, False]
    assert synced[1] == str(tmp_path / "out")


@pytest.mark.system
def test_orthanc_is_read_back_and_wrong_content_is_noticed(tmp_path, sr):
    server = Orthanc(tmp_path / "orthanc", AuthenticationEnabled=False).start()
    try:
        destination = orthanc_server(server.url)
        assert destination.echo() == ""
        attempt = destination.send(sr)
        assert (attempt.outcome, attempt.verified) == (DeliveryOutcome.DELIVERED, True)
        assert destination.send(sr).outcome is DeliveryOutcome.DELIVERED
        changed = pydicom.dcmread(io.BytesIO(sr))
        changed.SeriesDescription = "other"
        assert destination.send(encode(changed)).outcome is DeliveryOutcome.SET_ASIDE
        assert len(server.reports()) == 1
    finally:
        server.stop()
    assert orthanc_server(server.url).send(sr).outcome is DeliveryOutcome.RETRY


@pytest.mark.system
def test_a_wrong_password_is_set_aside(tmp_path, sr):
    server = Orthanc(tmp_path / "o", AuthenticationEnabled=True, RegisteredUsers={"user": "right"})
    right = orthanc_server(server.url, username="user", password="right")
    try:
        server.start(lambda: right.echo() == "")
        assert right.send(sr).outcome is DeliveryOutcome.DELIVERED
        wrong = orthanc_server(server.url, username="user", password="wrong")
        assert wrong.send(sr).outcome is DeliveryOutcome.SET_ASIDE
        assert "password" in wrong.echo()
    finally:
        server.stop()


def outbox(tmp_path, content, destinations):
    """A catalog with one report that waits for destinations."""
    catalog = Catalog(tmp_path / "catalog.sqlite")
    ready_study(catalog)
    (tmp_path / "report.dcm").write_bytes(content)
    uid = str(pydicom.dcmread(io.BytesIO(content)).SOPInstanceUID)
    finish_next(catalog, [MadeReport(uid, SR, "report.dcm", "h", tuple(destinations))], at=time.time())
    return catalog


@pytest.mark.system
def test_a_destination_that_comes_back_gets_it_once_and_holds_up_no_other(tmp_path, sr):
    port = free_port()
    catalog = outbox(tmp_path, sr, ["pacs", "files"])
    destinations = [node(port, "STORESCP"), folder(tmp_path / "files", "files")]
    sender = Sender(catalog, tmp_path, destinations, {"pacs": RetryRule(first_seconds=0.3, max_wait_seconds=1)})
    sender.start()
    received = tmp_path / "received"
    received.mkdir()
    try:
        wait_until(lambda: list((tmp_path / "files").glob("*.dcm")), 10, "the folder waits for the dead node")
        wait_until(
            lambda: service_account(catalog)["revisions"][0]["deliveries"][1]["attempts"] >= 2, 20, "no second try"
        )
        command = [need("storescp"), "--promiscuous", "-aet", "STORESCP", "-od", str(received), str(port)]
        with subprocess.Popen(command, env=ENVIRONMENT) as peer:
            try:
                wait_until(
                    lambda: service_account(catalog)["deliveries"].get("pacs") == {"delivered": 1}, 30, "not delivered"
                )
            finally:
                peer.terminate()
    finally:
        sender.stop()
    assert len(list(received.iterdir())) == 1
    assert service_account(catalog)["deliveries"] == {"pacs": {"delivered": 1}, "files": {"delivered": 1}}


def test_a_peer_that_hangs_up_without_a_word_is_asked_once_more():
    """As a busy Orthanc that rejects: its connection may be gone before its words are read."""
    entity, port = AE(), free_port()
    entity.add_supported_context("1.2.840.10008.1.1")
    server = entity.start_server(("127.0.0.1", port), block=False)
    try:
        with CuttingRelay(port, [Cut(answers=0)]) as relay:
            assert node(relay.port).echo() == ""
            assert relay.broken == 1
        with CuttingRelay(port, [Cut(answers=0), Cut(answers=0)]) as relay:
            assert "cannot be reached" in node(relay.port).echo()
            assert relay.broken == 2
    finally:
        server.shutdown()
