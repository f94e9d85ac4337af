"""DICOM TLS as acceptor, and Storage Commitment: who asks gets an answer that is true."""

import shutil
import subprocess
import threading
import time

import pydicom
import pytest
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.config import DicomPeer, ListenerSection, Settings
from dicom_pipeline.errors import ConfigError
from dicom_pipeline.intake.commitment import POLL_SECONDS
from dicom_pipeline.intake.dicom_services import ListeningNode
from dicom_pipeline.intake.spool import Spool
from dicom_pipeline.service.supervisor import serve
from tests.peers.certificates import Authority
from tests.peers.programs import free_port, need, wait_until

CT = "1.2.840.10008.5.1.4.1.1.2"
INSTANCE = "1.2.840.10008.1.20.1.1"


@pytest.fixture
def listening(tmp_path):
    started = []

    def start(commit_peers=(), **options):
        folder = tmp_path / "spool"
        made = ListeningNode(
            ListenerSection(port=free_port(), **options),
            Catalog(folder / "catalog.sqlite"),
            Spool(folder),
            "run",
            commit_peers=commit_peers,
        )
        made.start()
        started.append(made)
        return made

    yield start
    for made in started:
        made.stop()
        made.catalog.close()


def echo(port, authority, certificate, key) -> bool:
    """echoscu of dcmtk over TLS."""
    command = [need("echoscu"), "--enable-tls", key, certificate, "--add-cert-file", authority.certificate]
    command += ["-aec", "DICOMPIPE", "127.0.0.1", port]
    return subprocess.run(list(map(str, command)), capture_output=True, timeout=30, check=False).returncode == 0


@pytest.mark.system
def test_mutual_tls_and_a_renewed_certificate_without_restart(listening, tmp_path):
    ours, stranger = Authority(tmp_path / "ours"), Authority(tmp_path / "stranger", "Stranger")
    certificate, key = ours.issue("listener")
    listener = listening(tls_certificate=certificate, tls_key=key, tls_ca=ours.certificate)
    port = listener.settings.port
    client, foreign = ours.issue("client"), stranger.issue("client")
    assert echo(port, ours, *client)
    assert not echo(port, ours, *foreign)
    assert not echo(port, stranger, *client)
    plain = [need("echoscu"), "-to", "3", "-ta", "3", "-aec", "DICOMPIPE", "127.0.0.1", str(port)]
    assert subprocess.run(plain, capture_output=True, timeout=60, check=False).returncode != 0
    renewed = stranger.issue("listener")
    for new, old in zip(renewed, (certificate, key), strict=True):
        shutil.copy(new, old)
    assert not echo(port, ours, *client)
    assert echo(port, stranger, *client)


def stored(listener) -> Dataset:
    image = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    entity = AE(ae_title="MODALITY")
    entity.add_requested_context(CT, image.file_meta.TransferSyntaxUID)
    association = entity.associate("127.0.0.1", listener.settings.port, ae_title="DICOMPIPE")
    assert association.send_c_store(image).Status == 0
    association.release()
    return image


def question(*uids) -> Dataset:
    asked = Dataset()
    asked.TransactionUID = "2.25.77"
    asked.ReferencedSOPSequence = []
    for uid in uids:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CT, uid
        asked.ReferencedSOPSequence.append(item)
    return asked


def test_commitment_is_answered_on_the_association_that_asks(listening):
    listener = listening()
    image = stored(listener)
    answers, came = [], threading.Event()

    def take(event):
        answers.append((event.request.EventTypeID, event.event_information))
        came.set()
        return 0x0000, None

    entity = AE(ae_title="MODALITY")
    entity.add_requested_context(StorageCommitmentPushModel)
    association = entity.associate(
        "127.0.0.1", listener.settings.port, ae_title="DICOMPIPE", evt_handlers=[(evt.EVT_N_EVENT_REPORT, take)]
    )
    status, _ = association.send_n_action(
        question(image.SOPInstanceUID, "1.2.3"), 1, StorageCommitmentPushModel, INSTANCE
    )
    assert status.Status == 0
    assert came.wait(10)
    association.release()
    kind, report = answers[0]
    assert kind == 2
    assert report.TransactionUID == "2.25.77"
    assert [i.ReferencedSOPInstanceUID for i in report.ReferencedSOPSequence] == [image.SOPInstanceUID]
    assert [(i.ReferencedSOPInstanceUID, i.FailureReason) for i in report.FailedSOPSequence] == [("1.2.3", 0x0112)]


@pytest.mark.parametrize(
    ("dataset", "action", "instance", "status"),
    [
        (question("1.2.3"), 2, INSTANCE, 0x0123),
        (question("1.2.3"), 1, "1.2.3.4", 0x0112),
        (Dataset(), 1, INSTANCE, 0x0115),
    ],
    ids=["no-such-action", "no-such-instance", "no-transaction"],
)
def test_a_wrong_question_is_answered_with_a_status_of_n_action(listening, dataset, action, instance, status):
    entity = AE(ae_title="MODALITY")
    entity.add_requested_context(StorageCommitmentPushModel)
    association = entity.associate("127.0.0.1", listening().settings.port, ae_title="DICOMPIPE")
    dataset.add_new(0x00080005, "CS", "ISO_IR 192")
    answered, _ = association.send_n_action(dataset, action, StorageCommitmentPushModel, instance)
    assert answered.Status == status
    association.release()


def test_an_answer_that_is_slowly_taken_on_the_asking_association_is_not_set_aside_meanwhile(listening):
    """The thread that answers known nodes looks every second; what goes out on the association is not its business."""
    listener = listening()
    image = stored(listener)
    seen, came = [], threading.Event()

    def state():
        with listener.catalog.transaction() as run:
            return [row["state"] for row in run.connection.execute("SELECT state FROM commitment")]

    def take(_):
        time.sleep(3 * POLL_SECONDS)
        seen.append(state())
        came.set()
        return 0x0000, None

    entity = AE(ae_title="MODALITY")
    entity.add_requested_context(StorageCommitmentPushModel)
    association = entity.associate(
        "127.0.0.1", listener.settings.port, ae_title="DICOMPIPE", evt_handlers=[(evt.EVT_N_EVENT_REPORT, take)]
    )
    association.send_n_action(question(image.SOPInstanceUID), 1, StorageCommitmentPushModel, INSTANCE)
    assert came.wait(20)
    wait_until(lambda: state() != ["pending"], 10, "the answer was not entered")
    association.release()
    assert (seen, state()) == ([["pending"]], ["answered"])


def test_a_damaged_file_is_not_committed_and_a_known_node_is_told_on_its_own_port(listening, tmp_path):
    port, answers, came = free_port(), [], threading.Event()

    def take(event):
        answers.append((event.request.EventTypeID, event.event_information))
        came.set()
        return 0x0000, None

    node = AE(ae_title="MODALITY")
    node.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
    server = node.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, take)])
    try:
        values = {"name": "ct1", "ae_title": "MODALITY", "host": "127.0.0.1", "port": port}
        listener = listening(commit_peers=[DicomPeer(type="dicom", roles=("commit",), **values)])
        image = stored(listener)
        (path,) = (tmp_path / "spool" / "instances").rglob("*.dcm")
        path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
        entity = AE(ae_title="MODALITY")
        entity.add_requested_context(StorageCommitmentPushModel)
        association = entity.associate("127.0.0.1", listener.settings.port, ae_title="DICOMPIPE")
        status, _ = association.send_n_action(question(image.SOPInstanceUID), 1, StorageCommitmentPushModel, INSTANCE)
        association.release()
        assert status.Status == 0
        assert came.wait(15)
        time.sleep(0.2)
    finally:
        server.shutdown()
    kind, report = answers[0]
    assert kind == 2
    assert report.FailedSOPSequence[0].ReferencedSOPInstanceUID == image.SOPInstanceUID
    assert "ReferencedSOPSequence" not in report


def test_a_service_with_tls_files_that_do_not_fit_is_refused_at_the_start(tmp_path):
    authority = Authority(tmp_path / "ca")
    (certificate, _), (_, other) = authority.issue("pipeline"), authority.issue("other")
    listener = {"tls_certificate": certificate, "tls_key": other}
    settings = Settings(listener=listener, spool={"folder": tmp_path / "spool"})
    with pytest.raises(ConfigError, match="the key does not belong to the certificate"):
        serve(settings, threading.Event())
    assert not (tmp_path / "spool").exists()
