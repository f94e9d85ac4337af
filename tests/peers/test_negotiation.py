"""What is sent where a peer takes less than we would give: simpler SR classes, TLS, STOW-RS."""

import io
import json
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pydicom
import pytest
from pynetdicom import AE, evt

from dicom_pipeline.dicom.part10 import encode
from dicom_pipeline.peers.peer import DeliveryOutcome
from dicom_pipeline.reporting import as_class, classes_for, read_report
from tests.peers.certificates import Authority
from tests.peers.made import dicom_node, dicomweb_server, orthanc_server
from tests.peers.orthanc import Orthanc
from tests.peers.programs import dciodvfy_errors, dsrdump_errors, free_port, need, wait_until
from tests.peers.tls_front import TlsFront
from tests.reporting.test_report import report

CLASSES = classes_for("1.2.840.10008.5.1.4.1.1.88.34")


@pytest.fixture(scope="module")
def sr() -> bytes:
    return encode(report("CT")[0])


@contextmanager
def peer(*classes):
    """A node that takes just these classes; yields its port and what it got."""
    got, entity, port = [], AE(), free_port()
    for uid in classes:
        entity.add_supported_context(uid)

    def store(event):
        got.append(event.dataset)
        return 0x0000

    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    try:
        yield port, got
    finally:
        server.shutdown()


def node(port, **options):
    return dicom_node("PEER", port, **options)


@pytest.mark.parametrize("offered", [CLASSES, CLASSES[1:], CLASSES[2:]], ids=["3D", "comprehensive", "enhanced"])
def test_a_node_gets_the_richest_class_that_it_takes(offered, sr):
    with peer(*offered) as (port, got):
        attempts = [node(port).send(sr) for _ in range(2)]
    assert {a.outcome for a in attempts} == {DeliveryOutcome.DELIVERED}
    assert {str(d.SOPClassUID) for d in got} == {offered[0]}
    assert got[0] == got[1]
    assert (got[0].SOPInstanceUID == pydicom.dcmread(io.BytesIO(sr)).SOPInstanceUID) is (offered is CLASSES)
    assert ("UID" in attempts[0].message) is (offered is not CLASSES)


@pytest.mark.parametrize(
    ("kept", "outcome"),
    [(1, DeliveryOutcome.DELIVERED), (2, DeliveryOutcome.DELIVERED), (3, DeliveryOutcome.SET_ASIDE)],
)
def test_a_node_that_accepts_every_context_and_refuses_the_class_of_the_object(kept, outcome, sr):
    """`kept`: the place of the first class that it stores; 0122 for those before (PS3.7 annex C)."""
    got, entity, port = [], AE(), free_port()
    for uid in CLASSES:
        entity.add_supported_context(uid)

    def store(event):
        if str(event.dataset.SOPClassUID) in CLASSES[:kept]:
            return 0x0122
        got.append(event.dataset)
        return 0x0000

    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    try:
        attempts = [node(port).send(sr) for _ in range(2)]
    finally:
        server.shutdown()
    assert {attempt.outcome for attempt in attempts} == {outcome}
    assert {str(dataset.SOPClassUID) for dataset in got} == set(CLASSES[kept : kept + 1])
    assert len({str(dataset.SOPInstanceUID) for dataset in got}) == (outcome is DeliveryOutcome.DELIVERED)


@pytest.mark.parametrize(
    ("kept", "outcome"),
    [(0, DeliveryOutcome.DELIVERED), (1, DeliveryOutcome.DELIVERED), (3, DeliveryOutcome.SET_ASIDE)],
)
def test_a_dicomweb_server_that_refuses_the_class_gets_a_simpler_one(kept, outcome, sr):
    """`kept`: the place of the first class that it stores; Failure Reason 0122 for those before (PS3.18 table I.2-2)."""
    stored = []

    class Server(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            sent = pydicom.dcmread(io.BytesIO(body[body.index(b"\r\n\r\n") + 4 : body.rindex(b"\r\n--")]))
            taken = str(sent.SOPClassUID) in CLASSES[kept:]
            stored.extend([sent] if taken else [])
            failure = {"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [0x0122]}}]}}
            answer = json.dumps({} if taken else failure).encode()
            self.send_response(200 if taken else 409)
            self.send_header("Content-Type", "application/dicom+json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            web = dicomweb_server(f"http://127.0.0.1:{server.server_port}", verify="none")
            attempts = [web.send(sr) for _ in range(2)]
        finally:
            server.shutdown()
    assert {attempt.outcome for attempt in attempts} == {outcome}
    assert {str(dataset.SOPClassUID) for dataset in stored} == set(CLASSES[kept : kept + 1])
    assert len({str(dataset.SOPInstanceUID) for dataset in stored}) == (outcome is DeliveryOutcome.DELIVERED)
    assert ("as Comprehensive SR" in attempts[0].message) is (kept == 1)


@pytest.mark.system
@pytest.mark.parametrize("sop_class", CLASSES[1:])
def test_a_simpler_report_is_valid_and_says_the_same(sop_class, sr, tmp_path):
    original = pydicom.dcmread(io.BytesIO(sr))
    simpler = as_class(original, sop_class)
    path = tmp_path / "simpler.dcm"
    path.write_bytes(encode(simpler))
    assert dciodvfy_errors(path) == []
    assert dsrdump_errors(path) == []
    assert read_report(simpler).scores == read_report(original).scores
    assert str(original.SOPClassUID) == CLASSES[0]


def test_a_converted_report_names_its_converted_predecessor():
    first, _ = report("CT")
    second, _ = report("CT", predecessor=str(first.SOPInstanceUID))
    converted = as_class(second, CLASSES[1])
    named = converted.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert named.ReferencedSOPInstanceUID == as_class(first, CLASSES[1]).SOPInstanceUID
    assert named.ReferencedSOPClassUID == CLASSES[1]


@contextmanager
def storescp_with_tls(folder, authority):
    certificate, key = authority.issue("pacs")
    port = free_port()
    folder.mkdir(exist_ok=True)
    command = [need("storescp"), "--enable-tls", key, certificate, "--add-cert-file", authority.certificate]
    command += ["--require-peer-cert", "--promiscuous", "-aet", "PEER", "-od", folder, str(port)]
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield port
        finally:
            process.terminate()


@pytest.mark.system
def test_tls_with_the_right_and_the_wrong_certificates(tmp_path, sr):
    ours, stranger = Authority(tmp_path / "ours"), Authority(tmp_path / "stranger", "Stranger")
    certificate, key = ours.issue("client")
    foreign_certificate, foreign_key = stranger.issue("client")
    with storescp_with_tls(tmp_path / "got", ours) as port:
        right = node(port, tls_ca=ours.certificate, tls_certificate=certificate, tls_key=key)
        wait_until(lambda: right.echo() == "", 10, "storescp with TLS does not answer")
        assert right.send(sr).outcome is DeliveryOutcome.DELIVERED
        wrong_authority = node(port, tls_ca=stranger.certificate, tls_certificate=certificate, tls_key=key)
        wrong_client = node(port, tls_ca=ours.certificate, tls_certificate=foreign_certificate, tls_key=foreign_key)
        for wrong in (wrong_authority, wrong_client, node(port)):
            assert wrong.send(sr).outcome is not DeliveryOutcome.DELIVERED
            assert wrong.echo() != ""
        assert "not trusted (self-signed certificate" in wrong_authority.echo()
        assert "give it the authority that issued ours" in wrong_client.echo()
        missing = node(port, tls_ca=tmp_path / "nothing.pem")
        assert missing.send(sr).outcome is DeliveryOutcome.SET_ASIDE
        assert "TLS files" in missing.echo()
    assert len(list((tmp_path / "got").iterdir())) == 1


@pytest.mark.system
def test_dicomweb_stores_reads_back_and_tells_refusals_apart(tmp_path, sr):
    users = {"AuthenticationEnabled": True, "RegisteredUsers": {"user": "right"}}
    server = Orthanc(tmp_path / "o", Plugins=["/usr/share/orthanc/plugins"], DicomWeb={"Enable": True}, **users)
    url = f"{server.url}/dicom-web"
    right = dicomweb_server(url, username="user", password="right")
    assert right.send(sr).outcome is DeliveryOutcome.RETRY
    try:
        server.start(lambda: right.echo() == "")
        attempt = right.send(sr)
        assert (attempt.outcome, attempt.verified, attempt.message) == (DeliveryOutcome.DELIVERED, True, "")
        assert right.send(sr).outcome is DeliveryOutcome.DELIVERED
        changed = pydicom.dcmread(io.BytesIO(sr))
        changed.SeriesDescription = "other"
        assert right.send(encode(changed)).outcome is DeliveryOutcome.SET_ASIDE
        wrong = dicomweb_server(url, username="user", password="wrong")
        assert wrong.send(sr).outcome is DeliveryOutcome.SET_ASIDE
        assert "password" in wrong.echo()
    finally:
        server.stop()


@pytest.mark.system
def test_a_password_beyond_ascii(tmp_path, sr):
    """UTF-8, as Orthanc reads it; requests alone would send Latin-1, and fail at what that lacks."""
    users = {"AuthenticationEnabled": True, "RegisteredUsers": {"zoë": "Größe 漢字"}}
    server = Orthanc(tmp_path / "o", Plugins=["/usr/share/orthanc/plugins"], DicomWeb={"Enable": True}, **users)
    over_rest = orthanc_server(server.url, username="zoë", password="Größe 漢字")
    over_web = dicomweb_server(f"{server.url}/dicom-web", username="zoë", password="Größe 漢字")
    try:
        server.start(lambda: over_rest.echo() == "")
        assert over_rest.send(sr).outcome is DeliveryOutcome.DELIVERED
        assert over_web.echo() == ""
        assert over_web.send(sr).outcome is DeliveryOutcome.DELIVERED
    finally:
        server.stop()


@pytest.mark.system
def test_https_with_the_right_and_the_wrong_authority_over_rest_and_dicomweb(tmp_path, sr, monkeypatch):
    ours, stranger = Authority(tmp_path / "ours"), Authority(tmp_path / "stranger", "Stranger")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(stranger.certificate))  # requests lets it win over a session's choice
    server = Orthanc(tmp_path / "o", Plugins=["/usr/share/orthanc/plugins"], DicomWeb={"Enable": True}).start()
    try:
        with TlsFront(server.http, *ours.issue("orthanc")) as front:
            url = f"https://127.0.0.1:{front.port}"
            for make in (
                lambda authority: orthanc_server(url, tls_ca=authority.certificate),
                lambda authority: dicomweb_server(f"{url}/dicom-web", tls_ca=authority.certificate),
            ):
                wrong = make(stranger)
                assert wrong.send(sr).outcome is DeliveryOutcome.RETRY
                assert "certificate is not trusted" in wrong.send(sr).message
                assert "certificate is not trusted" in wrong.echo()
                right = make(ours).send(sr)
                assert (right.outcome, right.verified) == (DeliveryOutcome.DELIVERED, True), right.message
        assert len(server.reports()) == 1
    finally:
        server.stop()


def test_dicomweb_sends_a_bearer_token_and_understands_a_busy_server(sr):
    seen = []

    class Busy(BaseHTTPRequestHandler):
        def do_POST(self):
            seen.append(self.headers["Authorization"])
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Busy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            url = f"http://127.0.0.1:{server.server_port}"
            attempt = dicomweb_server(url, token="secret").send(sr)
        finally:
            server.shutdown()
    assert attempt.outcome is DeliveryOutcome.RETRY
    assert set(seen) == {"Bearer secret"}
