"""The worker writes each revision to the store; `store verify` finds what is wrong there, `re-embed` mends just that."""

import hashlib
import json
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import pyarrow as pa
import pytest

from dicom_pipeline import EmbeddingStore, Pipeline
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.account import service_account
from dicom_pipeline.catalog.arrivals import Received
from dicom_pipeline.catalog.revisions import make_revision
from dicom_pipeline.config import load_settings, store_uri
from dicom_pipeline.maintenance.store_care import StoreCare
from dicom_pipeline.planning import read_header
from dicom_pipeline.research.store.checking import Fault
from dicom_pipeline.results.record import result_folder
from dicom_pipeline.service.worker import Worker
from tests.peers.entries import record_instance
from tests.research.made import made_rows


class Archive:
    """A spool, a catalog and a worker that is run until nothing is ready."""

    def __init__(self, folder):
        self.config = folder / "pipeline.toml"
        self.config.write_text('[spool]\nfolder = "data"\n[planning]\nselection = "uniform:2"\n')
        self.settings = load_settings(self.config)
        self.folder = self.settings.spool.folder
        self.catalog = Catalog(self.folder / "catalog.sqlite")

    def receive(self, *paths):
        """Enter files as a listener does, and make the next revision of their study."""
        for path in paths:
            header = read_header(path)
            content = path.read_bytes()
            name = f"instances/{hashlib.sha256(content).hexdigest()}.dcm"
            (self.folder / "instances").mkdir(exist_ok=True)
            (self.folder / name).write_bytes(content)
            uids = (
                header.study_instance_uid,
                header.series_instance_uid,
                header.sop_class_uid,
                header.transfer_syntax_uid,
            )
            digest = hashlib.sha256(content).hexdigest()
            received = Received(
                header.sop_instance_uid, digest, *uids, name, len(content), "AE", "127.0.0.1", "t", time.time()
            )
            record_instance(self.catalog, received)
        make_revision(self.catalog, header.study_instance_uid, time.time(), "quiet")
        return header.study_instance_uid

    def work(self, settings=None):
        stop = threading.Event()
        worker = Worker(settings or self.settings, f"test/{time.monotonic()}", stop)
        thread = threading.Thread(target=worker.run)
        thread.start()
        deadline = time.monotonic() + 120
        while any(r["state"] in ("ready", "processing") for r in self.revisions()) and time.monotonic() < deadline:
            time.sleep(0.05)
        stop.set()
        thread.join()

    def revisions(self):
        return service_account(self.catalog)["revisions"]

    def store(self):
        return EmbeddingStore.open(store_uri(self.settings))

    def faults(self):
        return {(f.study_instance_uid, f.fault): f.count for f in StoreCare(self.settings).findings()}

    def run(self, *arguments):
        command = [sys.executable, "-m", "dicom_pipeline", "store", *arguments, "--config", self.config]
        return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def archive(tmp_path_factory, sample_data):
    """Two studies, the MR in two revisions: its last images came late."""
    made = Archive(tmp_path_factory.mktemp("archive"))
    studies = sample_data / "studies"
    brain = sorted((studies / "mr-brain-normal").glob("*.dcm"))
    made.studies = made.receive(*brain[:8]), made.receive(studies / "cr-chest-normal" / "1-01.dcm")
    made.work()
    made.before = made.store().rows(f"study_instance_uid = '{made.studies[0]}'")
    made.receive(*brain[8:])
    made.work()
    return made


@pytest.fixture
def whole(archive):
    """The archive as it should be, again after each test."""
    assert archive.faults() == {}
    yield archive
    StoreCare(archive.settings).mend(remove_orphans=True)


def test_a_newer_revision_replaced_the_rows_of_the_older(whole):
    rows = whole.store().rows().to_pylist()
    assert [r["state"] for r in whole.revisions()] == ["done"] * 3
    assert len(rows) == 3
    brain = [row for row in rows if row["study_instance_uid"] == whole.studies[0]]
    assert {row["revision"] for row in brain} == {2}
    assert whole.before["revision"].to_pylist() == [1, 1]
    assert {r["sop_instance_uid"] for r in brain} != set(whole.before["sop_instance_uid"].to_pylist())
    assert all(len(row["score_labels"]) == len(row["score_values"]) > 0 for row in rows)
    result = whole.revisions()[-1]
    assert {row["fingerprint"] for row in brain} == {result["fingerprint"]}


def test_the_store_and_a_process_run_hold_the_same_vectors(whole, sample_data):
    result = Pipeline.from_config(whole.settings).process_study([sample_data / "studies" / "mr-brain-normal"])
    rows = {row["sop_instance_uid"]: row["embedding"] for row in whole.store().rows().to_pylist()}
    for embedding in result.embeddings:
        np.testing.assert_allclose(rows[embedding.frame.key.sop_instance_uid], embedding.vector, rtol=1e-4, atol=1e-5)


def test_missing_rows_are_found_and_written_from_the_results(whole):
    before = whole.store().rows().sort_by("sop_instance_uid")
    whole.store().remove_study(whole.studies[0])
    assert whole.faults() == {(whole.studies[0], Fault.MISSING): 2}
    done = StoreCare(whole.settings).mend()
    assert (done.from_results, done.processed, done.skipped) == ([whole.studies[0]], [], {})
    assert whole.store().rows().sort_by("sop_instance_uid").equals(before)


def test_stale_rows_are_found_and_mended_alone(whole):
    store = whole.store()
    mine = store.rows(f"study_instance_uid = '{whole.studies[1]}'")
    other = mine.set_column(mine.column_names.index("fingerprint"), "fingerprint", pa.array(["0" * 64]))
    store.write_study(whole.studies[1], 1, other)
    assert whole.faults() == {(whole.studies[1], Fault.STALE): 1}
    assert StoreCare(whole.settings).mend().from_results == [whole.studies[1]]
    assert whole.faults() == {}


def test_orphans_are_found_and_removed_only_when_asked(whole):
    whole.store().write(made_rows("9.9", frames=5))
    result = whole.run("verify", "--json")
    assert result.returncode == 1, result.stderr
    assert json.loads(result.stdout) == [{"study_instance_uid": "9.9", "fault": "orphaned", "count": 5}]
    assert whole.run("re-embed").returncode == 1
    assert whole.faults() == {("9.9", Fault.ORPHANED): 5}
    assert "1 removed" in whole.run("re-embed", "--remove-orphans").stdout
    agreed = whole.run("verify")
    assert (agreed.returncode, agreed.stdout) == (0, "store and catalog agree\n")


def test_where_the_results_are_gone_the_study_is_processed_again(whole):
    before = whole.store().rows(f"study_instance_uid = '{whole.studies[0]}'").sort_by("sop_instance_uid")
    whole.store().remove_study(whole.studies[0])
    shutil.move(whole.folder / result_folder(whole.studies[0], 2), whole.folder / "away")
    done = StoreCare(whole.settings).mend()
    assert (done.processed, done.from_results) == ([whole.studies[0]], [])
    after = whole.store().rows(f"study_instance_uid = '{whole.studies[0]}'").sort_by("sop_instance_uid")
    assert after.drop_columns(["embedding", "score_values"]).equals(before.drop_columns(["embedding", "score_values"]))
    np.testing.assert_allclose(
        np.array(after["embedding"].to_pylist()), np.array(before["embedding"].to_pylist()), rtol=1e-4, atol=1e-5
    )
    whole.store().remove_study(whole.studies[0])
    others = whole.settings.model_copy(
        update={"planning": whole.settings.planning.model_copy(update={"selection": "middle:1"})}
    )
    assert "another fingerprint" in StoreCare(others).mend().skipped[whole.studies[0]]
    shutil.move(whole.folder / "away", whole.folder / result_folder(whole.studies[0], 2))


def test_a_store_that_fails_stops_no_report(tmp_path, sample_data, caplog):
    archive = Archive(tmp_path)
    archive.receive(sample_data / "studies" / "cr-chest-normal" / "1-01.dcm")
    (archive.folder / "store").write_text("a file where the store should be")
    archive.work()
    assert [(r["state"], bool(r["report"])) for r in archive.revisions()] == [("done", True)]
    assert "is not in the embedding store" in caplog.text
    (archive.folder / "store").unlink()
    assert list(archive.faults().values()) == [1]
    assert len(StoreCare(archive.settings).mend().from_results) == 1
    assert archive.faults() == {}


def test_other_settings_make_new_revisions_when_asked(tmp_path, sample_data):
    archive = Archive(tmp_path)
    study = archive.receive(*sorted((sample_data / "studies" / "mr-brain-normal").glob("*.dcm"))[:4])
    archive.work()
    same = StoreCare(archive.settings)
    assert same.outdated(Pipeline.from_config(archive.settings)) == []
    planning = archive.settings.planning.model_copy(update={"selection": "uniform:3"})
    others = archive.settings.model_copy(update={"planning": planning})
    care = StoreCare(others)
    assert care.findings() == []
    assert care.outdated(Pipeline.from_config(others)) == [study]
    assert care.ask_again([study]) == [study]
    assert care.ask_again([study]) == []  # under way
    archive.work(others)
    assert [(r["number"], r["cause"], r["state"]) for r in archive.revisions()] == [
        (1, "quiet", "done"),
        (2, "asked", "done"),
    ]
    assert archive.store().count("revision = 2") == archive.store().count() == 3
    assert care.outdated(Pipeline.from_config(others)) == []
