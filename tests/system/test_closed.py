"""What the service lets out: no patient in logs, status, pages, file names or audit; and the audit trail of a whole run."""

import base64
import contextlib
import http.client
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import Comprehensive3DSRStorage

from dicom_pipeline.audit.trail import files_of
from dicom_pipeline.cli.network import send_instances
from dicom_pipeline.planning import scan
from tests.acceptor.test_hostile import request
from tests.audit.facts import problems
from tests.peers.certificates import Authority
from tests.peers.programs import free_port, wait_until
from tests.peers.service import Service
from tests.peers.syslog import SyslogServer, parts_of

pytestmark = pytest.mark.system

MARK = "Qx7Zy"
"""In every text that is planted; nothing else has it."""

BIRTH = "19011213"
EVIL_TITLE = b"EV\r\nIL\x1b[31m" + MARK.encode()


def planted(path: Path, study: str) -> Dataset:
    """An instance with the mark in every text element that may hold a person's words, private ones and sequences too."""
    ds = pydicom.dcmread(path)
    for keyword in (
        "PatientName", "OtherPatientNames", "ReferringPhysicianName", "OperatorsName", "PerformingPhysicianName",
        "PatientID", "OtherPatientIDs", "AccessionNumber", "StudyID", "StudyDescription", "SeriesDescription",
        "ProtocolName", "InstitutionName", "InstitutionAddress", "StationName", "PatientAddress", "PatientComments",
        "ImageComments", "AdditionalPatientHistory", "RequestedProcedureDescription", "DeviceSerialNumber",
        "ManufacturerModelName",
    ):  # fmt: skip
        setattr(ds, keyword, f"{MARK}{keyword}"[:16])
    ds.PatientBirthDate = BIRTH
    item = Dataset()
    item.ScheduledProcedureStepDescription = item.RequestedProcedureID = f"{MARK}Step"
    ds.RequestAttributesSequence = [item]
    block = ds.private_block(0x0011, f"{MARK} CREATOR", create=True)
    block.add_new(0x01, "LT", f"{MARK} private\r\nforged line")
    ds.StudyInstanceUID = generate_uid(entropy_srcs=[MARK, study])
    ds.SeriesInstanceUID = generate_uid(entropy_srcs=[MARK, study, "series"])
    ds.SOPInstanceUID = generate_uid(entropy_srcs=[MARK, study, str(path)])
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds


def broken(ds: Dataset, folder: Path) -> Path:
    """The same with a number that is none, so that whoever reads it gets an exception that quotes the value."""
    ds.RescaleSlope = "1.25000000000001"
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    stream = io.BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    path = folder / f"{MARK}-broken.dcm"
    path.write_bytes(stream.getvalue().replace(b"1.25000000000001", f"{MARK}Slope".ljust(16).encode()))
    return path


@pytest.fixture(scope="module")
def rude_node():
    """A node that answers each report with a failure and words about the patient."""
    answer = Dataset()
    answer.Status, answer.ErrorComment = 0xC123, f"{MARK}PatientID is unknown to the master index"[:64]
    node = AE(ae_title="RUDE")
    node.add_supported_context(Comprehensive3DSRStorage)
    port = free_port()
    server = node.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda event: answer)])
    yield port
    server.shutdown()


@pytest.fixture(scope="module")
def ran(tmp_path_factory, sample_data, rude_node):
    """A service that has seen good and broken studies, a hostile title, a failing node, HTTP, and a stop."""
    folder = tmp_path_factory.mktemp("closed")
    destinations = (
        '[[peers]]\ntype = "folder"\nname = "files"\npath = "reports"\n'
        f'[[peers]]\ntype = "dicom"\nname = "rude"\nae_title = "RUDE"\nhost = "127.0.0.1"\nport = {rude_node}\n'
        f'[[peers]]\ntype = "dicom"\nname = "away"\nae_title = "AWAY"\nhost = "127.0.0.1"\nport = {free_port()}\n'
        "[audit]\nmax_file_bytes = 8192\n"
    )
    service = Service(folder, destinations)
    service.environment = {"DICOM_PIPELINE_SERVICE__LOG_LEVEL": "DEBUG"}
    sent = folder / MARK
    sent.mkdir()
    sources = sorted((sample_data / "studies" / "mr-brain-normal").glob("*.dcm"))[:4]
    for number, source in enumerate(sources):
        planted(source, "good").save_as(sent / f"{MARK}{number}.dcm")
    broken(planted(sample_data / "studies" / "cr-chest-normal" / "1-01.dcm", "broken"), sent)
    try:
        yield filled(service.start(), sent, sources)
    finally:
        if service.process is not None and service.process.poll() is None:
            service.stop()


def filled(service: Service, sent: Path, sources: list[Path]):
    """The service after all of it: itself, its account, pages that it answered, what commands printed, and the good study."""
    folder = service.config.parent
    headers = [header for members in scan([sent]).studies.values() for header in members]
    assert set(send_instances(headers, "DICOMPIPE", "127.0.0.1", service.port, f"{MARK}AE").values()) == {0}
    assert set(send_instances(headers[:2], "DICOMPIPE", "127.0.0.1", service.port, f"{MARK}AE").values()) == {0}
    evil = request().replace(b"HOSTILE".ljust(16), EVIL_TITLE[:16].ljust(16))
    for stream in (evil, request(called=b"NOBODY")):
        with socket.create_connection(("127.0.0.1", service.port)) as peer:
            peer.sendall(stream)
            peer.recv(100)
    pages = [ask(service, "POST", "/instances", (sent / f"{MARK}0.dcm").read_bytes())]
    pages.append(ask(service, "POST", "/instances", MARK.encode() * 100))
    pages.append(ask(service, "POST", "/dicom-web/studies", MARK.encode() * 100))
    wait_until(lambda: len(list((folder / "reports").glob("*.dcm"))) >= 1, 120, "no report came")

    def decided():
        account = service.status()
        states = account["deliveries"].get("rude", {})
        return account if states.get("set-aside") and not account["totals"]["waiting"] else None

    account = wait_until(decided, 120, f"not settled: {service.log.read_text()[-3000:]}")
    study = generate_uid(entropy_srcs=[MARK, "good"])
    pages += [
        ask(service, "GET", path) for path in ("/status", "/ready", f"/studies/{study}", f"/studies/{study}/scores")
    ]
    ask(service, "GET", f"/studies/{study}/report")
    (service.data / "results").rename(service.data / "away")
    (service.data / "results").write_text("in the way")  # the worker runs into an exception that it does not foresee
    again = planted(sources[0], "crash")
    again.save_as(sent / "crash.dcm")
    service.dcmsend(sent / "crash.dcm")
    wait_until(lambda: "worker ended with" in service.log.read_text(), 120, "the worker did not end")
    wait_until(lambda: json.loads(ask(service, "GET", "/ready")) and ready(service) != 200, 60, "/ready did not notice")
    (service.data / "results").unlink()
    (service.data / "away").rename(service.data / "results")
    wait_until(lambda: ready(service) == 200, 120, "/ready did not take it up again")
    printed = run("status", service) + run("doctor", service)
    assert "the service is running and answers" in printed
    assert service.stop() == 0
    return service, account, pages, printed, study


def ask(service, method, path, body=None) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", service.web, timeout=60)
    connection.request(method, path, body)
    content = connection.getresponse().read()
    connection.close()
    return content


def ready(service) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", service.web, timeout=60)
    connection.request("GET", "/ready")
    status = connection.getresponse().status
    connection.close()
    return status


def run(command, service) -> str:
    words = [sys.executable, "-m", "dicom_pipeline", command, "--config", str(service.config)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "250"})
    assert done.returncode in (0, 1), done.stderr
    return done.stdout + done.stderr


def messages(service) -> list[str]:
    return [line for path in files_of(service.data / "audit") for line in path.read_text().splitlines()]


def without_title(text: str) -> str:
    """The AE title that a sender gives is who sent: it may stand there."""
    return text.replace(f"{MARK}AE", "").replace(r"EV\r\nIL", "EVIL")


def test_logs_name_no_patient_and_no_line_can_be_forged(ran):
    log = ran[0].log.read_text()
    assert MARK not in without_title(log)
    assert BIRTH not in log
    assert [line for line in log.splitlines() if not re.match(r"\d{4}-\d\d-\d\d \d\d:", line)] == []
    assert log.isascii() or all(c.isprintable() or c == "\n" for c in log)
    for words in ("FileExistsError at", "NotADirectoryError at"):
        if words in log:
            break
    else:
        pytest.fail(f"the worker's exception was not told: {log[-3000:]}")


def test_status_and_pages_name_no_patient(ran):
    _, account, pages, printed, _ = ran
    assert account["deliveries"]["rude"] == {"set-aside": len(account["set_aside"])}
    assert any("[removed]" in item["message"] for item in account["set_aside"])
    for text in (json.dumps(account), printed, *(page.decode("utf-8", "replace") for page in pages)):
        assert MARK not in without_title(text)
        assert BIRTH not in text


def test_no_name_on_disk_is_received_text(ran):
    service = ran[0]
    assert [path for path in service.data.rglob("*") if MARK in path.name or BIRTH in path.name] == []


def test_nothing_that_the_service_writes_is_for_other_users(ran):
    service = ran[0]
    open_to_others = [path for path in service.data.rglob("*") if path.stat().st_mode & 0o007]
    assert open_to_others == []


def test_the_audit_trail_meets_the_schema_and_names_no_patient(ran, tmp_path):
    lines = messages(ran[0])
    assert problems(lines, tmp_path) == ""
    decoded = [base64.b64decode(value).decode() for value in re.findall(r'value="([^"]+)"', "\n".join(lines))]
    for text in (*lines, *decoded):
        assert MARK not in without_title(text).replace(f"EV??IL?[31m{MARK}", ""), text
        assert BIRTH not in text
    assert len(files_of(ran[0].data / "audit")) > 1


def of_event(service, code):
    parsed = [ET.fromstring(line) for line in messages(service)]
    return [message for message in parsed if message.find("EventIdentification/EventID").get("csd-code") == code]


def study_of(message):
    return message.find("ParticipantObjectIdentification").get("ParticipantObjectID")


def alert_of(message):
    return base64.b64decode(message.find(".//ParticipantObjectDetail").get("value"))


def counted(message):
    return sum(int(found.get("NumberOfInstances")) for found in message.iter("SOPClass"))


def test_the_trail_says_who_sent_what_and_to_which_report_and_where_it_went(ran):
    service, account, _, _, study = ran
    received = [
        m
        for m in of_event(service, "110104")
        if m.find("ActiveParticipant").get("AlternativeUserID") == f"AETITLES={MARK}AE"
    ]
    told = [
        (m.find("EventIdentification").get("EventActionCode"), counted(m)) for m in received if study_of(m) == study
    ]
    assert told[0] == ("C", 4)
    assert sum(number for action, number in told if action == "R") <= 2
    sender = received[0].find("ActiveParticipant")
    assert (sender.get("NetworkAccessPointID"), sender.get("UserIsRequestor")) == ("127.0.0.1", "true")

    (made,) = [
        m
        for m in of_event(service, "110103")
        if study_of(m) == study and m.find("EventIdentification").get("EventActionCode") == "C"
    ]
    sources, report = made.iter("ParticipantObjectIdentification")
    details = [
        (d.get("type"), base64.b64decode(d.get("value")).decode()) for d in sources.iter("ParticipantObjectDetail")
    ]
    assert details == [("Revision", "1"), ("Sender", f"{MARK}AE@127.0.0.1 4 instances")]
    uid = report.find(".//Instance").get("UID")
    assert uid in {r["report"] for r in account["revisions"]}

    sent = {}
    for message in of_event(service, "110104"):
        if f'UID="{uid}"' in ET.tostring(message, encoding="unicode"):
            outcome = message.find("EventIdentification").get("EventOutcomeIndicator")
            sent[list(message.iter("ActiveParticipant"))[1].get("UserID")] = outcome
    assert sent == {"files": "0", "rude": "8"}
    begun = {list(m.iter("ActiveParticipant"))[1].get("UserID") for m in of_event(service, "110102")}
    assert begun == {"files", "rude", "away"}


def test_the_trail_says_when_it_ran_who_was_turned_away_and_who_read(ran):
    service, _, _, _, study = ran
    kinds = [m.find("EventIdentification/EventTypeCode").get("csd-code") for m in of_event(service, "110100")]
    assert kinds == ["110120", "110121"]
    alerts = [
        (m.find("EventIdentification/EventTypeCode").get("csd-code"), alert_of(m)) for m in of_event(service, "110113")
    ]
    assert alerts == [("association-failure", b"ended: malformed-pdu"), ("110126", b"rejected: called-ae")]
    read = [m for m in of_event(service, "110103") if m.find("EventIdentification").get("EventActionCode") == "R"]
    assert [study_of(m) for m in read] == [study, study]
    uploaded = [m for m in of_event(service, "110104") if m.find("ActiveParticipant").get("UserID") == "HTTP"]
    assert [(m.find("EventIdentification").get("EventActionCode"), counted(m)) for m in uploaded] == [("R", 1)]


def cut_association(service, sample_data):
    """An association that has stored one instance and does not end by itself, and the instance."""
    source = pydicom.dcmread(sample_data / "studies" / "cr-chest-normal" / "1-01.dcm")
    entity = AE(ae_title="CUT")
    entity.add_requested_context(source.SOPClassUID, source.file_meta.TransferSyntaxUID)
    association = entity.associate("127.0.0.1", service.port, ae_title="DICOMPIPE")
    assert association.send_c_store(source).Status == 0
    return association, source


def check_interrupted(service, source):
    (message,) = [m for m in of_event(service, "110104") if m.find("ActiveParticipant").get("UserID") == "CUT"]
    assert (study_of(message), counted(message)) == (str(source.StudyInstanceUID), 1)
    assert message.find("ActiveParticipant").get("AlternativeUserID") == "AETITLES=CUT"
    assert message.find("EventIdentification").get("EventOutcomeIndicator") == "4"


def test_what_came_before_a_kill_is_told_at_the_next_start(tmp_path, sample_data):
    service = Service(tmp_path / "service", quiet=600.0).start()
    association, source = cut_association(service, sample_data)
    service.kill()
    wait_until(lambda: not association.is_alive(), 60, "the association outlived the service")
    assert of_event(service, "110104") == []
    service.start()
    check_interrupted(service, source)
    assert service.stop() == 0


def test_a_listener_that_is_killed_leaves_no_study_waiting_and_no_gap(tmp_path, sample_data):
    service = Service(tmp_path / "service").start()
    try:
        association, source = cut_association(service, sample_data)
        pid = re.findall(r"listener\[(\d+)\]", service.log.read_text())[-1]
        os.kill(int(pid), signal.SIGKILL)
        wait_until(lambda: not association.is_alive(), 60, "the association outlived the listener")
        wait_until(lambda: service.status()["revisions"], 60, "the study waits for an association that has ended")
        check_interrupted(service, source)
    finally:
        assert service.stop() == 0


@pytest.mark.parametrize("way", ["udp", "tls"])
def test_a_service_sends_its_trail_to_a_syslog_server(tmp_path, way, sample_data):
    came: list[bytes] = []
    authority = Authority(tmp_path / "ca")
    server = SyslogServer(authority)
    if way == "tls":
        server.start()
        came, port = server.messages, server.port
    else:
        door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        door.bind(("127.0.0.1", 0))
        port = door.getsockname()[1]
        threading.Thread(target=collect, args=(door, came), daemon=True).start()
    certificate, key = authority.issue("client")
    section = f'[audit]\nsyslog = "{way}"\nsyslog_host = "localhost"\nsyslog_port = {port}\n'
    section += f'syslog_ca = "{authority.certificate}"\nsyslog_certificate = "{certificate}"\nsyslog_key = "{key}"\n'
    service = Service(tmp_path / "service", section).start()
    assert service.dcmsend(sample_data / "studies" / "cr-chest-normal").returncode == 0
    wait_until(lambda: len(messages(service)) >= 3, 120, "the report was not told")
    wait_until(lambda: len(came) >= 3, 60, f"no syslog messages: {service.log.read_text()[-2000:]}")
    assert service.stop() == 0
    told = messages(service)
    assert [parts_of(message)[6] for message in came] == told[: len(came)]
    assert {parts_of(message)[0] for message in came} == {"85"}
    if way == "tls":
        server.stop()
    else:
        door.close()


def collect(door, came):
    with contextlib.suppress(OSError):
        while True:
            came.append(door.recv(70000))
