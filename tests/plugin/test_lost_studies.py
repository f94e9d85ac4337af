"""No study is lost: restarts, failing saves, a thread that ends, requests and changes in the middle of a step."""

import sqlite3
import time
from contextlib import closing

import pytest

from tests.peers.orthanc_module import DATABASE, OrthancModule, loaded
from tests.peers.programs import wait_until
from tests.plugin.pipeline import Pipeline

S = "study-1"
UID = f"uid-of-{S}"
DAY = 86400.0


@pytest.fixture
def pipeline():
    pipeline = Pipeline()
    yield pipeline
    pipeline.close()


@pytest.fixture
def orthanc(tmp_path, pipeline):
    return OrthancModule(tmp_path, Pipeline=pipeline.url)


@pytest.fixture
def plug_in(orthanc):
    with loaded(orthanc) as plug_in:
        yield plug_in


@pytest.fixture
def background(plug_in):
    """The plug-in's thread, not running: a test takes its steps one by one."""
    background = plug_in.BackgroundThread(plug_in.read_configuration())
    background._read_changes()  # the first start takes nothing from before
    return background


@pytest.fixture
def dicom(orthanc, plug_in):
    """The same, sending by C-STORE."""
    orthanc.options |= {"Send": "DICOM", "Modality": "medsiglip"}
    background = plug_in.BackgroundThread(plug_in.read_configuration())
    background._read_changes()
    return background


def refuse(background, statement):
    """Let a statement on the queue fail, as on a full disk; returns what ends it."""
    with closing(sqlite3.connect(background.queue.path)) as db:
        db.executescript(f"CREATE TRIGGER full BEFORE {statement} BEGIN SELECT RAISE(ABORT, 'disk full'); END;")

    def end():
        with closing(sqlite3.connect(background.queue.path)) as db:
            db.executescript("DROP TRIGGER full;")

    return end


def work_now(background, study=S):
    """The next step with a study, without waiting until it is due."""
    with closing(sqlite3.connect(background.queue.path)) as db:
        db.execute("UPDATE job SET due = 1 WHERE study = ? AND due IS NOT NULL", (study,))
        db.commit()
    background._work()


def is_due(background, study=S):
    row = background.queue.get(study)
    return row is not None and row.due is not None


# --- restarts ---


def test_a_stop_in_the_middle_of_sending(orthanc, plug_in, background, pipeline):
    orthanc.add(S, "1.1", "1.2", "1.3")
    pipeline.before["/instances"] = background._stop.set
    background._read_changes()
    background._work()
    assert pipeline.stored == ["1.1"]
    again = plug_in.BackgroundThread(plug_in.read_configuration())
    again._read_changes()
    again._work()
    assert pipeline.stored == ["1.1", "1.2", "1.3"]
    assert again.queue.get(S).state == "sent"


def test_a_deletion_while_the_plug_in_was_away(orthanc, background, pipeline):
    """The study comes again with the same instances, and its report is gone: it is not taken for reported."""
    orthanc.add(S, "1.1")
    background._read_changes()
    work_now(background)
    orthanc.reports[S] = "1.9"
    pipeline.state = {"state": "done", "revisions": [{"report": "1.9", "deliveries": [{"state": "delivered"}]}]}
    work_now(background)
    assert background.queue.get(S).state == "reported"
    del orthanc.reports[S]
    orthanc.change("StableStudy", S)
    background._read_changes()
    for _ in range(3):
        work_now(background)
    row = background.queue.get(S)
    assert (row.state, row.due) == ("reporting", None)
    assert "Process now makes another" in row.message


def test_a_clock_that_was_wrong(background):
    background.queue.enter_one(S, time.time() + 400 * DAY)
    assert background.queue.next_due().study == S
    background.queue.enter_one("another", time.time() + 200)
    background.queue.update(S, None)
    background.queue.begin(S)
    background.queue.update(S, None)
    assert background.queue.next_due() is None


# --- stable again, and requests, in the middle of a step ---


def test_stable_again_while_it_is_sent(orthanc, background, pipeline):
    orthanc.add(S, "1.1", "1.2")
    background._read_changes()
    pipeline.before["/instances"] = lambda: orthanc.add(S, "1.3")
    background._work()
    background._read_changes()
    work_now(background)
    assert sorted(pipeline.stored) == ["1.1", "1.2", "1.3"]
    assert pipeline.expected == [2, 3]
    assert background.queue.get(S).state == "sent"


def test_a_request_while_it_is_sent(orthanc, background, pipeline):
    orthanc.add(S, "1.1")
    background._read_changes()
    pipeline.before["/instances"] = lambda: background.queue.request(S)
    background._work()
    background._work()
    assert pipeline.asked[f"POST /studies/{UID}/process"] == 1


def test_a_request_between_finding_the_study_and_examining_it(orthanc, background, pipeline, monkeypatch):
    orthanc.add(S, "1.1")
    background._read_changes()
    work_now(background)
    orthanc.change("StableStudy", S)
    background._read_changes()
    next_due = background.queue.next_due

    def then_requested(max_wait):
        monkeypatch.setattr(background.queue, "next_due", lambda _: None)
        row = next_due(max_wait)
        background.queue.request(S)
        return row

    monkeypatch.setattr(background.queue, "next_due", then_requested)
    background._work()
    assert pipeline.asked[f"POST /studies/{UID}/process"] == 1


def test_a_request_while_a_step_fails_does_not_wait(orthanc, background, pipeline):
    orthanc.add(S, "1.1")
    background.queue.enter_one(S, 1.0)
    pipeline.before[f"/studies/{UID}/instances"] = lambda: (
        background.queue.request(S),
        setattr(pipeline, "status", 500),
    )
    row = background.queue.begin(S)
    background._attempt(background._sender.examine, row._replace(attempts=8))
    row = background.queue.get(S)
    assert row.wanted == 1
    assert row.force == 1
    assert row.due <= time.time()


def test_a_study_that_is_followed_is_not_examined_before_it_is_stable(orthanc, background):
    """At a restart a changed study is examined when it would have become stable, though it is followed before."""
    orthanc.add(S, "1.1")
    background._read_changes()
    work_now(background)
    background.queue.enter_one(S, time.time() + 60)
    assert background.queue.get(S).due > time.time() + 50


def test_no_series_that_matches_any_more_while_it_is_followed(orthanc, background, plug_in, pipeline):
    orthanc.add(S, "1.1")
    background._read_changes()
    work_now(background)
    background._sender._configuration = background.configuration._replace(
        rules=[plug_in.check_rule({"Modality": "MR"}, set())]
    )
    orthanc.change("StableStudy", S)
    background._read_changes()
    work_now(background)
    assert is_due(background)
    work_now(background)
    assert background.queue.get(S).state == "processing"


# --- removal ---


def test_a_request_during_removal(orthanc, background, pipeline):
    """Deleted in Orthanc, and sent to it again: the person who asks for it meanwhile is not forgotten."""
    orthanc.add(S, "1.1")
    background._read_changes()
    work_now(background)
    files = orthanc.studies.pop(S)

    def back():
        orthanc.studies[S] = files
        background.queue.request(S)

    pipeline.before[f"/studies/{UID}/expected"] = back  # what was announced is being taken back
    work_now(background)
    assert background.queue.get(S).state == "sent"  # in the same turn, as a person waits for it
    assert pipeline.asked[f"POST /studies/{UID}/process"] == 1


def test_a_deletion_that_is_told_after_the_study_came_back(orthanc, background, pipeline):
    orthanc.add(S, "1.1")
    background._read_changes()
    work_now(background)
    expected = list(pipeline.expected)
    background.study_deleted(S)
    background._release_deleted()
    row = background.queue.get(S)
    assert (row.wanted, row.digest) == (1, "")
    assert row.due > time.time() + 1  # when it will have become stable
    assert pipeline.expected == expected


def test_only_a_request_outlives_a_removal(background):
    background.queue.enter_one(S, 1.0)
    background.queue.begin(S)
    background.queue.update(S, None, state="reported", digest="of the former instances", uid=UID)
    background.queue.request(S)
    background.queue.remove(S)
    row = background.queue.get(S)
    assert (row.wanted, row.force, row.state, row.digest, row.uid) == (1, 1, "queued", "", "")
    background.queue.begin(S)
    background.queue.remove(S)
    assert background.queue.get(S) is None


def test_a_deletion_that_cannot_be_read_from_the_queue_stays(background):
    background.queue.enter_one(S, 1.0)
    background.queue.begin(S)
    background.queue.update(S, None, state="reported")
    background.study_deleted(S)
    with closing(sqlite3.connect(background.queue.path)) as db:
        db.execute("ALTER TABLE job RENAME TO away")
        with pytest.raises(sqlite3.Error):
            background._release_deleted()
        db.execute("ALTER TABLE away RENAME TO job")
    background._release_deleted()
    assert background.queue.get(S) is None


# --- the queue cannot be written ---


@pytest.mark.parametrize("step", ["examine", "follow"])
def test_a_step_whose_result_cannot_be_saved_is_taken_again(orthanc, background, pipeline, step):
    orthanc.add(S, "1.1")
    background._read_changes()
    if step == "follow":
        work_now(background)
    end = refuse(background, "UPDATE ON job WHEN new.wanted <> 2")
    with pytest.raises(sqlite3.Error):
        work_now_failing(background)
    assert is_due(background)
    end()
    for _ in range(2):
        work_now(background)
    assert background.queue.get(S).state == "processing"
    assert pipeline.stored == ["1.1"]


def work_now_failing(background):
    row = background.queue.get(S)
    step = background._sender.examine if row.wanted else background._follower.follow
    background._attempt(step, background.queue.begin(S) if row.wanted else row)


def test_a_c_store_job_whose_failure_cannot_be_saved_is_looked_at_again(orthanc, dicom):
    """The retry is one statement: a crash or a full disk leaves the job to be followed, or the study to be examined."""
    orthanc.add(S, "1.1")
    dicom._read_changes()
    work_now(dicom)
    assert dicom.queue.get(S).transfer == "job-1"
    orthanc.resources["/jobs/job-1"] = {"State": "Failure", "Content": {}, "ErrorDescription": "no peer"}
    end = refuse(dicom, "UPDATE ON job WHEN new.wanted = 1")
    with pytest.raises(sqlite3.Error):
        dicom._attempt(dicom._sender.follow_transfer, dicom.queue.get(S))
    assert is_due(dicom)
    assert dicom.queue.get(S).transfer == "job-1"
    end()
    work_now(dicom)
    row = dicom.queue.get(S)
    assert (row.wanted, row.transfer, row.transfers, row.digest) == (1, "", 1, "")
    work_now(dicom)
    assert len(orthanc.posted) == 2


def test_a_deleted_study_is_not_released_while_orthanc_still_sends_it(orthanc, dicom, pipeline):
    """What arrives after the announcement was taken back would leave the study waiting for what never comes."""
    orthanc.add(S, "1.1", "1.2", "1.3")
    dicom._read_changes()
    work_now(dicom)
    orthanc.resources["/jobs/job-1"] = {"State": "Running"}
    del orthanc.studies[S]
    pipeline.stored, pipeline.expected = ["1.1", "1.2"], []
    dicom.study_deleted(S)
    dicom._release_deleted()
    assert (pipeline.expected, is_due(dicom)) == ([], True)
    orthanc.resources["/jobs/job-1"] = {"State": "Success", "Content": {}}
    work_now(dicom)
    assert pipeline.expected == [2]
    assert dicom.queue.get(S) is None


# --- Orthanc cannot be read ---


def test_storage_that_goes_away_in_the_middle_of_sending(orthanc, background, pipeline):
    orthanc.add(S, "1.1", "1.2", "1.3")
    files = dict(orthanc.studies[S])
    background._read_changes()
    pipeline.before["/instances"] = lambda: orthanc.studies[S].update(dict.fromkeys(files))
    background._work()
    row = background.queue.get(S)
    assert row.wanted == 1
    assert "is its storage there?" in row.message
    orthanc.studies[S].update(files)
    work_now(background)
    assert sorted(pipeline.stored) == ["1.1", "1.2", "1.3"]


def test_one_file_that_cannot_be_read_is_not_waited_for(orthanc, background, pipeline):
    orthanc.add(S, "1.1", "1.2", "1.3")
    orthanc.studies[S]["1.2"] = None
    background._read_changes()
    background._work()
    row = background.queue.get(S)
    assert (row.state, row.expected, pipeline.expected) == ("sent", 2, [3, 2])
    assert "1 x deleted in Orthanc or not readable there" in row.message


def test_the_queue_is_worked_on_while_changes_cannot_be_read(orthanc, background, plug_in, pipeline, monkeypatch):
    orthanc.add(S, "1.1")
    background._read_changes()
    orthanc.resources["/changes?last"] = orthanc.error(DATABASE, "Error with the database engine")
    monkeypatch.setattr(plug_in, "PAUSE_SECONDS", 0.01)
    background.start()
    try:
        wait_until(lambda: pipeline.stored == ["1.1"], 10, "the study was not sent")
    finally:
        background.stop()
    assert any("OrthancException" in text for text in orthanc.errors)


def test_a_change_that_can_never_be_read_is_passed_over(orthanc, plug_in, background, pipeline):
    background._changes._boundary = 100  # changes from before this start
    orthanc.change("NewInstance", "unreadable")
    orthanc.resources["/instances/unreadable/study"] = orthanc.error(DATABASE, "Error with the database engine")
    orthanc.add(S, "1.1")
    for _ in range(plug_in.MAX_CHANGE_ATTEMPTS - 1):
        with pytest.raises(orthanc.OrthancException):
            background._read_changes()
    assert background.queue.get(S) is None
    background._read_changes()
    assert background.queue.get(S) is not None
    assert background.queue.cursor() == 2
    assert "change 1 (NewInstance unreadab) cannot be read after 10 attempts" in orthanc.errors[-1]


# --- the thread ---


def test_what_ends_a_thread_is_logged_and_the_thread_goes_on(orthanc, plug_in, background, pipeline, monkeypatch):
    monkeypatch.setattr(plug_in, "PAUSE_SECONDS", 0.01)

    def leave():
        raise SystemExit("PATIENT^NAME")

    orthanc.before["/changes?last"] = leave
    background.start()
    try:
        wait_until(lambda: orthanc.errors, 10, "nothing was logged")
        orthanc.add(S, "1.1")
        background.wake()
        wait_until(lambda: pipeline.stored == ["1.1"], 10, "the study was not sent")
    finally:
        background.stop()
    assert "unexpected SystemExit in leave" in orthanc.errors[0]
    assert "PATIENT" not in "".join(orthanc.errors)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_has_ended_is_started_again(orthanc, background, pipeline, monkeypatch):
    """Not even the log can be written: the next thing that Orthanc tells starts the thread again."""

    def leave(*_):
        raise MemoryError

    with monkeypatch.context() as broken:
        broken.setattr(orthanc, "LogError", leave)
        orthanc.before["/changes?last"] = leave
        background.start()
        background._thread.join(10)
        assert not background._thread.is_alive()
    orthanc.add(S, "1.1")
    background.wake()
    try:
        wait_until(lambda: pipeline.stored == ["1.1"], 10, "the study was not sent")
    finally:
        background.stop()
    assert orthanc.errors == ["MedSigLIP: the background thread has ended; starting it again"]


def test_a_stop_before_the_start_is_no_error(background):
    background.stop()
    background.wake()
    assert background._thread is None


def test_the_end_of_following_is_told(orthanc, background, plug_in):
    orthanc.add(S, "1.1")
    background._read_changes()
    work_now(background)
    background.queue.update(S, 1.0, sent_at=time.time() - 8 * DAY)
    work_now(background)
    row = background.queue.get(S)
    assert (row.due, row.message) == (None, "no report after 7 days; Process now follows it again")
    assert row.message in orthanc.warnings[-1]


def test_a_queue_that_cannot_be_opened_is_told(orthanc, tmp_path):
    """By its name in the log and by every route; the cursor is untouched, so the next start goes on from it."""
    (tmp_path / "file").touch()
    orthanc.options["QueueFile"] = str(tmp_path / "file" / "queue.sqlite")
    with loaded(orthanc):
        assert '"QueueFile": ' in orthanc.errors[0]
        assert "cannot be opened" in orthanc.errors[0]
        assert list(orthanc.registered) == ["/medsiglip/.*"]
