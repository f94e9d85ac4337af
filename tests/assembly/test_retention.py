"""What may be cleaned from the spool, when it goes, and that no stop and no sender in between breaks the catalog's word."""

import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.filebase import DicomBytesIO
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_pipeline.assembly.completion import AtCap, CompletionRule, Decision, decide
from dicom_pipeline.assembly.retention import RetentionRule, choose, clean, to_clean
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.account import service_account
from dicom_pipeline.catalog.arrivals import close_association, open_association
from dicom_pipeline.catalog.commitment_requests import postpone_request, record_result
from dicom_pipeline.catalog.commitments import (
    CommitmentQuery,
    commitment_items,
    due_commitments,
    enter_commitment,
    stored_for_commitment,
)
from dicom_pipeline.catalog.outbox import Commitment, due_delivery, record_delivered, record_set_aside
from dicom_pipeline.catalog.retention import SpoolStudy, begin_removal, spool_account, spool_studies, trust_rebuilt
from dicom_pipeline.catalog.revisions import (
    MadeReport,
    WaitingStudy,
    ask_revision,
    claim_next,
    discard_study,
    fail,
    finish,
    hold_study,
    make_revision,
    waiting_studies,
)
from dicom_pipeline.catalog.studies import study_account
from dicom_pipeline.domain import Account, Outcome, Reason
from dicom_pipeline.errors import CatalogError, FilesCleanedError
from dicom_pipeline.intake.receipt import UploadResult
from dicom_pipeline.intake.receiver import Receiver
from dicom_pipeline.intake.spool import IncomingFile, Spool

SR = "1.2.840.10008.5.1.4.1.1.88.34"
AT_ONCE = RetentionRule(keep_seconds=0)
LATER = 1e12
REASONS = ("", "", "receiving", "not-delivered", "content-conflict")


class Kept:
    """A spool and a catalog; CT_small as instances "1.1", "1.2" ... of one study."""

    study = "1.2.3"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.catalog = Catalog(folder / "catalog.sqlite")
        self.receiver = Receiver(self.catalog, Spool(folder), 10**8, 0)

    def take(self, number: int, name: str = "A", syntax: UID = ExplicitVRLittleEndian) -> UploadResult:
        """Receive an instance; another name is other content, another uncompressed syntax is not."""
        image = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"1.{number}"
        image.StudyInstanceUID, image.PatientName = self.study, name
        image.file_meta.TransferSyntaxUID = syntax
        stream = DicomBytesIO()
        image.save_as(stream, enforce_file_format=True)
        return self.receiver.receive(stream.getvalue(), source="HTTP", address="127.0.0.1").result

    def process(self, *, reports: bool = True, destinations: tuple[str, ...] = ("pacs",), failed: bool = False) -> int:
        """Finish the study's revision; returns its number."""
        claimed = claim_next(self.catalog, "w")
        path = f"results/{claimed.revision.number}.dcm"
        (self.folder / "results").mkdir(exist_ok=True)
        (self.folder / path).write_bytes(b"report")
        made = [MadeReport(f"9.{claimed.revision.number}", SR, path, "h", destinations)] if reports else []
        outcome = (Outcome.USED, None, "") if reports else (Outcome.EXCLUDED, Reason.NOT_AN_IMAGE, "")
        outcome = (Outcome.FAILED, Reason.TRUNCATED, "") if failed else outcome
        account = Account(dict.fromkeys(claimed.revision.instances, outcome))
        finish(self.catalog, claimed, account, fingerprint="f", reports=made, at=1000.0)
        return claimed.revision.number

    def deliver(self, commitment: Commitment | None = None) -> None:
        due = due_delivery(self.catalog, "pacs", LATER)
        record_delivered(
            self.catalog, due, status="0x0000", message="", verified=True, at=2000.0, commitment=commitment
        )

    def delivered(self, count: int = 3) -> "Kept":
        """The study received, processed and delivered."""
        for number in range(count):
            self.take(number)
        make_revision(self.catalog, self.study, 500.0, "quiet")
        self.process()
        self.deliver()
        return self

    @property
    def why(self) -> str:
        (study,) = spool_studies(self.catalog)
        return study.kept_because

    def waiting(self) -> WaitingStudy:
        (study,) = waiting_studies(self.catalog)
        return study

    def files(self) -> int:
        return len(list((self.folder / "instances").rglob("*.dcm")))

    def lies(self) -> list[str]:
        """Instances that the catalog believes to be there and that are not, in a moment in which nothing is written."""
        with self.catalog.transaction() as run:
            rows = run.connection.execute("SELECT path FROM instance WHERE removed_at IS NULL").fetchall()
            return [row["path"] for row in rows if not (self.folder / row["path"]).exists()]


@pytest.fixture
def kept(tmp_path):
    made = Kept(tmp_path)
    yield made
    made.catalog.close()


study = st.builds(
    SpoolStudy,
    st.uuids().map(str),
    st.just(1),
    st.integers(0, 50),
    st.integers(0, 100).map(float),
    st.none(),
    st.sampled_from(REASONS),
)
limits = st.one_of(st.none(), st.integers(0, 200))


@given(st.lists(study, max_size=12), limits, limits)
def test_what_is_chosen_is_just_what_the_rule_says(studies, seconds, size):
    chosen = choose(studies, RetentionRule(seconds, size), 100.0)
    assert not [s for s in chosen if s.kept_because]
    left = [s for s in studies if s not in chosen and not s.kept_because]
    old = [s for s in studies if seconds is not None and 100.0 - s.settled_at >= seconds]
    assert not [s for s in left if s in old]
    held = sum(s.bytes for s in studies if s not in chosen)
    assert size is None or held <= size or not left
    for one in chosen:  # nothing goes too early: without it, and with all older ones gone, the spool was too full
        younger = [
            s for s in chosen if (s.settled_at, s.study_instance_uid) >= (one.settled_at, one.study_instance_uid)
        ]
        assert one in old or (size is not None and held + sum(s.bytes for s in younger) > size)
    assert [s.settled_at for s in chosen] == sorted(s.settled_at for s in chosen)


def test_what_keeps_a_study_until_all_is_delivered(kept):
    seen = []

    def step(what=None):
        if what is not None:
            what()
        seen.append(kept.why)

    step(lambda: kept.take(1))
    step(lambda: make_revision(kept.catalog, kept.study, 500.0, "quiet"))
    step(kept.process)
    step(lambda: kept.deliver(Commitment("2.25.1", SR, "9.1")))
    step(lambda: record_result(kept.catalog, "2.25.1", {"9.1": None}, 3000.0))
    step(lambda: open_association(kept.catalog, "t", "run", 1.0))
    assert seen == ["receiving", "processing", "not-delivered", "not-committed", "", ""]

    kept.take(2)  # a late instance, and the delivery of its revision is set aside
    assert kept.why == "receiving"
    hold_study(kept.catalog, kept.study)
    assert kept.why == "held"
    ask_revision(kept.catalog, kept.study, 600.0)
    kept.process()
    record_set_aside(kept.catalog, due_delivery(kept.catalog, "pacs", LATER), status="", message="", at=700.0)
    assert kept.why == "not-delivered"
    assert clean(kept.catalog, AT_ONCE, LATER).instances == 0
    assert kept.files() == 2
    close_association(kept.catalog, "t")


@pytest.mark.parametrize(
    ("ending", "why"),
    [
        (lambda k: k.process(reports=False), ""),
        (lambda k: k.process(reports=False, failed=True), "failed"),
        (lambda k: fail(k.catalog, claim_next(k.catalog, "w"), Reason.REPORT_FAILED, "x", 1.0), "failed"),
        (lambda k: k.process(destinations=()), ""),
    ],
)
def test_a_study_that_nobody_gets(kept, ending, why):
    kept.take(1)
    make_revision(kept.catalog, kept.study, 500.0, "quiet")
    ending(kept)
    assert kept.why == why
    assert clean(kept.catalog, AT_ONCE, LATER).instances == (not why)


def test_the_audit_trail_is_told_before_files_go(kept):
    kept.take(1)
    kept.take(2)
    make_revision(kept.catalog, kept.study, 500.0, "quiet")
    kept.process(destinations=())
    told = []
    clean(kept.catalog, AT_ONCE, LATER, record=lambda fact: told.append((fact, kept.files())))
    ((fact, files),) = told
    assert (fact.study_instance_uid, fact.instances, files, kept.files()) == (kept.study, 2, 2, 0)
    assert fact.words == "0 s after delivery"


def test_a_discarded_study_has_reasons_and_its_files_go_by_the_rule(kept):
    kept.take(1)
    kept.take(2)
    discard_study(kept.catalog, kept.study, 500.0, "discard", "ct")
    (revision,) = service_account(kept.catalog)["revisions"]
    assert (revision["state"], revision["received"], revision["excluded"]) == ("discarded", 2, 2)
    assert revision["reasons"] == {"discarded": 2}
    assert claim_next(kept.catalog, "w") is None
    assert clean(kept.catalog, AT_ONCE, LATER).instances == 2
    assert study_account(kept.catalog, kept.study)["state"] == "discarded"


def test_without_destinations_results_must_be_there(kept):
    kept.take(1)
    make_revision(kept.catalog, kept.study, 500.0, "quiet")
    kept.process(destinations=())
    (kept.folder / "results" / "1.dcm").unlink()
    assert to_clean(kept.catalog, AT_ONCE, LATER) == []


def test_a_conflict_is_kept_for_a_person(kept):
    kept.take(1)
    assert kept.take(1, "B") is UploadResult.CONFLICT
    make_revision(kept.catalog, kept.study, 500.0, "quiet")
    kept.process()
    kept.deliver()
    assert kept.why == "content-conflict"
    assert clean(kept.catalog, AT_ONCE, LATER).instances == 0
    assert clean(kept.catalog, AT_ONCE, LATER, {"content-conflict"}).instances == 2
    assert kept.files() == 0


def test_what_comes_again_in_another_syntax_keeps_nothing_from_being_cleaned(kept):
    kept.delivered(1)
    assert kept.take(0, syntax=ImplicitVRLittleEndian) is UploadResult.DUPLICATE
    assert kept.why == ""
    assert clean(kept.catalog, AT_ONCE, LATER).instances == 1
    assert kept.files() == 0
    assert kept.take(0, syntax=ImplicitVRLittleEndian) is UploadResult.CONFLICT, "no file is left to compare with"


def test_cleaning_takes_the_files_and_the_account_says_so(kept):
    kept.delivered(3)
    size = sum(path.stat().st_size for path in (kept.folder / "instances").rglob("*.dcm"))
    assert spool_account(kept.catalog)["may_go"] == {"studies": 1, "instances": 3, "bytes": size}
    (study,) = to_clean(kept.catalog, AT_ONCE, LATER)
    assert to_clean(kept.catalog, RetentionRule(keep_seconds=10.0), study.settled_at + 9) == []
    assert clean(kept.catalog, RetentionRule(keep_seconds=10.0), study.settled_at + 10).bytes == size
    assert kept.files() == 0
    account = spool_account(kept.catalog)
    assert account["removed"] == {"instances": 3, "bytes": size}
    assert account["held"] == {"studies": 0, "instances": 0, "bytes": 0}
    assert service_account(kept.catalog)["totals"]["instances"] == 3
    assert study_account(kept.catalog, kept.study)["cleaned"] == 3
    assert stored_for_commitment(kept.catalog, "1.0") is None


DYING = """
import os, sys
from pathlib import Path
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.assembly import retention

point, calls = sys.argv[2], []

def unlink(path):
    if point in ("marked", f"unlink-{len(calls)}"):
        os._exit(9)
    calls.append(path)
    path.unlink()
    return True

retention._unlink = unlink
if point == "synced":
    retention.sync_folder = lambda _: os._exit(9)
retention.clean(Catalog(Path(sys.argv[1]) / "catalog.sqlite"), retention.RetentionRule(0), 1e12)
"""
"""Cleans, and dies at a point as by SIGKILL: nothing that comes after it runs."""


@pytest.mark.parametrize("point", ["marked", "unlink-2", "synced"])
def test_a_kill_while_cleaning_leaves_no_lie_and_the_next_run_ends_it(kept, point):
    kept.delivered(4)
    kept.catalog.close()
    killed = subprocess.run([sys.executable, "-c", DYING, kept.folder, point], check=False)
    assert killed.returncode == 9
    assert kept.files() == {"marked": 4, "unlink-2": 2, "synced": 0}[point]
    assert kept.lies() == []
    assert spool_account(kept.catalog)["removed"]["instances"] == 4
    assert kept.take(0) is UploadResult.DUPLICATE  # in between one comes again
    clean(kept.catalog, RetentionRule(), LATER)
    assert kept.files() == 1
    assert kept.lies() == []
    with kept.catalog.transaction() as run:
        assert run.rows("removals", after=0, most=9) == []


def test_a_file_that_cannot_go_stays_due(kept, monkeypatch):
    kept.delivered(2)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(PermissionError(13, "no")))
        clean(kept.catalog, AT_ONCE, LATER)
    assert kept.files() == 2
    clean(kept.catalog, RetentionRule(), LATER)
    assert kept.files() == 0


def test_an_instance_that_comes_again_has_its_file_again(kept):
    kept.delivered(2)
    clean(kept.catalog, AT_ONCE, LATER)
    assert kept.take(0) is UploadResult.DUPLICATE
    assert kept.files() == 1
    assert kept.lies() == []
    (study,) = spool_studies(kept.catalog)
    assert (study.instances, study.kept_because) == (1, "")
    assert clean(kept.catalog, RetentionRule(keep_seconds=60.0), study.settled_at + 59).instances == 0


def test_an_instance_that_comes_again_before_its_file_went_keeps_it(kept):
    kept.delivered(2)
    assert begin_removal(kept.catalog, kept.study, 1.0) == 2
    assert kept.take(0) is UploadResult.DUPLICATE
    clean(kept.catalog, RetentionRule(), LATER)
    assert kept.files() == 1
    assert kept.lies() == []


def test_an_instance_whose_file_goes_while_it_comes_is_refused(kept, monkeypatch):
    kept.delivered(1)
    sync = IncomingFile.sync

    def cleaned_meanwhile(file, stored):
        sync(file, stored)
        clean(kept.catalog, AT_ONCE, LATER)

    with monkeypatch.context() as patch:
        patch.setattr(IncomingFile, "sync", cleaned_meanwhile)
        with pytest.raises(CatalogError, match="sent once more"):
            kept.take(0)
    assert kept.lies() == []
    assert kept.take(0) is UploadResult.DUPLICATE
    assert kept.files() == 1


def test_senders_and_the_cleaner_at_once(kept):
    kept.delivered(3)
    stop, seen = threading.Event(), []

    def again():
        while not stop.is_set():
            for number in range(3):
                try:
                    kept.take(number)
                except (CatalogError, FileNotFoundError):
                    seen.append("refused")
        kept.catalog.close()

    def sweep():
        while not stop.is_set():
            clean(kept.catalog, AT_ONCE, LATER)
        kept.catalog.close()

    threads = [threading.Thread(target=work) for work in (again, again, sweep)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(60):
            assert kept.lies() == []
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert kept.lies() == []
    assert [kept.take(number) for number in range(3)] == [UploadResult.DUPLICATE] * 3
    assert kept.files() == 3


def test_a_late_instance_of_a_cleaned_study_makes_no_half_result(kept):
    kept.delivered(3)
    clean(kept.catalog, AT_ONCE, LATER)
    with pytest.raises(FilesCleanedError, match="3 of the study's 3"):
        ask_revision(kept.catalog, kept.study, 1.0, partial=True)
    assert kept.take(7) is UploadResult.NEW
    rule = CompletionRule(20, 600)
    assert decide(waiting_studies(kept.catalog)[0], rule, LATER) is Decision.WAIT
    (waits,) = service_account(kept.catalog)["held"]
    assert "3 of its instances were cleaned" in waits["why"]
    with pytest.raises(FilesCleanedError):
        ask_revision(kept.catalog, kept.study, 1.0)

    for number in range(3):
        assert decide(waiting_studies(kept.catalog)[0], rule, LATER) is Decision.WAIT
        assert kept.take(number) is UploadResult.DUPLICATE
    assert decide(waiting_studies(kept.catalog)[0], rule, LATER) is Decision.QUIET
    assert service_account(kept.catalog)["held"] == []
    make_revision(kept.catalog, kept.study, 700.0, "quiet")
    claimed = claim_next(kept.catalog, "w")
    assert all((kept.folder / i.path).exists() and not i.removed for i in claimed.instances)
    assert len(claimed.instances) == 4


def test_a_person_may_let_a_cleaned_study_go_on_without(kept):
    kept.delivered(2)
    clean(kept.catalog, AT_ONCE, LATER)
    kept.take(7)
    assert ask_revision(kept.catalog, kept.study, 700.0, partial=True) == 2
    assert [i.removed for i in claim_next(kept.catalog, "w").instances] == [True, True, False]


def test_what_was_committed_is_never_cleaned(kept):
    kept.delivered(2)
    asked = CommitmentQuery("2.25.5", {"1.0": "1.2.840.10008.5.1.4.1.1.2"})

    def commit(answer):
        with kept.catalog.transaction() as run:
            return enter_commitment(asked, {"1.0": answer}, "AE", "", 1.0, 1.0)(run)

    commit(0x0110)
    assert kept.why == ""
    commit(None)
    assert kept.why == "committed"
    assert clean(kept.catalog, RetentionRule(0, 0), LATER).instances == 0


def test_a_question_that_is_asked_again_takes_back_no_promise(kept):
    """A sender may have deleted its copy on the first answer, whatever it asks under the same Transaction UID later."""
    kept.delivered(2)

    def ask(answers, transaction="2.25.5"):
        asked = CommitmentQuery(transaction, dict.fromkeys(answers, "1.2.840.10008.5.1.4.1.1.2"))
        with kept.catalog.transaction() as run:
            return enter_commitment(asked, answers, "AE", "", 1.0, 1.0)(run)

    ask({"1.0": None})
    for answers in ({"9.9": 0x0112}, {"1.0": 0x0110}, {"9.9": 0x0112}):
        last = ask(answers)
        assert kept.why == "committed"
        assert commitment_items(kept.catalog, last).keys() == answers.keys()
    assert [pending.id for pending in due_commitments(kept.catalog, 1.0)] == [last]
    last = ask({"1.0": None})
    assert [pending.id for pending in due_commitments(kept.catalog, 1.0)] == [last]
    with kept.catalog.transaction() as run:
        (count,) = run.connection.execute("SELECT count(*) FROM commitment").fetchone()
    assert count == 1


def test_what_is_cleaned_while_commitment_is_asked_is_not_committed(kept):
    kept.delivered(1)
    clean(kept.catalog, AT_ONCE, LATER)
    asked = CommitmentQuery("2.25.5", {"1.0": "1.2.840.10008.5.1.4.1.1.2"})
    with kept.catalog.transaction() as run:
        identifier = enter_commitment(asked, {"1.0": None}, "AE", "", 1.0, 1.0)(run)
    assert commitment_items(kept.catalog, identifier)["1.0"][1] == 0x0112


def test_files_of_a_rebuilt_catalog_wait_for_a_persons_word(kept):
    kept.delivered(1)
    with kept.catalog.transaction() as run:
        run.connection.execute("UPDATE instance SET rebuilt = 1")
    assert kept.why == "rebuilt"
    assert trust_rebuilt(kept.catalog) == 1
    assert kept.why == ""


@pytest.mark.parametrize("at_cap", AtCap)
def test_the_cap_counts_from_when_the_last_cleaned_file_came_again(kept, at_cap):
    """A study that waited for cleaned files, beyond its cap, is not cut off, held or discarded while they come."""
    kept.delivered(2)
    clean(kept.catalog, AT_ONCE, LATER)
    kept.take(7)
    begun = kept.waiting().first_at
    for number in range(2):
        kept.take(number)
    study = replace(kept.waiting(), open_association=True)
    rule = CompletionRule(quiet_seconds=5, hard_cap_seconds=60, at_hard_cap=at_cap)
    assert study.removed == 0
    assert study.first_at > begun
    assert decide(study, rule, study.first_at + 59) is Decision.WAIT
    assert decide(replace(study, open_association=False), rule, study.first_at + 59) is Decision.QUIET


def test_what_comes_again_after_a_partial_release_makes_a_whole_revision(kept):
    kept.delivered(2)
    clean(kept.catalog, AT_ONCE, LATER)
    kept.take(7)
    assert ask_revision(kept.catalog, kept.study, 3000.0, partial=True) == 2
    claimed = claim_next(kept.catalog, "w")
    outcomes = {
        i.sop_instance_uid: (Outcome.FAILED, Reason.CLEANED, "") if i.removed else (Outcome.USED, None, "")
        for i in claimed.instances
    }
    finish(kept.catalog, claimed, Account(outcomes), fingerprint="f", reports=[], at=3001.0)
    kept.take(0)
    assert kept.waiting().removed == 1  # the other one is waited for
    kept.take(1)
    study = kept.waiting()
    assert decide(study, CompletionRule(quiet_seconds=5, hard_cap_seconds=60), study.last_at + 6) is Decision.QUIET


def test_killed_while_it_is_told_what_is_cleaned_nothing_goes_untold(kept):
    kept.delivered(2)
    told = []

    def killed(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        clean(kept.catalog, AT_ONCE, LATER, record=killed)
    clean(kept.catalog, RetentionRule(), LATER, record=told.append)
    assert kept.files() == 2, "gone, and the trail knows nothing of it"
    clean(kept.catalog, AT_ONCE, LATER, record=told.append)
    assert (kept.files(), [fact.instances for fact in told]) == (0, [2])


def test_a_report_whose_commitment_fails_after_its_study_was_cleaned_is_sent_again(kept):
    """Given up asking, cleaned, and then the answer is no: the report is in the results, which are never cleaned."""
    kept.take(0)
    make_revision(kept.catalog, kept.study, 500.0, "quiet")
    kept.process()
    kept.deliver(Commitment("2.25.7", SR, "9.1"))
    postpone_request(kept.catalog, "2.25.7", next_at=0.0, message="no answer came", given_up=True)
    assert clean(kept.catalog, AT_ONCE, LATER).instances == 1
    assert record_result(kept.catalog, "2.25.7", {"9.1": 0x0112}, 3000.0)
    due = due_delivery(kept.catalog, "pacs", LATER)
    assert (kept.folder / due.path).read_bytes() == b"report"
    kept.take(0)
    assert kept.why == "not-delivered"
    assert clean(kept.catalog, AT_ONCE, LATER).instances == 0
    kept.deliver(Commitment("2.25.8", SR, "9.1"))
    assert kept.why == "not-committed"
    assert record_result(kept.catalog, "2.25.8", {"9.1": None}, 3001.0)
    assert clean(kept.catalog, AT_ONCE, LATER).instances == 1
