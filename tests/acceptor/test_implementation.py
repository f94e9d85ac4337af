"""Whose implementation a peer reads in our associations and files: ours, by the value that the Conformance Statement gives."""

import re
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pydicom
import pytest

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.config import DicomPeer, ListenerSection
from dicom_pipeline.dicom.part10 import encode
from dicom_pipeline.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, uid_of
from dicom_pipeline.intake.commitment import event_report
from dicom_pipeline.intake.dicom_services import ListeningNode
from dicom_pipeline.intake.event_reports import send_event_report
from dicom_pipeline.intake.spool import Spool
from dicom_pipeline.peers.sending import send_files
from dicom_pipeline.planning.headers import read_header
from tests.peers.made import dicom_node
from tests.peers.programs import ENVIRONMENT, free_port, need, wait_until
from tests.reporting.made import report

ROOT = Path(__file__).resolve().parent.parent.parent
SAMPLE = ROOT / "sample_data" / "studies" / "cr-chest-normal"
OURS = {(IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME)}

pytestmark = pytest.mark.system


def seen_by_dcmtk(log: str) -> list[tuple[str, str]]:
    """(Implementation Class UID, version name) that dcmtk logs as "Their" for each association request or answer."""
    uids = re.findall(r"Their Implementation Class UID: +(\S+)", log)
    names = re.findall(r"Their Implementation Version Name: +(\S+)", log)
    return list(zip(uids, names, strict=True))


@pytest.fixture
def listener(tmp_path):
    node = ListeningNode(ListenerSection(port=free_port()), Catalog(tmp_path / "c.sqlite"), Spool(tmp_path), "run")
    node.start()
    yield node
    node.stop()
    node.catalog.close()


@contextmanager
def storescp(folder: Path):
    """dcmtk's node; yields its port and a function that gives what it has logged."""
    port, log = free_port(), folder / "storescp.log"
    folder.mkdir(exist_ok=True)
    command = [need("storescp"), "--debug", "--promiscuous", "-od", str(folder), "-aet", "PEER", str(port)]
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out, env=ENVIRONMENT) as process:
        try:
            yield port, log.read_text
        finally:
            process.terminate()


@pytest.mark.parametrize("program", ["echoscu", "storescu"])
def test_a_peer_that_calls_us_reads_our_implementation(listener, program, tmp_path):
    node = ["-aec", "DICOMPIPE", "127.0.0.1", str(listener.settings.port)]
    files = [str(next(SAMPLE.glob("*.dcm")))] if program == "storescu" else []
    command = [need(program), "--debug", *(["--propose-rle"] if files else []), *node, *files]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert done.returncode == 0, done.stderr
    # dcmtk prints the parameters of its request, in which "their" is still empty, and then those of the answer
    assert seen_by_dcmtk(done.stderr)[-1:] == list(OURS)
    stored = list((tmp_path / "instances").glob("*/*.dcm"))
    assert len(stored) == len(files)
    for path in stored:
        dumped = subprocess.run(
            [need("dcmdump"), "+P", "0002,0012", "+P", "0002,0013", path], capture_output=True, text=True, check=True
        )
        meta = pydicom.dcmread(path, stop_before_pixels=True).file_meta
        assert {(meta.ImplementationClassUID, meta.ImplementationVersionName)} == OURS
        assert IMPLEMENTATION_VERSION_NAME in dumped.stdout


def test_a_peer_that_we_call_reads_our_implementation_for_every_service(tmp_path):
    made, _ = report("CT")
    sr, result = encode(made), event_report(uid_of("transaction"), {"1.2.3": ("1.2.840.10008.5.1.4.1.1.2", None)})
    peer_values = {"name": "peer", "type": "dicom", "ae_title": "PEER", "host": "127.0.0.1"}
    with storescp(tmp_path / "got") as (port, log):
        node = dicom_node("PEER", port)
        wait_until(lambda: node.echo() == "", 10, "storescp does not answer")
        before = len(seen_by_dcmtk(log()))
        assert node.send(sr).status == "0x0000"
        # it takes no Storage Commitment; what it logs of the request is what counts here
        assert node.ask_commitment(uid_of("question"), str(made.SOPClassUID), str(made.SOPInstanceUID)).error
        assert send_event_report(DicomPeer(port=port, **peer_values), "DICOMPIPE", *result)
        assert len(list(send_files(node, [read_header(next(SAMPLE.glob("*.dcm")))]))) == 1  # it takes no RLE; likewise
        seen = wait_until(lambda: len(s := seen_by_dcmtk(log())) >= before + 4 and s, 10, "four associations")
    assert set(seen) == OURS
    stored = [path for path in (tmp_path / "got").iterdir() if path.suffix != ".log"]
    assert made.SOPInstanceUID in {pydicom.dcmread(path).SOPInstanceUID for path in stored}


def test_one_implementation_is_defined_and_it_has_the_value_of_the_statement():
    page = (ROOT / "docs" / "conformance.md").read_text()
    assert IMPLEMENTATION_CLASS_UID in page
    assert IMPLEMENTATION_VERSION_NAME in page
    assert len(IMPLEMENTATION_VERSION_NAME) <= 16  # PS3.7 D.3.3.2.4
    made = pydicom.dcmread(pydicom.filebase.DicomBytesIO(encode(report("CT")[0])))
    assert {(made.file_meta.ImplementationClassUID, made.file_meta.ImplementationVersionName)} == OURS
    for path in (ROOT / "dicom_pipeline").rglob("*.py"):
        text = path.read_text()
        assert "PYNETDICOM_IMPLEMENTATION" not in text, path
        if " AE(" in text:
            assert path.name == "dicom_node.py", f"{path}: take peers.dicom_node.requestor"
