"""Fetching from a real Orthanc: polling its changes, and a run over what it holds, each stopped and taken up again."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from dicom_pipeline.assembly.retention import RetentionRule, clean
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.revisions import discard_study, waiting_studies
from dicom_pipeline.catalog.studies import study_account
from dicom_pipeline.errors import SourceError
from dicom_pipeline.intake.receiver import Receiver
from dicom_pipeline.intake.spool import Spool
from dicom_pipeline.sources.fetch import fetch_study
from dicom_pipeline.sources.orthanc import OrthancSource
from dicom_pipeline.sources.poller import Poller
from dicom_pipeline.sources.rate_limiter import RateLimiter
from dicom_pipeline.sources.source import ListedSeries, ListedStudy
from dicom_pipeline.sources.study_filter import StudyFilter
from tests.peers.made import orthanc_server
from tests.peers.orthanc import Orthanc
from tests.peers.programs import wait_until

pytestmark = pytest.mark.system

USER = ("anna", "a good secret")


@pytest.fixture(scope="module")
def archive(tmp_path_factory, sample_data):
    """An Orthanc with all sample studies, which asks for a password."""
    orthanc = Orthanc(tmp_path_factory.mktemp("archive"), USER, StableAge=1).start()
    for folder in sorted((sample_data / "studies").iterdir()):
        orthanc.upload_study(folder) if folder.is_dir() else None
    yield orthanc
    orthanc.stop()


def backfill(archive, folder, *arguments, stop_after: float | None = None):
    """Run the command; its exit status and output, None and "" where it was killed."""
    (folder / "pipeline.toml").write_text("[spool]\nmin_free_bytes = 0\n")
    command = [sys.executable, "-m", "dicom_pipeline", "backfill", "orthanc", archive.url, "--user", USER[0], "--json"]
    process = subprocess.Popen(
        [*command, *arguments],
        cwd=folder,
        env={**os.environ, "ORTHANC_PASSWORD": USER[1]},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    if stop_after is not None:
        wait_until(lambda: len(list((folder / "dicom-pipeline-data").rglob("*.dcm"))) >= stop_after, 60, "nothing came")
        process.kill()
    output, errors = process.communicate(timeout=120)
    if stop_after is None:
        assert process.returncode in (0, 1), errors
    return process.returncode, output


def test_a_run_that_is_killed_goes_on_and_its_account_equals_orthancs_count(archive, tmp_path):
    total = archive.client.get_statistics().instances_count
    backfill(archive, tmp_path, "--rate", "10", stop_after=8)  # in the middle of a study, as only two have one instance
    before = len(list((tmp_path / "dicom-pipeline-data" / "instances").rglob("*.dcm")))
    assert 0 < before < total
    status, output = backfill(archive, tmp_path)
    account = json.loads(output)
    assert status == 0
    assert account["balanced"]
    assert account["instances"] == total == sum(account["outcomes"].values())
    assert account["outcomes"]["held"] > 0  # fetched by the run that was killed, and not again
    assert account["outcomes"]["held"] + account["outcomes"]["new"] == total
    assert len(list((tmp_path / "dicom-pipeline-data" / "instances").rglob("*.dcm"))) == total
    status, output = backfill(archive, tmp_path)  # a run of its own, as the first is finished
    assert json.loads(output)["outcomes"] == {"held": total}


def test_filters_and_the_dry_run(archive, tmp_path):
    status, output = backfill(archive, tmp_path, "--dry-run", "--since", "20300101")
    listing = json.loads(output)
    assert status == 0
    assert listing["studies"] == 0
    assert listing["outside"] == listing["source_instances"] == archive.client.get_statistics().instances_count
    assert not (tmp_path / "dicom-pipeline-data").exists()
    status, output = backfill(archive, tmp_path, "--modality", "MR", "--description", "t1|flair|brain")
    account = json.loads(output)
    assert status == 0
    assert account["balanced"]
    assert account["instances"] == account["source_instances"] == listing["source_instances"]
    assert account["outcomes"] == {"new": 40, "not-wanted": account["instances"] - 40}
    _, output = backfill(archive, tmp_path, "--dry-run", "--modality", "MR", "--description", "t1|flair|brain")
    assert json.loads(output)["instances"] == 40
    assert json.loads(output)["studies"] == account["studies"] == 2


def test_an_instance_that_orthanc_cannot_read_ends_no_run(tmp_path, sample_data):
    orthanc = Orthanc(tmp_path / "orthanc", USER).start()
    try:
        study = orthanc.upload_study(sample_data / "studies" / "mr-brain-normal")
        stored = [path for path in (tmp_path / "orthanc" / "storage").rglob("*") if path.is_file()]
        orthanc.stop()
        max(stored, key=lambda path: path.stat().st_size).unlink()  # as a failing disk would
        orthanc.start()  # with nothing in its memory
        (tmp_path / "spool").mkdir()
        status, output = backfill(orthanc, tmp_path / "spool")
        assert status == 0
        assert json.loads(output)["outcomes"] == {"new": 19, "not-readable": 1}
        uid = orthanc.client.studies.get_tags(study)["StudyInstanceUID"]
        catalog = Catalog(tmp_path / "spool" / "dicom-pipeline-data" / "catalog.sqlite")
        assert study_account(catalog, uid)["expected"] == 19  # what cannot be read is not waited for
    finally:
        orthanc.stop()


def test_a_run_tells_a_person_how_it_goes_and_stops_at_ctrl_c(archive, tmp_path):
    (tmp_path / "pipeline.toml").write_text("[spool]\nmin_free_bytes = 0\n")
    command = [sys.executable, "-m", "dicom_pipeline", "backfill", "orthanc", archive.url, "--user", USER[0]]
    environment = {**os.environ, "ORTHANC_PASSWORD": USER[1]}
    run = {"cwd": tmp_path, "env": environment, "stdout": subprocess.PIPE, "text": True}
    slow = subprocess.Popen([*command, "--rate", "20"], **run)
    wait_until(lambda: len(list((tmp_path / "dicom-pipeline-data").rglob("*.dcm"))) > 2, 60, "nothing came")
    slow.send_signal(signal.SIGINT)
    assert "The same command goes on here" in slow.communicate(timeout=60)[0]
    assert slow.returncode == 130
    told = subprocess.run(command, **run, check=True).stdout
    assert "instances (resumed)" in told
    assert "held: in the spool before" in told
    assert "new: fetched" in told


def test_a_wrong_password_is_named(archive, tmp_path):
    (tmp_path / "pipeline.toml").write_text("")
    command = [sys.executable, "-m", "dicom_pipeline", "backfill", "orthanc", archive.url, "--user", "eve"]
    environment = {**os.environ, "ORTHANC_PASSWORD": "wrong"}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "refuses the user name or password" in result.stderr
    assert "wrong" not in result.stderr


def server_of(orthanc, **fetch):
    return orthanc_server(orthanc.url, username=USER[0], password=USER[1], roles=("deliver", "fetch"), fetch=fetch)


@pytest.fixture
def polled(tmp_path):
    """An Orthanc, a catalog, and a way to make a poller of them, as after a restart of the service."""
    orthanc = Orthanc(tmp_path / "orthanc", USER, StableAge=1).start()
    catalog = Catalog(tmp_path / "data" / "catalog.sqlite")
    receiver = Receiver(catalog, Spool(tmp_path / "data"), 2**30, 0)

    def poller(**values):
        return Poller(server_of(orthanc, settle_seconds=2, **values), catalog, receiver)

    yield orthanc, catalog, poller
    orthanc.stop()


def pump(poller, seconds=20):
    """Look and fetch until nothing has come for 4 s."""
    quiet, deadline = time.monotonic() + 4, time.monotonic() + seconds
    while time.monotonic() < min(quiet, deadline):
        poller.look(time.time())
        while poller.fetch_due(time.time()):
            quiet = time.monotonic() + 4
        time.sleep(0.2)


def test_the_poller_reads_on_where_another_stopped(polled, sample_data):
    orthanc, catalog, poller = polled
    orthanc.upload_study(sample_data / "studies" / "cr-chest-normal")
    first = poller()
    first.look(time.time())  # the first look: what is there already is for a backfill
    study = orthanc.upload_study(sample_data / "studies" / "mr-brain-normal")
    uid = orthanc.client.studies.get_tags(study)["StudyInstanceUID"]
    first.look(time.time())  # sees the new study; then the service is stopped
    orthanc.kill()  # and Orthanc too, which forgets that the study was not stable yet
    orthanc.start()
    pump(poller())
    (row,) = catalog.read("totals")
    assert row["instances"] == 20
    assert study_account(catalog, uid)["expected"] == 20
    assert study_account(catalog, uid)["state"] == "receiving"


def test_the_poller_takes_only_what_is_wanted_and_tries_again(polled, sample_data):
    orthanc, catalog, poller = polled
    running = poller(modalities=("CT",))
    running.look(time.time())
    orthanc.upload_study(sample_data / "studies" / "mr-brain-normal")
    orthanc.upload_study(sample_data / "studies" / "ct-chest-nodule")
    wait_until(lambda: "StableStudy" in str(orthanc.client.get_json("changes?limit=1000")), 20, "nothing became stable")
    running.look(time.time())
    orthanc.stop()
    with pytest.raises(SourceError, match="Orthanc does not answer"):
        running.fetch_due(time.time())
    orthanc.start()
    assert catalog.read("totals")[0]["instances"] == 0
    pump(running, seconds=40)
    assert catalog.read("totals")[0]["instances"] == 25


def test_what_was_cleaned_is_fetched_again_only_beside_something_new(polled, sample_data, tmp_path):
    orthanc, catalog, _ = polled
    receiver = Receiver(catalog, Spool(tmp_path / "data"), 2**30, 0)
    paths = sorted((sample_data / "studies" / "mr-brain-normal").glob("*.dcm"))
    for path in paths[:10]:
        orthanc.client.upload_file(str(path))
    (study,) = orthanc.client.studies.get_all_ids()

    def pull():
        return dict(fetch_study(OrthancSource(server_of(orthanc)), catalog, receiver, study, StudyFilter()).account)

    assert pull() == {"new": 10}
    uid = orthanc.client.studies.get_tags(study)["StudyInstanceUID"]
    discard_study(catalog, uid, time.time(), "discard", "rule")
    assert clean(catalog, RetentionRule(0), time.time() + 1).instances == 10
    assert pull() == {"held": 10}
    assert not list((tmp_path / "data").rglob("*.dcm"))
    orthanc.client.upload_file(str(paths[10]))
    assert pull() == {"duplicate": 10, "new": 1}
    assert len(list((tmp_path / "data").rglob("*.dcm"))) == 11
    (waiting,) = waiting_studies(catalog)
    assert (waiting.removed, waiting.received, waiting.expected) == (0, 11, 11)


def test_a_pull_that_was_cut_short_fetches_what_was_cleaned(polled, sample_data, tmp_path):
    orthanc, catalog, _ = polled
    receiver = Receiver(catalog, Spool(tmp_path / "data"), 2**30, 0)
    paths = sorted((sample_data / "studies" / "mr-brain-normal").glob("*.dcm"))
    for path in paths[:3]:
        receiver.receive(path.read_bytes(), source="ORTHANC", address="o")
    for path in paths[:4]:
        orthanc.client.upload_file(str(path))
    (study,) = orthanc.client.studies.get_all_ids()
    uid = orthanc.client.studies.get_tags(study)["StudyInstanceUID"]
    discard_study(catalog, uid, time.time(), "discard", "rule")
    clean(catalog, RetentionRule(0), time.time() + 1)
    receiver.receive(paths[3].read_bytes(), source="ORTHANC", address="o")  # the new one came, the others did not
    fetched = fetch_study(OrthancSource(server_of(orthanc)), catalog, receiver, study, StudyFilter())
    assert dict(fetched.account) == {"held": 1, "duplicate": 3}
    assert waiting_studies(catalog)[0].removed == 0


def test_a_study_without_a_date_fits_only_without_dates():
    undated, dated = listed(date=""), listed(date="20250102")
    assert StudyFilter().admits_date(undated)
    assert not StudyFilter(since="19000101").admits_date(undated)
    assert StudyFilter(since="20250102", until="20250102").admits_date(dated)
    assert not StudyFilter(until="20250101").admits_date(dated)


@pytest.mark.parametrize(
    ("conditions", "admitted"),
    [
        ({}, True),
        ({"modalities": ("MR",)}, False),
        ({"modalities": ("CT", "MR")}, True),
        ({"description": "THORAX"}, True),
        ({"description": "^lung"}, True),
        ({"description": "head"}, False),
        ({"modalities": ("MR",), "description": "lung"}, False),
    ],
)
def test_every_condition_on_a_series_must_be_met(conditions, admitted):
    study = listed(date="")
    assert StudyFilter(**conditions).admits(study, study.series[0]) is admitted


def listed(date):
    return ListedStudy("k", "1.2", date, "CT Thorax", (ListedSeries("s", "1.2.3", "CT", "Lung 1.0", 7),))


def test_the_rate_is_kept():
    slept = []
    rate = RateLimiter(10.0, sleep=slept.append)
    for _ in range(5):
        rate.wait()
    assert len(slept) == 4
    assert 0.3 < slept[-1] <= 0.4  # nobody slept in truth, so the waits add up
