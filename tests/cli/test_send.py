"""`send`: one file that cannot be sent costs that file, and every reason has words of its own."""

import json
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import ImplicitVRLittleEndian, generate_uid
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, evt

from tests.peers.programs import free_port, need

CR = "1.2.840.10008.5.1.4.1.1.1"
MR = "1.2.840.10008.5.1.4.1.1.4"


def send(*words, status):
    done = subprocess.run(
        [sys.executable, "-m", "dicom_pipeline", "send", *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@contextmanager
def node(*classes, store=lambda _: 0x0000, title="PEER"):
    """A node that is called PEER and takes these classes; yields what names it, and the UIDs that it has stored."""
    got, entity, port = [], AE(ae_title=title), free_port()
    entity.require_called_aet = True
    for uid in classes:
        entity.add_supported_context(uid, ALL_TRANSFER_SYNTAXES)

    def stored(event):
        status = store(event)
        if status == 0:
            got.append(str(event.request.AffectedSOPInstanceUID))
        return status

    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, stored)])
    try:
        yield f"PEER@127.0.0.1:{port}", got
    finally:
        server.shutdown()


@pytest.fixture
def folder(tmp_path, sample_data):
    """Two CR and one MR."""
    studies = sample_data / "studies"
    ones = [
        *sorted((studies / "cr-chest-normal").glob("*.dcm")),
        *sorted((studies / "cr-chest-effusion").glob("*.dcm")),
    ]
    for number, source in enumerate(ones[:2]):
        (tmp_path / f"cr{number}.dcm").write_bytes(source.read_bytes())
    mr = dcmread(sorted((studies / "mr-brain-normal").glob("*.dcm"))[0])
    mr.save_as(tmp_path / "mr.dcm")
    return tmp_path


def uid_of(path: Path) -> str:
    return str(dcmread(path, force=True).SOPInstanceUID)


def test_everything_is_sent_and_counted(folder):
    (folder / "read.me").write_text("not DICOM at all")
    with node(CR, MR) as (name, got):
        done = send(folder, name, status=0)
    assert f"3 of 3 instances sent to {name}; 1 files are not DICOM" in done.stdout
    assert f"not a DICOM instance: {folder / 'read.me'}" in done.stdout
    assert set(got) == {uid_of(path) for path in folder.glob("*.dcm")}


def test_a_class_that_is_not_accepted_costs_its_files(folder):
    with node(CR) as (name, got):
        done = send(folder, name, status=1)
    assert f"2 of 3 instances sent to {name}; 1 not sent" in done.stdout
    assert f"not sent: {folder / 'mr.dcm'}: the node does not accept MR Image Storage in" in done.stdout
    assert len(got) == 2


def test_a_node_that_accepts_none_says_which(folder):
    with node("1.2.840.10008.1.1") as (name, _):
        done = send(folder, name, status=1)
    assert "nothing was sent: " in done.stderr
    assert "accepts no presentation context for" in done.stderr
    assert "Computed Radiography Image Storage" in done.stderr
    assert "MR Image Storage" in done.stderr


def test_a_file_that_the_node_refuses_costs_itself(folder):
    refused = uid_of(folder / "cr0.dcm")
    with node(CR, MR, store=lambda e: 0xA900 if e.request.AffectedSOPInstanceUID == refused else 0) as (name, got):
        done = send("--json", folder, name, status=1)
    said = json.loads(done.stdout)
    assert said["sent"] == len(got) == 2
    assert list(said["failed"]) == [refused]
    assert said["failed"][refused].startswith("0xA900: ")


def test_a_file_at_which_the_node_hangs_up_costs_itself(folder):
    bad = uid_of(folder / "cr0.dcm")

    def abort(event):
        if event.request.AffectedSOPInstanceUID == bad:
            event.assoc.abort()
        return 0x0000

    with node(CR, MR, store=abort) as (name, got):
        done = send(folder, name, status=1)
    assert f"2 of 3 instances sent to {name}; 1 not sent" in done.stdout
    assert f"not sent: {folder / 'cr0.dcm'}: the node" in done.stdout
    assert len(set(got) - {bad}) == 2


def test_files_that_cannot_be_read_cost_themselves(folder):
    cut = (folder / "mr.dcm").read_bytes()
    (folder / "cut.dcm").write_bytes(cut[:200])
    plain = dcmread(folder / "cr1.dcm")
    plain.SOPInstanceUID = generate_uid()
    del plain.PixelData  # it is compressed
    plain.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    plain.save_as(folder / "cr2.dcm", implicit_vr=True, little_endian=True)
    (folder / "cr2.dcm").write_bytes((folder / "cr2.dcm").read_bytes()[_meta_end(folder / "cr2.dcm") :])
    with node(CR, MR) as (name, got):
        done = send(folder, name, status=1)
    assert f"4 of 5 instances sent to {name}; 1 not sent" in done.stdout
    assert f"not sent: {folder / 'cut.dcm'}: " in done.stdout
    assert str(plain.SOPInstanceUID) in got, "a file without meta information goes in the syntax that it has"


def _meta_end(path: Path) -> int:
    raw = path.read_bytes()
    return 144 + int.from_bytes(raw[140:144], "little")


class Web(BaseHTTPRequestHandler):
    """No DICOM node."""

    def log_message(self, *_):
        pass


@contextmanager
def answering(kind: str):
    """Who is at the port: nobody, a node of another title, an HTTP server, or one who takes connections and hangs up."""
    if kind == "nobody":
        yield free_port()
    elif kind == "other":
        with node(CR, title="OTHER") as (name, _):
            yield int(name.rpartition(":")[2])
    elif kind == "http":
        with HTTPServer(("127.0.0.1", 0), Web) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield server.server_port
            server.shutdown()
    else:
        with socket.create_server(("127.0.0.1", 0)) as server:

            def hang_up():
                while True:
                    try:
                        server.accept()[0].close()
                    except OSError:
                        return

            threading.Thread(target=hang_up, daemon=True).start()
            yield server.getsockname()[1]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("nobody", "nothing listens there (connection refused"),
        ("other", "the peer is not called PEER"),
        ("http", "does not answer as a DICOM node does"),
        ("hangs up", "does not answer as a DICOM node does"),
    ],
)
def test_each_reason_why_nothing_is_sent_has_its_words(folder, kind, words):
    with answering(kind) as port:
        done = send(folder, f"PEER@127.0.0.1:{port}", status=1)
    assert words in done.stderr
    assert "nothing was sent" in done.stderr


def test_paths_without_dicom_are_wrong_usage_and_named(tmp_path):
    (tmp_path / "a.txt").write_text("text")
    assert f"{tmp_path / 'a.txt'} is not a DICOM file" in send(tmp_path, "PEER@127.0.0.1:104", status=2).stderr


@pytest.mark.system
def test_dcmtk_gets_the_same_data_sets(folder, tmp_path_factory):
    out, port = tmp_path_factory.mktemp("got"), free_port()
    server = subprocess.Popen([need("storescp"), "+xa", "-od", out, str(port)], stderr=subprocess.DEVNULL)
    try:
        for _ in range(50):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            threading.Event().wait(0.1)
        send(folder, f"ANY@127.0.0.1:{port}", status=0)
    finally:
        server.terminate()
        server.wait()
    stored = {str(ds.SOPInstanceUID): ds for ds in map(dcmread, out.iterdir())}
    assert stored == {uid_of(path): dcmread(path) for path in folder.glob("*.dcm")}
