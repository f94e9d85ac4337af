"""A PACS that is away for a minute, with the back-off that is shipped, over three ways in; and rules that keep things back."""

import time

import pytest

from tests.peers.orthanc import Orthanc
from tests.peers.service import Service

pytestmark = pytest.mark.system

AWAY_SECONDS = 60


def test_reports_arrive_once_each_after_a_minute_without_the_pacs(tmp_path, sample_data):
    orthanc = Orthanc(tmp_path / "orthanc", Plugins=["/usr/share/orthanc/plugins"], DicomWeb={"Enable": True})
    service = Service(
        tmp_path / "service",
        f'[[peers]]\ntype = "dicom"\nname = "pacs"\nae_title = "ORTHANC"\nhost = "127.0.0.1"\nport = {orthanc.dicom}\n'
        f'[[peers]]\ntype = "orthanc"\nname = "rest"\nurl = "{orthanc.url}"\n'
        f'[[peers]]\ntype = "dicomweb"\nname = "stow"\nurl = "{orthanc.url}/dicom-web"\n'
        '[[peers]]\ntype = "folder"\nname = "files"\npath = "reports"\n'
        '[[peers]]\ntype = "folder"\nname = "mr-only"\npath = "mr"\ndeliver = {modalities = ["MR"]}\n'
        '[[peers]]\ntype = "folder"\nname = "other-sender"\npath = "other"\ndeliver = {calling_ae_titles = ["SCANNER9"]}\n'
        '[[peers]]\ntype = "folder"\nname = "pictures"\npath = "pictures"\ndeliver = {objects = ["key-image"]}\n'
        '[report]\ncompanions = ["key-image"]\n',
    ).start()
    try:
        studies = ("cr-chest-normal", "ct-chest-nodule")
        sent = [sample_data / "studies" / study for study in studies]
        count = sum(len(list(folder.glob("*.dcm"))) for folder in sent)
        service.dcmsend(*sent)
        time.sleep(AWAY_SECONDS)
        account = service.status()
        for name in ("pacs", "rest", "stow"):
            assert account["deliveries"][name] == {"pending": 4}
        assert account["deliveries"]["files"] == {"delivered": 4}
        assert account["deliveries"]["pictures"] == {"delivered": 2}
        assert not {"mr-only", "other-sender"} & set(account["deliveries"])
        tried = [d["attempts"] for r in account["revisions"] for d in r["deliveries"] if d["destination"] == "pacs"]
        assert all(2 <= attempts < 10 for attempts in tried)
        orthanc.start()
        account = service.wait_settled(count, seconds=180)
        for name in ("pacs", "rest", "stow"):
            assert account["deliveries"][name] == {"delivered": 4}
        assert len(orthanc.reports()) == 2
        assert len(orthanc.client.instances.get_all_ids()) == 4
        assert service.stop() == 0
    finally:
        if service.process.poll() is None:
            service.kill()
        orthanc.stop()
    assert len(list((tmp_path / "service" / "reports").glob("*.dcm"))) == 4
