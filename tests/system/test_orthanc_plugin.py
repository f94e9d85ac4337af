"""The whole way in one Orthanc with authentication on: upload by REST -> plug-in -> pipeline -> report in the study."""

import io
import json
import urllib.error
import urllib.request

import pydicom
import pytest

from dicom_pipeline.reporting import read_report
from tests.peers.orthanc import Orthanc, with_our_plugin
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
        f'[[peers]]\ntype = "orthanc"\nname = "orthanc"\nurl = "{orthanc.url}"\nusername = "{USER[0]}"\n'
        'password_env = "ORTHANC_PASSWORD"\n',
        quiet=300,  # only the announced count can end the waiting
    )
    service.environment["ORTHANC_PASSWORD"] = USER[1]
    orthanc.options = with_our_plugin(
        Pipeline=f"http://127.0.0.1:{service.web}",
        Rules=[{"Modality": ["CT", "CR"]}, {"Modality": ["MR"], "SeriesDescription": "no such"}],
    )
    orthanc.options["UserMetadata"] = {"MedSigLIP": 4711}
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
    return status, json.loads(body) if "json" in (kind or "") else body


def wait_state(orthanc, study, *states, seconds=90):
    def reached():
        _, answer = call(orthanc, f"/medsiglip/studies/{study}/status")
        return answer if answer["state"] in states else None

    return wait_until(reached, seconds, f"{study} does not become {states}: {orthanc.folder}/orthanc.log")


@pytest.fixture(scope="module")
def reported(pair, sample_data):
    orthanc, _ = pair
    study = orthanc.upload_study(sample_data / "studies" / "ct-chest-nodule")
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


def test_the_routes_answer(pair, reported):
    orthanc, _ = pair
    study, before = reported
    series = before["labels"][0]["series"]
    status, report = call(orthanc, f"/medsiglip/studies/{study}/report")
    assert status == 200
    assert {s["label"] for s in report["scores"]} >= {"Nodule"}
    assert report["parameters"]["statement"] == "Research use only, not for diagnosis."
    status, page = call(orthanc, f"/medsiglip/studies/{study}/report?format=html")
    assert status == 200
    assert b"Research use only" in page
    assert b"Nodule" in page
    status, plan = call(orthanc, f"/medsiglip/series/{series}/explain")
    assert status == 200
    assert len(plan["series"]) == 1
    assert plan["instances"]["received"] == 25
    status, plan = call(orthanc, f"/medsiglip/series/{before['reports'][0]['series']}/explain")
    assert (status, plan["series"]) == (200, [])  # a report is in no plan
    status, sheet = call(orthanc, f"/medsiglip/studies/{study}/contact-sheet")
    assert status == 200
    assert sheet.startswith(b"\x89PNG")
    status, answer = call(orthanc, f"/medsiglip/series/{series}/status")
    assert status == 200
    assert [s["series"] for s in answer["labels"]] == [series] * len(answer["labels"]) != []


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/medsiglip/studies/no-such-study/status", "GET", 404),
        ("/medsiglip/series/no-such-series/status", "GET", 404),
        ("/medsiglip/nothing", "GET", 404),
        ("/medsiglip/studies/{study}/nothing", "GET", 404),
        ("/medsiglip/studies/{study}/report?revision=77", "GET", 404),
        ("/medsiglip/studies/{study}/report?revision=first", "GET", 400),
        ("/medsiglip/studies/{study}/report?format=xml", "GET", 400),
        ("/medsiglip/search?text=lung&format=xml", "GET", 400),
        ("/medsiglip/search", "GET", 400),
        ("/medsiglip/search?text=lung&top=0", "GET", 400),
        ("/medsiglip/search?text=lung&where=no_such_column", "GET", 400),
        ("/medsiglip/studies/{study}/similar?top=many", "GET", 400),
    ],
)
def test_errors_are_json_with_a_status(pair, reported, path, method, status):
    orthanc, _ = pair
    got, body = call(orthanc, path.format(study=reported[0]), method)
    assert got == status
    assert body["error"]


def test_a_wrong_method_is_named(pair, reported):
    orthanc, _ = pair
    assert call(orthanc, f"/medsiglip/studies/{reported[0]}/process")[0] == 405
    assert call(orthanc, f"/medsiglip/studies/{reported[0]}/status", "POST")[0] == 405


def test_without_a_password_nothing_is_told(pair, reported):
    orthanc, _ = pair
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{orthanc.url}/medsiglip/studies/{reported[0]}/status", timeout=10)
    with refused.value:
        assert refused.value.code == 401


def test_the_state_stands_in_the_metadata_of_the_study(pair, reported):
    orthanc, _ = pair
    state = json.loads(orthanc.client.studies.get_binary_metadata(reported[0], "MedSigLIP"))
    assert state["state"] == "reported"
    assert state["instances"] == 25


def test_a_study_outside_the_rules_is_not_sent(pair, sample_data):
    orthanc, service = pair
    study = orthanc.upload_study(sample_data / "studies" / "mr-brain-normal")
    answer = wait_state(orthanc, study, "not-chosen", seconds=20)
    assert answer["message"] == "no series matches the rules"
    assert call(orthanc, f"/medsiglip/studies/{study}/process", "POST")[0] == 409
    assert answer["study_instance_uid"] not in {r["study_instance_uid"] for r in service.status()["revisions"]}


def test_process_now_makes_another_report_that_names_the_first(pair, sample_data):
    orthanc, _ = pair
    study = orthanc.upload_study(sample_data / "studies" / "cr-chest-normal")
    first = wait_state(orthanc, study, "reported")["reports"]
    status, answer = call(orthanc, f"/medsiglip/studies/{study}/process", "POST")
    assert (status, answer["state"]) == (202, "queued")

    def second():
        reports = call(orthanc, f"/medsiglip/studies/{study}/status")[1]["reports"]
        return reports if len(reports) == 2 else None

    reports = wait_until(second, 60, "no second report came")
    assert reports[1] == first[0]  # nothing was replaced
    assert call(orthanc, f"/medsiglip/studies/{study}/report")[1]["predecessor"] == first[0]["sop_instance_uid"]
    assert wait_state(orthanc, study, "reported")
    page = call(orthanc, f"/medsiglip/studies/{study}/report?format=html")[1].decode()
    assert "Other revisions: <a href='report?format=html&amp;revision=1'>1</a>" in page


def test_similar_studies_and_words_are_found_with_orthancs_own_ids(pair, reported, sample_data):
    orthanc, _ = pair
    study = reported[0]
    radiograph = orthanc.upload_study(sample_data / "studies" / "cr-chest-effusion")
    wait_state(orthanc, radiograph, "reported")
    status, answer = call(orthanc, f"/medsiglip/studies/{study}/similar")
    assert status == 200
    assert study not in {one["study"] for one in answer["similar"]}
    (one,) = (one for one in answer["similar"] if one["study"] == radiograph)
    assert one["description"] == "2026-01-05 Synthetic cr-chest-effusion"
    assert one["modalities"] == ["CR"]
    status, answer = call(orthanc, "/medsiglip/search?text=a%20chest%20radiograph&top=1")
    assert status == 200
    (best,) = answer["found"]
    assert best["modality"] == "CR"
    tags = orthanc.client.instances.get_tags(best["instance"])
    assert tags["SOPInstanceUID"] == best["sop_instance_uid"]
    assert "Research use only" in answer["notice"]
    status, answer = call(orthanc, "/medsiglip/search?text=chest&level=study&where=modality%3D'CT'")
    assert status == 200, answer
    assert [one["study"] for one in answer["found"]] == [study]
