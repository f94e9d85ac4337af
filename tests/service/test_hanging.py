"""A process that hangs is shown, killed and started again; the study that it hung on is blamed, and no other."""

import os
import signal
import socket
import time

import pydicom
import pytest
from pydicom.uid import generate_uid

from dicom_pipeline import faults
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.domain.life import RevisionState
from dicom_pipeline.errors import ConfigError
from dicom_pipeline.intake.dicom_services import PARTS
from dicom_pipeline.pipeline import Pipeline
from dicom_pipeline.service.child import Child, children_of
from dicom_pipeline.service.health import State
from dicom_pipeline.service.processes import WORKER_INCIDENTS, run_listener, run_sender, run_worker
from tests.peers.crashing import start_worker
from tests.peers.hanging import armed, kept, slowed, with_service
from tests.peers.place import INSTANCES, Place
from tests.peers.programs import free_port, wait_until

pytestmark = pytest.mark.system

SILENT_SECONDS = 6.0
"""Less than a person may set, and more than a busy machine needs between two heartbeat."""

STATES = "SELECT state FROM revision ORDER BY id"
ATTEMPTS = "SELECT attempts FROM revision ORDER BY id"


@pytest.fixture
def place(tmp_path, sample_data):
    made = Place(tmp_path, sample_data)
    settings = with_service(made.settings, silent_seconds=SILENT_SECONDS)
    made.settings = settings.model_copy(update={"store": settings.store.model_copy(update={"write": False})})
    return made


def add_study(place: Place, folder, sample_data, name: str, count: int = INSTANCES) -> str:
    """A copy of a sample study, received and ready; its Study Instance UID."""
    sources = sorted((sample_data / "studies" / "mr-brain-normal").glob("*.dcm"))[:count]
    study, series = (generate_uid(entropy_srcs=[name, what]) for what in ("study", "series"))
    paths = []
    for index, source in enumerate(sources):
        ds = pydicom.dcmread(source)
        ds.StudyInstanceUID, ds.SeriesInstanceUID = study, series
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[name, str(index)])
        paths.append(folder / f"{name}-{index}.dcm")
        ds.save_as(paths[-1])
    place.receive(paths)
    return study


def worker(target=None) -> Child:
    return Child("worker", target or armed("", run_worker), ("worker",), WORKER_INCIDENTS)


def wait_for(place: Place, states: list[str], seconds: float = 120) -> None:
    wait_until(lambda: [row[0] for row in place.query(STATES)] == states, seconds, f"revisions are not {states}")


def test_a_worker_that_stands_still_is_shown_then_killed_and_started_again(place, tmp_path, sample_data, caplog):
    with kept(worker(), place.settings) as child:
        wait_for(place, ["done"])
        first = child.process.pid
        os.kill(first, signal.SIGSTOP)
        state = wait_until(lambda: child.state.state is State.SILENT and child.state, 60, "its silence is not shown")
        assert "made no progress for" in state.sentence("worker")
        add_study(place, tmp_path, sample_data, "second")
        wait_for(place, ["done", "done"])
        assert child.process.pid != first
    assert "worker made no progress for 6 s (service.silent_seconds = 6): killing it" in caplog.text
    assert "worker ended with -9" in caplog.text


def test_a_study_that_hangs_every_time_fails_and_takes_no_other_along(place, tmp_path, sample_data, caplog):
    """One of its files is a pipe that nobody writes to: reading it never ends, as on a disk that does not answer."""
    settings = with_service(place.settings, max_attempts=2)
    bad = add_study(place, tmp_path, sample_data, "bad")
    add_study(place, tmp_path, sample_data, "last")
    ((path,),) = place.query(f"SELECT path FROM instance WHERE study_instance_uid = '{bad}' LIMIT 1")
    (place.folder / path).unlink()
    os.mkfifo(place.folder / path)
    with kept(worker(), settings):
        wait_for(place, ["done", "failed", "done"])
    reasons = "SELECT DISTINCT r.id, ri.reason FROM revision r JOIN revision_instance ri ON ri.revision_id = r.id ORDER BY r.id"
    assert [reason for _, reason in place.query(reasons)] == [None, "crashed-worker", None]
    assert place.query("SELECT count(*) FROM report") == [(2,)]
    assert caplog.text.count("killing it") == 2


def test_a_hang_between_encoding_and_results_costs_an_attempt(place, tmp_path, sample_data):
    """The second study that a process works on hangs: alone, in the next process, it is the first."""
    add_study(place, tmp_path, sample_data, "second")
    with kept(worker(armed("encoded:2:hang", run_worker)), place.settings):
        wait_for(place, ["done", "done"])
    assert place.query(ATTEMPTS) == [(1,), (2,)]


def test_a_long_study_that_gets_on_is_not_killed(place, tmp_path, sample_data, caplog):
    add_study(place, tmp_path, sample_data, "long", count=18)
    with kept(worker(slowed(0.8, run_worker)), place.settings):
        began = time.monotonic()
        wait_for(place, ["done", "done"])
        assert time.monotonic() - began > 2 * SILENT_SECONDS
    assert place.query(ATTEMPTS) == [(1,), (1,)]
    assert "killed" not in caplog.text


def test_a_worker_that_hangs_while_it_starts_is_killed_too(place, caplog):
    settings = with_service(place.settings, starting_seconds=1.0)
    with kept(worker(never_ready), settings) as child:
        wait_until(lambda: child.deaths > 0, 60, "it was not killed")
    assert "service.starting_seconds = 1): killing it" in caplog.text


def never_ready(settings, owner, heartbeat):
    del settings, owner, heartbeat
    time.sleep(600)


def test_a_listener_that_stands_still_is_killed_and_listens_again(place):
    port = free_port()
    listening = place.settings.listener.model_copy(update={"port": port})
    settings = place.settings.model_copy(update={"listener": listening})

    def takes() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return False
        return True

    with kept(Child("listener", run_listener, PARTS), settings) as child:
        wait_until(lambda: child.state.state is State.RUNNING and takes(), 60, "it does not listen")
        time.sleep(SILENT_SECONDS + 1)  # nobody connects: that is no silence
        first = child.process.pid
        assert (child.state.state, child.deaths) == (State.RUNNING, 0)
        os.kill(first, signal.SIGSTOP)
        wait_until(
            lambda: child.deaths and child.state.state is State.RUNNING and takes(), 60, "it does not listen again"
        )


def test_a_destination_that_hangs_is_named_and_the_others_go_on(place, tmp_path, caplog):
    worker_process = start_worker(place.config)
    worker_process.join(120)
    with Catalog(place.folder / "catalog.sqlite").transaction() as run:
        (report,) = place.query("SELECT sop_instance_uid FROM report")[0]
        run.execute("add_delivery", report_uid=report, destination="other", at=1.0)
    files = place.settings.peers[0]
    other = files.model_copy(update={"name": "other", "path": tmp_path / "other"})
    settings = place.settings.model_copy(update={"peers": (files, other)})
    (sender,) = (child for child in children_of(settings) if child.name == "sender")
    sender.target = armed("report-read:2:hang", run_sender)  # whoever comes second
    delivered = "SELECT destination FROM delivery WHERE state = 'delivered'"
    with kept(sender, settings):
        wait_until(lambda: len(place.query(delivered)) == 1, 60, "nothing is delivered")
        (first,) = place.query(delivered)[0]
        wait_until(lambda: len(place.query(delivered)) == 2, 60, "the second is not delivered")
    second = {"files": "other", "other": "files"}[first]
    assert f"sender ({second}) made no progress for 6 s" in caplog.text


def test_a_suspect_is_not_blamed_for_what_was_on_the_way_before_it(place, tmp_path, sample_data):
    """It is claimed when that has ended: the worker dies at the end of the first study, with the suspect next in line."""
    add_study(place, tmp_path, sample_data, "suspect")
    with Catalog(place.folder / "catalog.sqlite").transaction() as run:
        run.move("claim", RevisionState.PROCESSING, revision_id=2, owner="dead")
    dying = start_worker(place.config, "encoded:1")
    dying.join(120)
    assert dying.exitcode == -signal.SIGKILL
    assert place.query(ATTEMPTS) == [(1,), (1,)]


@pytest.mark.parametrize("selection", ["all", "diverse:2", "body:2"])
def test_every_frame_is_a_sign(place, sample_data, selection):
    heartbeat = []
    pipeline = Pipeline.from_config(place.settings, selection=selection, progress=lambda: heartbeat.append(1))
    pipeline.process_study(sorted((sample_data / "studies" / "mr-brain-normal").glob("*.dcm")))
    assert len(heartbeat) > len(list((sample_data / "studies" / "mr-brain-normal").glob("*.dcm")))


@pytest.mark.parametrize("text", ["encoded:1:stop", "encoded:hang", "encoded:0:hang", ":hang"])
def test_a_fault_that_cannot_be_is_refused(text):
    with pytest.raises(ConfigError, match="and perhaps :hang"):
        faults.arm(text)
    faults.arm("")
