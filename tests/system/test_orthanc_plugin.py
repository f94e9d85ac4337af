"""The whole way in one Orthanc with authentication on: upload by REST -> plug-in -> pipeline -> report in the study."""

import io
import json
import urllib.error
import urllib.request

import pydicom
import pytest

from dicom_pipeline.reporting import read_report
from tests.peers.orthanc import OUR_PLUGIN, Orthanc, with_our_plugin
from tests.peers.programs import wait_until
from tests.peers.service import Service

pytestmark = pytest.mark.system

USER = ("anna", "a good secret")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A running Orthanc with the plug-in, and the service that it hands studies to."""
    folder = tmp_path_factory.mktemp("plugin")
    orthanc = Orthanc(folder / "orthanc", USER)
    service = Service(
        folder / "service",
        f'[[destinations]]\ntype = "orthanc"\nname = "orthanc"\nurl = "{orthanc.url}"\nusername = "{USER[0]}"\n'
        'password_env = "ORTHANC_PASSWORD"\n',
        quiet=300,  # only the announced count can end the waiting
    )
    service.environment["ORTHANC_PASSWORD"] = USER[1]
    orthanc.options = with_our_plugin(
        Pipeline=f"http://127.0.0.1:{service.web}", Rules=[{"Modality": ["CT", "CR"]}, {"SeriesDescription": "t1"}]
    )
    orthanc.start()
    service.start()
    yield orthanc, service
    orthanc.stop()
    assert service.stop() == 0


def call(orthanc, path, method="GET"):
    """HTTP status and body of a route; JSON where it is."""
    request = urllib.request.Request(orthanc.url + path, method=method, data=b"{}" if method == "POST" else None)
    import base64

    request.add_header("Authorization", "Basic " + base64.b64encode(":".join(USER).encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            status, body, kind = answer.status, answer.read(), answer.headers["Content-Type"]
    except urllib.error.HTTPError as error:
        with error:
            status, body, kind = error.code, error.read(), error.headers["Content-Type"]
    return status, json.loads(body) if "json" in kind else body


def upload(orthanc, folder):
    """Upload a study's files; its Orthanc id."""
    ids = [orthanc.client.upload_file(str(path))[0] for path in sorted(folder.glob("*.dcm"))]
    return orthanc.client.instances.get_parent_study_id(ids[0])


def wait_state(orthanc, study, *states, seconds=90):
    def reached():
        _, answer = call(orthanc, f"/medsiglip/studies/{study}/status")
        return answer if answer["state"] in states else None

    return wait_until(reached, seconds, f"{study} does not become {states}: {orthanc.folder}/orthanc.log")


@pytest.fixture(scope="module")
def reported(pair, sample_data):
    orthanc, _ = pair
    study = upload(orthanc, sample_data / "studies" / "ct-chest-nodule")
    return study, wait_state(orthanc, study, "reported", "failed")


def test_an_uploaded_study_has_its_report_in_orthanc(pair, reported, sample_data):
    orthanc, service = pair
    study, status = reported
    assert status["state"] == "reported"
    (report,) = orthanc.reports()
    content = read_report(pydicom.dcmread(io.BytesIO(orthanc.client.instances.get_file(report))))
    assert orthanc.client.instances.get_parent_study_id(report) == study
    sent = len(list((sample_data / "studies" / "ct-chest-nodule").glob("*.dcm")))
    assert status["instances"] == sent
    assert status["reports"][0]["sop_instance_uid"] == content.sop_instance_uid
    (revision,) = service.status()["revisions"]
    assert revision["cause"] == "expected"
    assert revision["received"] == sent == revision["used"] + revision["skipped"] + revision["failed"]


def test_the_report_that_came_back_is_not_sent_again(pair, reported):
    orthanc, service = pair
    import time

    time.sleep(4)  # the report's own series becomes stable meanwhile
    assert len(orthanc.reports()) == 1
    account = service.status()
    assert len(account["revisions"]) == 1
    assert account["totals"]["refusals"] == 0  # it was not even offered


def test_the_plug_in_knows_the_device_uid_of_our_objects():
    from dicom_pipeline.reporting.uids import DEVICE_UID

    assert f'OWN_DEVICE_UID = "{DEVICE_UID}"' in OUR_PLUGIN.read_text()
