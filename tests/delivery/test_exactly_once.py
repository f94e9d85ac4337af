"""Each report arrives exactly once, whatever the network and the peer do on the way."""

import itertools
import socket
import subprocess
import time
from contextlib import contextmanager

import pydicom
import pytest
from pynetdicom import AE, evt

from dicom_pipeline.catalog.account import service_account
from dicom_pipeline.delivery.retry import RetryRule
from dicom_pipeline.delivery.sender import Sender
from dicom_pipeline.dicom.part10 import encode
from tests.delivery.test_delivery import outbox
from tests.peers.cutting import Cut, CuttingRelay
from tests.peers.made import dicom_node, dicomweb_server, folder, orthanc_server
from tests.peers.orthanc import Orthanc
from tests.peers.programs import ENVIRONMENT, free_port, need, wait_until
from tests.reporting.made import report

QUICK = RetryRule(first_seconds=0.1, max_wait_seconds=0.5)


@pytest.fixture(scope="module")
def sr() -> bytes:
    return encode(report("CT")[0])


@contextmanager
def sending(tmp_path, content, destinations):
    """A sender with one report to each destination; yields its catalog."""
    catalog = outbox(tmp_path, content, [d.name for d in destinations])
    sender = Sender(catalog, tmp_path, destinations, {d.name: QUICK for d in destinations})
    sender.start()
    try:
        yield catalog
    finally:
        sender.stop()


def wait_delivered(catalog, *names, seconds=60):
    def delivered():
        found = service_account(catalog)["deliveries"]
        return all(found.get(name) == {"delivered": 1} for name in names)

    wait_until(delivered, seconds, "not delivered")


@contextmanager
def storescp(folder, port=None, *options):
    port = port or free_port()
    folder.mkdir(exist_ok=True)
    command = [need("storescp"), "--promiscuous", *options, "-aet", "PEER", "-od", str(folder), str(port)]
    with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.DEVNULL) as peer:
        try:
            yield port
        finally:
            peer.kill()


def node(port, title="PEER", seconds=3.0):
    return dicom_node(title, port, timeout_seconds=seconds)


# within the request, at the first command, within the data set; then before the peer's answers to the association, to the
# C-STORE (when it has the object and we do not know) and to the release
CUTS = [*(Cut(sent=n) for n in (1, 100, 500, 2000, 9000, 15000)), *(Cut(answers=n) for n in range(3))]


@pytest.mark.system
def test_associations_that_break_at_every_point_towards_orthanc(tmp_path, sr):
    server = Orthanc(tmp_path / "o", DicomAlwaysAllowStore=True).start()
    try:
        with (
            CuttingRelay(server.dicom, CUTS) as relay,
            sending(tmp_path, sr, [node(relay.port, "ORTHANC")]) as catalog,
        ):
            wait_delivered(catalog, "pacs", seconds=120)
            assert relay.broken >= len(CUTS) - 2  # a cut behind the answer to the C-STORE breaks nothing any more
        assert len(server.reports()) == 1
    finally:
        server.stop()
    (delivery,) = service_account(catalog)["revisions"][0]["deliveries"]
    assert delivery["attempts"] >= len(CUTS) - 1


@pytest.mark.system
def test_associations_that_break_at_every_point_towards_storescp(tmp_path, sr):
    with (
        storescp(tmp_path / "got") as port,
        CuttingRelay(port, CUTS) as relay,
        sending(tmp_path, sr, [node(relay.port)]) as catalog,
    ):
        wait_delivered(catalog, "pacs", seconds=120)
    (path,) = (tmp_path / "got").iterdir()
    assert pydicom.dcmread(path).SOPInstanceUID == pydicom.dcmread(tmp_path / "report.dcm").SOPInstanceUID


@pytest.mark.system
@pytest.mark.parametrize("option", ["--abort-during", "--abort-after"])
def test_a_peer_that_aborts_around_the_store_and_then_behaves(tmp_path, sr, option):
    port = free_port()
    with sending(tmp_path, sr, [node(port)]) as catalog:
        with storescp(tmp_path / "got", port, option):
            wait_until(
                lambda: service_account(catalog)["revisions"][0]["deliveries"][0]["attempts"] >= 2, 60, "no second try"
            )
        with storescp(tmp_path / "got", port):
            wait_delivered(catalog, "pacs")
    assert len(list((tmp_path / "got").iterdir())) == 1


@pytest.mark.system
def test_orthanc_killed_between_any_two_attempts_over_each_way_in(tmp_path, sr):
    """C-STORE, REST and STOW-RS at once while Orthanc is killed and started again: one object in the end."""
    server = Orthanc(
        tmp_path / "o",
        DicomAlwaysAllowStore=True,
        Plugins=["/usr/share/orthanc/plugins"],
        DicomWeb={"Enable": True},
    )
    ways = [
        dicom_node("ORTHANC", server.dicom, name="store", timeout_seconds=3),
        orthanc_server(server.url, name="rest"),
        dicomweb_server(f"{server.url}/dicom-web", name="stow"),
    ]
    with sending(tmp_path, sr, ways) as catalog:
        try:
            for seconds in (0.0, 0.2):
                server.start()
                time.sleep(seconds)
                server.kill()
            server.start()
            wait_delivered(catalog, "store", "rest", "stow", seconds=120)
            assert len(server.reports()) == 1
        finally:
            server.stop()


@pytest.mark.system
def test_a_destination_that_answers_nothing_holds_up_no_other(tmp_path, sr):
    """A peer that takes the connection and stays silent, beside one that works: the other is served meanwhile."""
    with socket.create_server(("127.0.0.1", 0)) as silent, storescp(tmp_path / "got") as port:
        slow = dicom_node("X", silent.getsockname()[1], name="slow", timeout_seconds=20)
        began = time.monotonic()
        with sending(tmp_path, sr, [slow, node(port), folder(tmp_path / "files", "files")]) as catalog:
            wait_delivered(catalog, "pacs", "files", seconds=15)
            assert time.monotonic() - began < 20
            assert service_account(catalog)["deliveries"]["slow"] == {"pending": 1}


def test_a_full_peer_is_tried_until_it_takes_the_report(tmp_path, sr):
    """A7xx for the first attempts, as a full archive answers, then Success: retried until taken, stored once."""
    answers = itertools.chain([0xA700, 0xA701, 0xA7FF, 0x0110], itertools.repeat(0x0000))
    stored = []

    def store(event):
        status = next(answers)
        if status == 0:
            stored.append(str(event.dataset.SOPInstanceUID))
        return status

    entity, port = AE(), free_port()
    entity.add_supported_context("1.2.840.10008.5.1.4.1.1.88.34")
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    try:
        with sending(tmp_path, sr, [node(port)]) as catalog:
            wait_delivered(catalog, "pacs")
    finally:
        server.shutdown()
    assert len(stored) == 1
    assert service_account(catalog)["revisions"][0]["deliveries"][0]["attempts"] == 5
