"""Storage Commitment as the asking side: a real Orthanc keeps our reports and says so; and one that lost them is found out."""

import pytest

from tests.peers.orthanc import Orthanc
from tests.peers.programs import wait_until
from tests.peers.service import Service

pytestmark = pytest.mark.system


@pytest.fixture
def orthanc(tmp_path):
    server = Orthanc(tmp_path / "orthanc")
    yield server
    server.stop()


@pytest.fixture
def service(tmp_path, orthanc):
    destination = (
        '[[peers]]\ntype = "dicom"\nname = "pacs"\nae_title = "ORTHANC"\nhost = "127.0.0.1"\n'
        f'port = {orthanc.dicom}\ndeliver = {{verify = "commitment"}}\n'
    )
    made = Service(tmp_path / "service", destination)
    known = {"AET": "DICOMPIPE", "Host": "127.0.0.1", "Port": made.port, "AllowStorageCommitment": True}
    orthanc.options["DicomModalities"] = {"pipeline": known}
    yield made
    if made.process is not None and made.process.poll() is None:
        made.stop()


def delivery(account):
    return account["revisions"][0]["deliveries"][0]


def test_orthanc_commits_a_report_and_the_delivery_is_verified(service, orthanc, sample_data):
    orthanc.start()
    service.start()
    service.dcmsend(sample_data / "studies" / "cr-chest-normal")
    service.wait_settled(1)
    account = wait_until(
        lambda: (a := service.status())["commitments"] == {"pacs": {"committed": 1}} and a,
        60,
        f"no commitment came: {service.log.read_text()[-2000:]}",
    )
    assert delivery(account)["verified"] == 1
    assert account["deliveries"] == {"pacs": {"delivered": 1}}
    assert len(orthanc.reports()) == 1


def test_a_report_that_orthanc_lost_is_sent_again(service, orthanc, sample_data):
    """Deleted between the C-STORE and the question: the answer is no, the report is sent again, and committed then."""
    orthanc.start()
    service.start()
    stop_asking = {"AllowStorageCommitment": False, "AET": "DICOMPIPE", "Host": "127.0.0.1", "Port": service.port}
    orthanc.client.put("modalities/pipeline", json=stop_asking)
    service.dcmsend(sample_data / "studies" / "cr-chest-normal")
    service.wait_settled(1)
    (lost,) = orthanc.reports()
    orthanc.client.instances.delete(lost)
    orthanc.client.put("modalities/pipeline", json={**stop_asking, "AllowStorageCommitment": True})
    account = wait_until(
        lambda: (a := service.status())["commitments"] == {"pacs": {"committed": 1}} and a,
        180,
        f"not sent again: {service.log.read_text()[-2000:]}",
    )
    assert delivery(account)["verified"] == 1
    assert len(orthanc.reports()) == 1
