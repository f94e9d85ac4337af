"""`doctor` tries what a delivery does, with real peers, says what it saw, and leaves nothing there."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from pynetdicom import AE

from dicom_pipeline.config import Settings
from dicom_pipeline.maintenance.doctor import examine
from dicom_pipeline.reporting import classes_for
from tests.peers.made import dicom_node, dicomweb_server, folder, orthanc_server
from tests.peers.orthanc import Orthanc
from tests.peers.programs import free_port

VERIFICATION, COMMITMENT = "1.2.840.10008.1.1", "1.2.840.10008.1.20.1"
REPORTS = classes_for("1.2.840.10008.5.1.4.1.1.88.34")
CT = "1.2.840.10008.5.1.4.1.1.2"


@contextmanager
def node(*classes):
    """The port of a node that accepts these classes."""
    entity, port = AE(), free_port()
    for uid in classes:
        entity.add_supported_context(uid)
    server = entity.start_server(("127.0.0.1", port), block=False)
    try:
        yield port
    finally:
        server.shutdown()


@pytest.mark.parametrize(
    ("classes", "verify", "works", "words"),
    [
        ((VERIFICATION, *REPORTS), "none", True, "it answers C-ECHO; it accepts Comprehensive 3D SR Storage, Compre"),
        ((VERIFICATION, REPORTS[2]), "none", True, "it answers C-ECHO; it accepts Enhanced SR Storage"),
        (REPORTS[:1], "none", True, "it does not accept C-ECHO; it accepts Comprehensive 3D SR"),
        ((VERIFICATION, CT), "none", False, "it answers, but accepts no SR class: Comprehensive 3D SR Storage"),
        ((VERIFICATION, *REPORTS), "find", False, 'verify = "find" needs Study Root Query/Retrieve'),
        ((VERIFICATION, *REPORTS), "commitment", False, 'verify = "commitment" needs Storage Commitment'),
        ((VERIFICATION, *REPORTS, COMMITMENT), "commitment", True, "Storage Commitment Push Model SOP Class"),
        ((CT,), "none", False, "accepts no presentation context for Verification SOP Class, Comprehensive 3D SR"),
    ],
)
def test_a_dicom_node_is_asked_for_what_a_delivery_proposes(classes, verify, works, words):
    with node(*classes) as port:
        trial = dicom_node("PEER", port, verify=verify).trial()
    assert trial.works is works, trial.says
    assert words in trial.says


def test_a_node_that_is_away_is_said_to_be(tmp_path):
    trial = dicom_node("PEER", free_port()).trial()
    assert not trial.works
    assert "nothing listens there (connection refused" in trial.says


def test_a_folder_is_written_to_and_left_as_it_was(tmp_path):
    trial = folder(tmp_path / "a" / "reports").trial()
    assert (trial.works, trial.says) == (
        True,
        f"a file could be written in {tmp_path / 'a' / 'reports'} and removed again",
    )
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("in the way")
    trial = folder(tmp_path / "file").trial()
    assert (trial.works, trial.says) == (False, f"{tmp_path / 'file'} cannot be written: Not a directory")


@pytest.mark.system
def test_orthanc_over_rest_and_dicomweb_stores_nothing(tmp_path):
    users = {"AuthenticationEnabled": True, "RegisteredUsers": {"user": "right"}}
    server = Orthanc(tmp_path / "o", Plugins=["/usr/share/orthanc/plugins"], DicomWeb={"Enable": True}, **users)
    rest = orthanc_server(server.url, username="user", password="right")
    web = dicomweb_server(f"{server.url}/dicom-web", username="user", password="right")
    try:
        server.start(lambda: rest.echo() == "")
        assert (rest.trial().works, rest.trial().says) == (
            True,
            "it answers as an Orthanc, and lets us upload (POST /instances)",
        )
        assert (web.trial().works, web.trial().says) == (
            True,
            "STOW-RS is there (without an instance it was answered 200) and lets us store",
        )
        wrong = dicomweb_server(f"{server.url}/dicom-web", username="user", password="wrong").trial()
        assert (wrong.works, "the server refuses the user name, password or token" in wrong.says) == (False, True)
        nowhere = dicomweb_server(f"{server.url}/dicom", username="user", password="right").trial()
        assert (nowhere.works, "there is no STOW-RS at this URL" in nowhere.says) == (False, True)
        wrong = orthanc_server(server.url, username="user", password="wrong").trial()
        assert (wrong.works, "password" in wrong.says) == (False, True)
        client = orthanc_server(server.url, username="user", password="right").client()
        assert client.get_json("statistics")["CountInstances"] == 0
    finally:
        server.stop()
    for trial in (rest.trial(), web.trial()):
        assert not trial.works
        assert "cannot be reached" in trial.says


class ReadOnly(BaseHTTPRequestHandler):
    """An Orthanc whose user may read and not upload."""

    def do_GET(self):
        self._answer(200, b'{"Version": "1.12"}')

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._answer(403, b"{}")

    def _answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_a_server_that_lets_us_read_and_not_store_does_not_work():
    with HTTPServer(("127.0.0.1", 0), ReadOnly) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            url = f"http://127.0.0.1:{server.server_port}"
            rest, web = orthanc_server(url).trial(), dicomweb_server(url).trial()
            assert orthanc_server(url).echo() == "", "an answer alone proves nothing"
        finally:
            server.shutdown()
    assert (rest.works, web.works) == (False, False)
    assert "POST /instances: it forbids this" in rest.says
    assert "answered 403: the server forbids storing" in web.says


def test_doctor_says_what_it_saw(tmp_path):
    with node(VERIFICATION, *REPORTS) as port:
        settings = Settings(
            spool={"folder": tmp_path / "data", "min_free_bytes": 0},
            listener={"port": free_port()},
            service={"web_port": None},
            peers=[
                {"type": "folder", "name": "files", "path": tmp_path / "out"},
                {"type": "dicom", "name": "pacs", "ae_title": "P", "host": "127.0.0.1", "port": port},
                {"type": "dicomweb", "name": "web", "url": "https://h/x", "tls_ca": tmp_path / "gone.pem"},
            ],
        )
        checks = dict(examine(settings))
    assert checks["destination files"] == (True, f"a file could be written in {tmp_path / 'out'} and removed again")
    assert checks["destination pacs"][0]
    assert checks["destination pacs"][1].startswith("it answers C-ECHO; it accepts Comprehensive 3D SR Storage")
    assert checks["destination web"] == (
        False,
        f"peers.web.tls_ca = {tmp_path / 'gone.pem'}: No such file or directory",
    )
    good, says = checks[f"disk of {tmp_path / 'data'}"]
    assert good
    assert says.endswith("GB free, and a file could be written")
    assert list(tmp_path.iterdir()) == []
