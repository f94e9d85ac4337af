"""Worker and sender killed by SIGKILL at each named point: the work is done again, and its result is there once."""

import hashlib
import json
import signal
from pathlib import Path

import pydicom
import pytest

from dicom_pipeline import EmbeddingStore, faults
from dicom_pipeline.config import store_uri
from dicom_pipeline.intake.receipt import UploadResult
from dicom_pipeline.reporting import read_report
from tests.peers.crashing import start_sender, start_worker
from tests.peers.place import INSTANCES, Place
from tests.peers.programs import wait_until
from tests.peers.raw import RawSender, data_set
from tests.peers.service import Service

pytestmark = pytest.mark.system


def work(place: Place, fault: str = "") -> int | None:
    """Run a worker process until nothing is ready; how it ended."""
    worker = start_worker(place.config, fault)
    worker.join(120)
    return worker.exitcode


@pytest.mark.parametrize("point", faults.WORK_POINTS)
def test_a_worker_killed_at_each_step(tmp_path, sample_data, point):
    place = Place(tmp_path, sample_data)
    assert work(place, f"{point}:1") == -signal.SIGKILL
    assert work(place) == 0
    assert place.query("SELECT number, state FROM revision") == [(1, "done")]
    assert place.query("SELECT DISTINCT outcome FROM revision_instance") == [("used",)]
    ((uid, path, digest),) = place.query("SELECT sop_instance_uid, path, sha256 FROM report")
    content = (place.folder / path).read_bytes()
    assert hashlib.sha256(content).hexdigest() == digest
    assert pydicom.dcmread(place.folder / path).SOPInstanceUID == uid
    assert place.query("SELECT report_uid, destination, state FROM delivery") == [(uid, "files", "pending")]
    assert not list(place.folder.rglob("*.part"))
    assert EmbeddingStore.open(store_uri(place.settings)).count() == INSTANCES


@pytest.mark.parametrize("point", faults.SEND_POINTS)
def test_a_sender_killed_at_each_step(tmp_path, sample_data, point):
    place = Place(tmp_path, sample_data)
    assert work(place) == 0
    sender = start_sender(place.config, f"{point}:1")
    sender.join(60)
    assert sender.exitcode == -signal.SIGKILL
    sender = start_sender(place.config)
    state = "SELECT state FROM delivery"
    wait_until(lambda: place.query(state) == [("delivered",)], 60, "the report is not delivered")
    sender.terminate()
    sender.join(60)
    assert sender.exitcode == 0
    (path,) = place.reports.glob("*")
    ((digest,),) = place.query("SELECT sha256 FROM report")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:300])


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize(("damage", "processed"), [(cut, True), (zero, True), (Path.unlink, True), (cut, False)])
def test_an_entry_whose_file_is_damaged_is_mended_when_its_sender_repeats_it(tmp_path, sample_data, damage, processed):
    """As after a power cut on a disk that loses what it had confirmed, or damage of the spool by other hands."""
    place = Place(tmp_path, sample_data)
    sources = sorted((sample_data / "studies" / "mr-brain-normal").glob("*.dcm"))[:INSTANCES]
    ((path, uid),) = place.query("SELECT path, sop_instance_uid FROM instance ORDER BY id LIMIT 1")
    damage(place.folder / path)
    if processed:
        assert work(place) == 0
        assert place.query("SELECT count(*) FROM revision_instance WHERE outcome = 'failed'") == [(1,)]
    assert place.receive(sources) == [UploadResult.DUPLICATE] * INSTANCES
    assert place.receive(sources) == [UploadResult.DUPLICATE] * INSTANCES  # and no work a second time
    assert work(place) == 0
    last = place.query("SELECT max(number), state FROM revision")
    assert last == [(2 if processed else 1, "done")]
    outcomes = place.query(
        "SELECT r.number, ri.outcome FROM revision_instance ri JOIN revision r ON r.id = ri.revision_id "
        f"JOIN instance i ON i.id = ri.instance_id WHERE i.sop_instance_uid = '{uid}' ORDER BY r.number"
    )
    assert outcomes == ([(1, "failed"), (2, "used")] if processed else [(1, "used")])
    reports = [read_report(pydicom.dcmread(place.folder / row[0])) for row in place.query("SELECT path FROM report")]
    assert sum(uid in report.sources for report in reports) == 1
    plan = json.loads(next(place.folder.glob("results/*/r*/plan.json")).read_text(encoding="utf-8"))
    assert plan["studies"]


def test_the_service_starts_a_killed_listener_again(tmp_path):
    """And the sender of what was on its way is served by the new one."""
    service = Service(tmp_path / "service", quiet=60.0)
    service.environment[faults.VARIABLE] = "before-commit:2"  # the first transaction is that of the first association
    service.start()
    try:
        body = data_set("1.2.1", "1.3", bytes(9000))

        def sent():
            try:
                peer = RawSender(service.port)
                with peer.socket:
                    return peer.store("1.2.1", body) == 0
            except OSError:
                return False

        wait_until(lambda: sent() or "listener ended with -9" in service.log.read_text(), 60, "nobody was killed")
        assert "listener ended with -9" in service.log.read_text()
        wait_until(
            lambda: service.log.read_text().count("listener ended with -9") > 1 or sent(), 60, "not started again"
        )
        service.stop()
        service.environment.clear()
        service.start()
        wait_until(sent, 60, "it is not taken")
        assert service.status()["totals"]["instances"] == 1
    finally:
        service.kill()
