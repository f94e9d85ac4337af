"""The whole way in one Orthanc that asks for a password, to the page in a browser; then Orthanc and the pipeline stop at
awkward moments, and afterwards every study has exactly one report in Orthanc."""

import json
import time

import pytest

from tests.peers.chromium import Browser
from tests.peers.orthanc import Orthanc, with_our_plugin
from tests.peers.programs import free_port, wait_until
from tests.peers.service import Service

pytestmark = pytest.mark.system

STUDIES = ("cr-chest-normal", "ct-chest-nodule", "mr-brain-lesion", "cr-chest-effusion")


USER = ("anna", "a-good-secret")


def make_pair(folder, **options):
    orthanc = Orthanc(folder / "orthanc", USER)
    service = Service(
        folder / "service",
        f'[[peers]]\ntype = "orthanc"\nname = "orthanc"\nurl = "{orthanc.url}"\n'
        f'username = "{USER[0]}"\npassword_env = "ORTHANC_PASSWORD"\n',
        quiet=300,
    )
    service.environment["ORTHANC_PASSWORD"] = USER[1]
    orthanc.options = with_our_plugin(Pipeline=f"http://127.0.0.1:{service.web}", **options)
    return orthanc, service


def state(orthanc, study):
    return orthanc.client.get_json(f"/medsiglip/studies/{study}/status")


def wait_reported(orthanc, studies, seconds=120):
    def all_reported():
        return {state(orthanc, study)["state"] for study in studies} == {"reported"}

    wait_until(all_reported, seconds, f"not all studies are reported: {orthanc.folder / 'orthanc.log'}")


def shows_the_report(orthanc, study, folder):
    """Whether a person who knows the password sees the study's report in Orthanc Explorer."""
    with Browser(folder) as browser:
        browser.visit(f"{orthanc.url.replace('//', f'//{USER[0]}:{USER[1]}@')}/app/explorer.html#study?uuid={study}")
        browser.wait("document.querySelector('.medsiglip button') !== null")
        text = browser.run("document.querySelector('.medsiglip').innerText")
        browser.visit(browser.run("[...document.querySelectorAll('.medsiglip a')].find(a => a.text === 'Report').href"))
        browser.wait("document.querySelector('h1') !== null")
        page = browser.run("document.body.innerText")
    return "reported" in text and "Research use only" in text and "MedSigLIP scores, revision 1" in page


def test_one_report_a_study_whatever_stops_when(tmp_path, sample_data):
    orthanc, service = make_pair(tmp_path)
    folders = [sample_data / "studies" / name for name in STUDIES]
    orthanc.start()
    service.start()
    studies = [orthanc.upload_study(folders[0])]
    wait_reported(orthanc, studies)
    assert orthanc.reports_by_study() == {studies[0]: 1}
    assert shows_the_report(orthanc, studies[0], tmp_path)
    service.kill()
    studies.append(orthanc.upload_study(folders[1]))
    orthanc.kill()  # before the study became stable, which Orthanc forgets
    orthanc.start()
    studies.append(orthanc.upload_study(folders[2]))
    wait_until(
        lambda: "cannot be reached" in state(orthanc, studies[2])["message"], 20, "a pipeline that is away is not told"
    )
    orthanc.kill()  # while it waits for a pipeline that is away
    service.start()
    orthanc.start()
    wait_until(lambda: service.status()["totals"]["instances"] > 1, 30, "nothing was sent")
    orthanc.kill()  # in the middle of sending, or right after
    service.kill()
    service.start()
    orthanc.start()
    wait_until(lambda: service.status()["totals"]["instances"] >= 46, 60, "not all was sent")
    service.kill()  # while a revision is being processed, or a report delivered
    studies.append(orthanc.upload_study(folders[3]))
    service.start()
    wait_reported(orthanc, studies)
    orthanc.stop()
    orthanc.start()  # a clean stop, with nothing to do
    time.sleep(4)
    try:
        assert orthanc.reports_by_study() == dict.fromkeys(studies, 1)
        account = service.status()
        assert [r["state"] for r in account["revisions"]] == ["done"] * 4
        for revision in account["revisions"]:
            assert revision["received"] == revision["used"] + revision["skipped"] + revision["failed"]
    finally:
        orthanc.stop()
        assert service.stop() == 0


def test_over_dicom_with_a_token_and_a_late_series(tmp_path, sample_data):
    """C-STORE by a job of Orthanc's; the announcement over HTTP with a token; a late instance makes a second report."""
    orthanc, service = make_pair(
        tmp_path, Send="DICOM", Modality="medsiglip", TokenEnv="PIPELINE_TOKEN", Metadata=1500, Trigger="StableSeries"
    )
    orthanc.options["DicomModalities"] = {"medsiglip": ["DICOMPIPE", "127.0.0.1", service.port]}
    orthanc.environment["PIPELINE_TOKEN"] = service.environment["PIPELINE_TOKEN"] = "a token"
    service.config.write_text(
        service.config.read_text().replace("[service]\n", '[service]\nweb_token_env = "PIPELINE_TOKEN"\n')
    )
    service.start()
    orthanc.start()
    try:
        files = sorted((sample_data / "studies" / "mr-brain-normal").glob("*.dcm"))
        instance = [orthanc.client.upload_file(str(path))[0] for path in files[:-1]][-1]
        study = orthanc.client.instances.get_parent_study_id(instance)
        wait_reported(orthanc, [study])
        assert [r["cause"] for r in service.status()["revisions"]] == ["expected"]
        orthanc.client.upload_file(str(files[-1]))
        wait_until(lambda: orthanc.reports_by_study() == {study: 2}, 60, "the late instance made no second report")
        wait_reported(orthanc, [study])
        assert json.loads(orthanc.client.studies.get_binary_metadata(study, "1500"))["instances"] == len(files)
        assert service.status()["totals"]["instances"] == len(files)
        assert service.status()["totals"]["conflicts"] == 0
    finally:
        orthanc.stop()
        assert service.stop() == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"Pipline": "http://127.0.0.1:1"}, "unknown option Pipline"),
        ({"Send": "DICOM"}, 'needs "Modality"'),
        ({"TokenEnv": "NO_SUCH_VARIABLE"}, "NO_SUCH_VARIABLE is not set"),
        ({"Rules": [{"Modalty": "CT"}]}, "unknown rule key Modalty"),
        ({"Rules": [{"SeriesDescription": "("}]}, "SeriesDescription cannot be read"),
        ({"Pipeline": "127.0.0.1:8448"}, '"Pipeline" must be a URL such as http://127.0.0.1:8448'),
        ({"Automatic": "false"}, '"Automatic" must be true or false, found "false"'),
        ({"Rules": {"Modality": "CT"}}, '"Rules" must be a list in [ ]'),
        ({"Rules": ["CT"]}, 'a rule must look like {"Modality": "CT"}'),
        ({"Rules": [{"Modality": "ct"}]}, "expected capitals"),
        ({"Rules": [{"Sender": {"ROOM1": 1}}]}, "expected a text or a list of texts"),
        ({"Rules": [{"StudyDescription": ["chest"]}]}, "expected a text, a regular expression"),
        ({"Rules": [{"Metadata": {"research": "yes"}}]}, "neither a number nor a name in Orthanc's UserMetadata"),
        ({"Send": "DICOM", "Modality": "nobody"}, 'DicomModalities has no "nobody"'),
    ],
)
def test_a_wrong_configuration_is_told_and_orthanc_runs_on(tmp_path, options, words):
    import urllib.error
    import urllib.request

    orthanc = Orthanc(tmp_path / "orthanc", **with_our_plugin(**options)).start()
    try:
        with pytest.raises(urllib.error.HTTPError) as answer:
            urllib.request.urlopen(f"{orthanc.url}/medsiglip/search?text=x", timeout=10)
        with answer.value:
            assert answer.value.code == 500
            assert words in json.loads(answer.value.read())["error"]
        assert words in (orthanc.folder / "orthanc.log").read_text()
    finally:
        orthanc.stop()


def test_a_misspelt_name_of_the_block_is_told(tmp_path):
    """Else all defaults would hold, and every study be sent."""
    orthanc = Orthanc(tmp_path / "orthanc", **with_our_plugin())
    orthanc.options["MedSiglip"] = orthanc.options.pop("MedSigLIP")
    orthanc.start()
    try:
        assert 'it must be called "MedSigLIP", found "MedSiglip"' in (orthanc.folder / "orthanc.log").read_text()
    finally:
        orthanc.stop()


def test_the_log_says_at_the_start_what_is_sent(tmp_path):
    rules = [{"Modality": "CT"}, {"Label": "research"}]
    orthanc = Orthanc(tmp_path / "orthanc", **with_our_plugin(Rules=rules)).start()
    try:
        log = orthanc.folder / "orthanc.log"
        sentence = "MedSigLIP: a study is sent by HTTP to http://127.0.0.1:8448 when it becomes stable, rules: 2"
        wait_until(lambda: sentence in log.read_text(), 10, "the log does not say what is sent")
        if orthanc.client.get_json("/system")["Version"] < "1.12":
            wait_until(lambda: "Label, which this Orthanc does not know" in log.read_text(), 10, "a rule is not told")
    finally:
        orthanc.stop()


def test_the_plug_in_never_holds_orthanc_up(tmp_path, sample_data):
    """A pipeline that takes connections and never answers: Orthanc takes instances and answers as if it were not there."""
    import socket

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", free_port()))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        orthanc = Orthanc(tmp_path / "orthanc", **with_our_plugin(Pipeline=url)).start()
        try:
            study = orthanc.upload_study(sample_data / "studies" / "mr-brain-normal")
            time.sleep(2.5)  # the plug-in now waits for an answer
            start = time.monotonic()
            orthanc.upload_study(sample_data / "studies" / "mr-brain-lesion")
            assert state(orthanc, study)["state"] in ("queued", "sending")
            assert time.monotonic() - start < 5
        finally:
            orthanc.stop()
