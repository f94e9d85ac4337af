"""What the pipeline does not take, or Orthanc does not keep: no study waits for instances that will never come."""

import http.server
import io
import threading

import pydicom
import pytest

from dicom_pipeline.dicom.uids import report_series_uid
from tests.peers.orthanc import Orthanc, with_our_plugin
from tests.peers.programs import wait_until
from tests.peers.service import Service

pytestmark = pytest.mark.system

WAYS = ("REST", "DICOM", "DICOM alone")


def make_pair(folder, way, quiet=300.0, **options):
    """An Orthanc and a service, not started. way: of WAYS; the last knows no URL of the pipeline."""
    orthanc = Orthanc(folder / "orthanc")
    service = Service(
        folder / "service",
        f'[[peers]]\ntype = "orthanc"\nname = "orthanc"\nurl = "{orthanc.url}"\n',
        quiet=quiet,
    )
    url = "" if way == "DICOM alone" else f"http://127.0.0.1:{service.web}"
    dicom = {} if way == "REST" else {"Send": "DICOM", "Modality": "medsiglip"}
    orthanc.options = with_our_plugin(Pipeline=url, **dicom, **options)
    orthanc.options["DicomModalities"] = {"medsiglip": ["DICOMPIPE", "127.0.0.1", service.port]}
    return orthanc, service


def status(orthanc, study):
    return orthanc.client.get_json(f"/medsiglip/studies/{study}/status")


def wait_state(orthanc, study, *states, seconds=60):
    return wait_until(
        lambda: (answer := status(orthanc, study))["state"] in states and answer,
        seconds,
        f"{study} does not become {states}: {orthanc.folder / 'orthanc.log'}",
    )


@pytest.mark.parametrize("way", WAYS)
def test_a_pipeline_that_is_away_gets_the_study_later(tmp_path, sample_data, way):
    orthanc, service = make_pair(tmp_path, way, quiet=2.0 if way == "DICOM alone" else 300.0)
    orthanc.start()
    try:
        study = orthanc.upload_study(sample_data / "studies" / "mr-brain-lesion")
        wait_until(lambda: status(orthanc, study)["message"], 60, "that the pipeline is away is not told")
        assert status(orthanc, study)["state"] in ("queued", "sending")
        service.start()
        assert wait_state(orthanc, study, "reported", "failed")["state"] == "reported"
        (revision,) = service.status()["revisions"]
        assert revision["received"] == 20
    finally:
        orthanc.stop()
        assert service.stop() == 0


@pytest.mark.parametrize("way", WAYS)
def test_an_instance_that_is_refused_is_not_waited_for(tmp_path, sample_data, way):
    orthanc, service = make_pair(tmp_path, way, quiet=2.0 if way == "DICOM alone" else 300.0)
    text = service.config.read_text().replace("[listener]\n", "[listener]\nmax_object_bytes = 400000\n")
    service.config.write_text(text)
    service.start()
    orthanc.start()
    try:
        files = sorted((sample_data / "studies" / "mr-brain-lesion").glob("*.dcm"))
        large = pydicom.dcmread(files[0])
        large.SOPInstanceUID += ".9"
        large.file_meta.MediaStorageSOPInstanceUID = large.SOPInstanceUID
        large.private_block(0x0099, "A SENDER", create=True).add_new(1, "OB", bytes(500_000))
        stream = io.BytesIO()
        large.save_as(stream, enforce_file_format=True)
        orthanc.client.upload(stream.getvalue())
        study = orthanc.upload_study(files[0].parent)
        if way == "DICOM alone":  # which cannot know what came; it sends from both ends
            wait_until(lambda: service.status()["totals"]["instances"] == 20, 120, "not all was sent that can be")
            wait_until(lambda: status(orthanc, study)["reports"], 120, "no report came back")
        else:
            answer = wait_state(orthanc, study, "reported", "failed")
            (revision,) = service.status()["revisions"]
            assert (answer["state"], revision["cause"], revision["received"]) == ("reported", "expected", 20)
            assert "not stored: 1 x" in answer["message"]
            assert answer["instances"] == 20
    finally:
        orthanc.stop()
        assert service.stop() == 0


def test_a_file_that_orthanc_cannot_read_is_not_waited_for(tmp_path, sample_data):
    orthanc, service = make_pair(tmp_path, "REST", Automatic=False)
    service.start()
    orthanc.start()
    try:
        study = orthanc.upload_study(sample_data / "studies" / "mr-brain-normal")
        orthanc.stop()
        stored = [path for path in (tmp_path / "orthanc" / "storage").rglob("*") if path.is_file()]
        for path in sorted(stored, key=lambda path: path.stat().st_size)[-3:]:
            path.unlink()  # as a failing disk would
        orthanc.start()
        orthanc.client.post(f"/medsiglip/studies/{study}/process", data="{}")
        answer = wait_state(orthanc, study, "reported", "failed")
        assert answer["message"] == "not stored: 3 x deleted in Orthanc or not readable there"
        (revision,) = service.status()["revisions"]
        assert (revision["cause"], revision["received"]) == ("expected", 17)
    finally:
        orthanc.stop()
        assert service.stop() == 0


@pytest.mark.parametrize("way", WAYS[:2])
def test_a_study_that_is_deleted_on_its_way_is_not_waited_for(tmp_path, sample_data, way):
    """What had come of it is processed at once; a study that was deleted before it was sent is forgotten."""
    orthanc, service = make_pair(tmp_path, way)
    service.start()
    orthanc.start()
    try:
        study = orthanc.upload_study(sample_data / "studies" / "ct-chest-nodule")
        uid = orthanc.client.studies.get_tags(study)["StudyInstanceUID"]
        wait_until(lambda: status(orthanc, study)["state"] != "not-sent", 60, "the study was not taken up")
        orthanc.client.studies.delete(study)
        settled = wait_until(lambda: not service.status()["totals"]["waiting"], 60, "the study is still waited for")
        assert settled
        for revision in service.status()["revisions"]:
            assert revision["study_instance_uid"] == uid
            assert revision["cause"] == "expected"
    finally:
        orthanc.stop()
        assert service.stop() == 0


def test_a_deleted_study_that_comes_again_is_sent_again(tmp_path, sample_data):
    orthanc, service = make_pair(tmp_path, "REST")
    service.start()
    orthanc.start()
    try:
        folder = sample_data / "studies" / "cr-chest-normal"
        study = orthanc.upload_study(folder)
        wait_state(orthanc, study, "reported")
        orthanc.client.studies.delete(study)
        assert orthanc.upload_study(folder) == study
        told = wait_until(lambda: status(orthanc, study)["message"], 60, "that the report is gone is not told")
        assert "Process now makes another" in told
        orthanc.client.post(f"/medsiglip/studies/{study}/process", data="{}")
        assert len(wait_state(orthanc, study, "reported")["reports"]) == 1
    finally:
        orthanc.stop()
        assert service.stop() == 0


def test_an_anonymised_copy_brings_no_report_of_ours_to_the_pipeline(tmp_path, sample_data):
    """Orthanc replaces the Device UID, by which our objects are known; they are known in the copy too."""
    orthanc, service = make_pair(tmp_path, "REST")
    service.config.write_text(
        service.config.read_text() + '[report]\ncompanions = ["key-image", "key-objects", "pdf"]\n'
    )
    service.start()
    orthanc.start()
    try:
        study = orthanc.upload_study(sample_data / "studies" / "cr-chest-effusion")
        wait_state(orthanc, study, "reported")
        uid = orthanc.client.studies.get_tags(study)["StudyInstanceUID"]
        wait_until(lambda: len(orthanc.client.studies.get_series_ids(study)) == 5, 60, "not all companions came")
        copy = orthanc.client.post(f"/studies/{study}/anonymize", data="{}").json()["ID"]
        status = wait_state(orthanc, copy, "reported")
        assert status["instances"] == 1
        assert [report["copied"] for report in status["reports"]] == [False, True]
        shown = orthanc.client.get_json(f"/medsiglip/studies/{copy}/report")["instance"]
        ours = report_series_uid(orthanc.client.studies.get_tags(copy)["StudyInstanceUID"])
        assert orthanc.client.instances.get_tags(shown)["SeriesInstanceUID"] == ours  # not the copied one
        first, second = service.status()["revisions"]
        assert (first["study_instance_uid"], first["received"], second["received"]) == (uid, 1, 1)
        assert service.status()["refusals"] == {}  # they were not even offered
    finally:
        orthanc.stop()
        assert service.stop() == 0


class Odd(http.server.BaseHTTPRequestHandler):
    """Answers as no pipeline does; `body` may be changed."""

    body = b"<html>a proxy's page</html>"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    do_PUT = do_POST = do_GET  # noqa: N815 - the library's names

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("body", [b"<html>a proxy's page</html>", b"[]", b'{"instances": 7}'])
def test_what_answers_oddly_at_the_pipelines_address_holds_up_no_other_study(tmp_path, sample_data, body):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Answers", (Odd,), {"body": body}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    options = with_our_plugin(Pipeline=f"http://127.0.0.1:{server.server_port}")
    orthanc = Orthanc(tmp_path / "orthanc", **options).start()
    try:
        studies = [
            orthanc.upload_study(sample_data / "studies" / f"cr-chest-{name}") for name in ("normal", "effusion")
        ]
        for study in studies:
            wait_until(lambda at=study: status(orthanc, at)["message"], 60, "nothing is told")
            assert status(orthanc, study)["state"] == "queued"
        log = (orthanc.folder / "orthanc.log").read_text()
        assert "PHANTOM" not in log
    finally:
        orthanc.stop()
        server.shutdown()
        server.server_close()
