"""Completion as a pure decision, the spool, and the listener's answers to what it should not take."""

import errno
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pynetdicom import AE

from dicom_pipeline.assembly.completion import CompletionRule, Decision, decide
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.account import service_account
from dicom_pipeline.catalog.revisions import WaitingStudy
from dicom_pipeline.config import ListenerSection
from dicom_pipeline.errors import ConfigError
from dicom_pipeline.intake.dicom_services import ListeningNode
from dicom_pipeline.intake.spool import Spool
from tests.intake.made import kept
from tests.peers.programs import free_port

RULE = CompletionRule(quiet_seconds=20, hard_cap_seconds=600)
CT = "1.2.840.10008.5.1.4.1.1.2"


def study(first=0.0, last=0.0, expected=None, received=1, open_association=False, busy=False):
    return WaitingStudy("1", first, last, expected, received, open_association, busy)


@pytest.mark.parametrize(
    ("state", "now", "decision"),
    [
        (study(), 19.9, Decision.WAIT),
        (study(), 20.0, Decision.QUIET),
        (study(open_association=True), 300.0, Decision.WAIT),
        (study(open_association=True), 600.0, Decision.HARD_CAP),
        (study(expected=3, received=3), 1.0, Decision.EXPECTED),
        (study(expected=3, received=2), 500.0, Decision.WAIT),
        (study(expected=3, received=2), 600.0, Decision.HARD_CAP),
        (study(busy=True), 9999.0, Decision.WAIT),
    ],
)
def test_a_study_is_complete_when(state, now, decision):
    assert decide(state, RULE, now) is decision


@given(st.floats(0, 1e4), st.booleans(), st.one_of(st.none(), st.integers(1, 9)), st.integers(1, 9))
def test_nothing_waits_beyond_the_cap_unless_it_is_busy(now, is_open, expected, received):
    decision = decide(study(expected=expected, received=received, open_association=is_open), RULE, now)
    assert decision is not Decision.WAIT or now < RULE.hard_cap_seconds


def test_the_spool_keeps_bytes_and_never_uses_received_text_as_a_name(tmp_path):
    spool = Spool(tmp_path)
    stored = kept(spool, "../../etc/passwd", b"body")
    path = (tmp_path / stored.path).resolve()
    assert path.is_relative_to(tmp_path / "instances")
    assert path.read_bytes().endswith(b"body")
    assert spool.is_whole(stored)
    assert kept(spool, "../../etc/passwd", b"body") == stored
    assert kept(spool, "../../etc/passwd", b"other").path != stored.path
    assert not list((tmp_path / "incoming").iterdir())


def test_two_that_receive_into_one_folder_never_share_a_file(tmp_path):
    """As a listener and one that was killed, whose process id came again: its leftover may be a name of an instance."""
    first, second = Spool(tmp_path), Spool(tmp_path)
    files = [spool.receive(b"header") for spool in (first, second)]
    for file, content in zip(files, (b"one", b"other"), strict=True):
        file.write(content)
    stored = [file.place(f"1.2.{number}") for number, file in enumerate(files)]
    for file, one in zip(files, stored, strict=True):
        file.sync(one)
    assert [(tmp_path / one.path).read_bytes() for one in stored] == [b"headerone", b"headerother"]


def test_a_folder_that_someone_removed_is_made_again(tmp_path):
    spool = Spool(tmp_path)
    stored = kept(spool, "1.2.3", b"data set", b"header")
    (tmp_path / stored.path).unlink()
    (tmp_path / stored.path).parent.rmdir()
    with pytest.raises(FileNotFoundError):
        kept(spool, "1.2.3", b"data set", b"header")
    assert kept(spool, "1.2.3", b"data set", b"header").fresh
    assert (tmp_path / stored.path).read_bytes() == b"headerdata set"
    assert not list((tmp_path / "incoming").iterdir())


def test_what_a_process_that_ended_left_is_cleared_and_nothing_else(tmp_path):
    spool = Spool(tmp_path)
    with subprocess.Popen([sys.executable, "-c", "pass"]) as ended:
        ended.wait()
    for pid in (ended.pid, os.getppid()):
        (tmp_path / "incoming" / f"{pid}-abc-0").write_bytes(b"half")
    assert spool.clear_incoming(ended=True) == 1
    assert [path.name for path in (tmp_path / "incoming").iterdir()] == [f"{os.getppid()}-abc-0"]
    assert spool.clear_incoming() == 1


def test_a_file_that_a_power_cut_left_incomplete_is_written_again(tmp_path):
    spool = Spool(tmp_path)
    path = tmp_path / kept(spool, "1.2", b"body").path
    path.write_bytes(path.read_bytes()[:-2])
    stored = kept(spool, "1.2", b"body")
    assert spool.is_whole(stored)
    assert path.read_bytes().endswith(b"body")


@pytest.fixture
def listening(tmp_path):
    """Start listeners with settings; all are stopped at the end."""
    started = []

    def start(**options):
        min_free_bytes = options.pop("min_free_bytes", 0)
        settings = ListenerSection(port=free_port(), **options)
        catalog = Catalog(tmp_path / "catalog.sqlite")
        listener = ListeningNode(settings, catalog, Spool(tmp_path), "run", min_free_bytes=min_free_bytes)
        listener.start()
        started.append(listener)
        return listener

    yield start
    for listener in started:
        listener.stop()
        listener.catalog.close()


def store(listener, dataset, called="DICOMPIPE", **request):
    association = AE(ae_title=request.pop("calling", "TEST"))
    association.add_requested_context(CT, dataset.file_meta.TransferSyntaxUID)
    association = association.associate("127.0.0.1", listener.settings.port, ae_title=called)
    if not association.is_established:
        return None
    try:
        return association.send_c_store(dataset).Status
    finally:
        association.release()


@pytest.fixture
def image():
    return pydicom.dcmread(get_testdata_file("CT_small.dcm"))


def account(listener):
    return service_account(listener.catalog)


def test_success_means_that_the_bytes_are_there_as_they_came(listening, image, tmp_path):
    listener = listening()
    assert store(listener, image) == 0
    assert account(listener)["totals"]["instances"] == 1
    (path,) = (tmp_path / "instances").rglob("*.dcm")
    assert pydicom.dcmread(path) == image


def test_a_full_disk_is_out_of_resources_and_passes(listening, image, monkeypatch):
    listener = listening(min_free_bytes=10**18)
    assert store(listener, image) is None
    assert account(listener)["refusals"] == {"rejected: disk-full": 1}

    def no_space(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    listener = listening()
    with monkeypatch.context() as patch:
        patch.setattr("dicom_pipeline.intake.spool.os.fsync", no_space)
        assert store(listener, image) == 0xA700
    assert account(listener)["totals"]["instances"] == 0
    assert not list(listener.spool.folder.rglob("*.dcm"))
    assert store(listener, image) == 0


@pytest.mark.parametrize(
    ("change", "status", "reason"),
    [
        ({"StudyInstanceUID": ""}, 0xA900, "missing-uid"),
        ({"SeriesInstanceUID": "1.2.x"}, 0xA900, "missing-uid"),
    ],
)
def test_what_lacks_its_identity_is_refused_with_a_reason(listening, image, change, status, reason):
    listener = listening()
    for name, value in change.items():
        image[name]._value = value
    assert store(listener, image) == status
    assert account(listener)["refusals"] == {reason: 1}


def test_an_object_over_the_limit_is_refused(listening, image):
    listener = listening(max_object_bytes=1024)
    assert store(listener, image) == 0xA700
    assert account(listener)["refusals"] == {"too-large": 1}


def test_the_door_is_closed_to_others(listening, image):
    assert store(listening(), image, called="OTHER") is None
    assert store(listening(calling_ae_titles=("FRIEND",)), image) is None
    assert store(listening(calling_ae_titles=("FRIEND",)), image, calling="FRIEND") == 0
    assert store(listening(networks=("10.0.0.0/8",)), image) is None


def test_listening_beyond_loopback_needs_a_word(tmp_path):
    with pytest.raises(ConfigError, match="allow_remote"):
        ListeningNode(ListenerSection(host="0.0.0.0"), Catalog(tmp_path / "c"), Spool(tmp_path), "run")


def test_garbage_on_the_port_harms_nobody(listening, image):
    listener = listening(network_timeout_seconds=2)
    for content in (b"GET / HTTP/1.1\r\n\r\n", b"\x01\x00\xff\xff\xff\xff", b"\x04" * 100, b""):
        with socket.create_connection(("127.0.0.1", listener.settings.port)) as peer:
            peer.sendall(content)
    time.sleep(0.2)
    assert store(listener, image) == 0


def test_an_aborted_association_counts_as_closed(listening, image):
    listener = listening()
    entity = AE(ae_title="TEST")
    entity.add_requested_context(CT, image.file_meta.TransferSyntaxUID)
    association = entity.associate("127.0.0.1", listener.settings.port, ae_title="DICOMPIPE")
    assert association.send_c_store(image).Status == 0
    assert account(listener)["totals"]["associations"] == 1
    association.abort()
    deadline = time.monotonic() + 10
    while account(listener)["totals"]["associations"] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert account(listener)["totals"]["associations"] == 0


def test_no_patient_data_in_logs(listening, image, caplog):
    image.PatientName, image.PatientID = "Secret^Person", "SECRET-ID"
    caplog.set_level("DEBUG", "dicom_pipeline")
    listener = listening()
    store(listener, image)
    image.StudyInstanceUID = ""
    store(listener, image)
    assert "ecret" not in caplog.text.lower().replace("secretary", "")
    assert Path(listener.spool.folder).exists()
