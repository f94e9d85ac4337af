"""The catalog: what arrives, revisions and their states, the outbox, and the account."""

import sqlite3
import threading
import time

import pytest

from dicom_pipeline.catalog import Catalog, database
from dicom_pipeline.catalog.account import service_account
from dicom_pipeline.catalog.arrivals import (
    Arrival,
    Received,
    announce,
    close_association,
    open_association,
)
from dicom_pipeline.catalog.commitment_requests import (
    MAX_FAILURES,
    REPEAT_SECONDS,
    due_request,
    postpone_request,
    record_result,
)
from dicom_pipeline.catalog.outbox import (
    Commitment,
    due_delivery,
    record_delivered,
    record_retry,
    record_set_aside,
    retry_set_aside,
)
from dicom_pipeline.catalog.revisions import (
    MadeReport,
    claim_next,
    finish,
    make_revision,
    release_stale,
    waiting_studies,
)
from dicom_pipeline.catalog.studies import (
    FoundStudy,
    acknowledge_failures,
    find_studies,
    open_failures,
    record_accession_number,
)
from dicom_pipeline.delivery.retry import MAX_WAIT_SECONDS
from dicom_pipeline.domain import Account, Outcome, Reason
from dicom_pipeline.errors import CatalogError
from tests.peers.entries import finish_next, ready_study, record_instance


def received(sop="1.1", content="aa", study="1", at=100.0, token="t") -> Received:
    return Received(
        sop, content, study, "1.9", "1.2.3", "1.2.4", f"instances/{sop}-{content}", 10, "AE", "127.0.0.1", token, at
    )


def test_new_duplicate_and_conflict(catalog):
    assert record_instance(catalog, received()) is Arrival.NEW
    assert record_instance(catalog, received()) is Arrival.DUPLICATE
    assert record_instance(catalog, received(content="bb")) is Arrival.CONFLICT
    assert record_instance(catalog, received(content="bb")) is Arrival.DUPLICATE
    totals = service_account(catalog)["totals"]
    assert (totals["instances"], totals["conflicts"]) == (1, 1)


def test_a_duplicate_after_the_revision_makes_no_study_wait(catalog):
    record_instance(catalog, received())
    make_revision(catalog, "1", 200.0, "quiet")
    record_instance(catalog, received(at=300.0))
    assert waiting_studies(catalog) == []


def test_an_open_association_is_seen_until_it_closes(catalog):
    open_association(catalog, "t", "run", 90.0)
    record_instance(catalog, received())
    assert waiting_studies(catalog)[0].open_association
    close_association(catalog, "t")
    assert not waiting_studies(catalog)[0].open_association


def test_an_announcement_is_kept(catalog):
    announce(catalog, "1", 3, 50.0)
    record_instance(catalog, received())
    assert (waiting_studies(catalog)[0].expected, waiting_studies(catalog)[0].received) == (3, 1)


def test_a_revision_from_claim_to_delivery_and_the_account(catalog):
    for sop in ("1.1", "1.2", "1.3"):
        record_instance(catalog, received(sop))
    record_instance(catalog, received("1.3", "other"))
    assert make_revision(catalog, "1", 200.0, "quiet") == 1
    claimed = claim_next(catalog, "w1")
    assert claim_next(catalog, "w2") is None
    assert set(claimed.revision.instances) == {"1.1", "1.2", "1.3"}
    account = Account(
        {
            "1.1": (Outcome.USED, None, ""),
            "1.2": (Outcome.EXCLUDED, Reason.LOCALIZER, ""),
            "1.3": (Outcome.FAILED, Reason.TRUNCATED, "x"),
        }
    )
    report = MadeReport("9.9", "1.2.3", "results/9.9.dcm", "ff", ("a", "b"))
    finish(catalog, claimed, account, fingerprint="f", reports=[report], at=300.0)
    (row,) = service_account(catalog)["revisions"]
    assert (row["received"], row["used"], row["excluded"], row["failed"]) == (4, 1, 1, 2)
    assert row["reasons"] == {"localizer": 1, "truncated": 1, "content-conflict": 1}

    due = due_delivery(catalog, "a", 300.0)
    record_retry(catalog, due, status="0xA700", message="full", next_at=400.0)
    assert due_delivery(catalog, "a", 399.0) is None
    assert due_delivery(catalog, "a", 400.0 - MAX_WAIT_SECONDS) is None
    assert due_delivery(catalog, "a", -9000.0).report_uid == "9.9"  # the clock was set back: it must not wait so long
    record_set_aside(catalog, due_delivery(catalog, "a", 400.0), status="0xA900", message="no", at=400.0)
    assert due_delivery(catalog, "b", 300.0).report_uid == "9.9"
    assert retry_set_aside(catalog, 500.0) == 1
    assert due_delivery(catalog, "a", 500.0).attempts == 0
    assert service_account(catalog)["deliveries"] == {"a": {"pending": 1}, "b": {"pending": 1}}


def test_the_next_revision_names_the_report_before(catalog):
    record_instance(catalog, received("1.1"))
    make_revision(catalog, "1", 200.0, "quiet")
    claimed = claim_next(catalog, "w")
    account = Account({"1.1": (Outcome.USED, None, "")})
    finish(
        catalog,
        claimed,
        account,
        fingerprint="f",
        reports=[MadeReport("9.1", "1.2.840.10008.5.1.4.1.1.88.34", "p", "h")],
        at=1.0,
    )
    record_instance(catalog, received("1.2", at=300.0))
    assert make_revision(catalog, "1", 400.0, "quiet") == 2
    revision = claim_next(catalog, "w").revision
    assert (revision.predecessor, revision.predecessor_class) == ("9.1", "1.2.840.10008.5.1.4.1.1.88.34")


def test_a_dead_workers_revision_is_released_and_worn_out_at_last(catalog):
    record_instance(catalog, received())
    make_revision(catalog, "1", 200.0, "quiet")
    for attempt in range(3):
        assert claim_next(catalog, f"w{attempt}").attempts == attempt + 1
        assert release_stale(catalog, f"w{attempt + 1}", 3, 300.0) == 1
    assert claim_next(catalog, "w9") is None
    (row,) = service_account(catalog)["revisions"]
    assert (row["state"], row["reasons"]) == ("failed", {"crashed-worker": 1})


def test_two_threads_never_claim_the_same(catalog):
    for study in range(20):
        record_instance(catalog, received(f"1.{study}", study=str(study)))
        make_revision(catalog, str(study), 200.0 + study, "quiet")
    claimed = []

    def work(owner):
        while (one := claim_next(catalog, owner)) is not None:
            claimed.append(one.revision_id)
        catalog.close()

    threads = [threading.Thread(target=work, args=(str(i),)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == list(range(1, 21))


def test_a_failed_transaction_leaves_nothing(catalog):
    def half():
        with catalog.transaction() as run:
            run.execute("touch_study", study_instance_uid="1", at=1.0)
            run.execute("add_refusal", at=None, status=0, reason="x", sop_instance_uid="", calling_ae="", address="")

    with pytest.raises(CatalogError):
        half()
    assert service_account(catalog)["totals"]["studies"] == 0


NEXT = database.SCHEMA_VERSION + 1


@pytest.fixture
def next_version(monkeypatch):
    """A schema version after the present one, as if it were shipped."""
    later = ["ALTER TABLE study ADD COLUMN colour TEXT NOT NULL DEFAULT 'grey'"]
    present = database._migration
    monkeypatch.setattr(database, "SCHEMA_VERSION", NEXT)
    monkeypatch.setattr(database, "_migration", lambda number: later if number == NEXT else present(number))
    return later


def test_a_catalog_of_an_earlier_version_is_taken_over(tmp_path, catalog, next_version):
    record_instance(catalog, received())
    newer = Catalog(catalog.path)
    with newer.transaction() as run:
        assert run.connection.execute("SELECT colour FROM study").fetchone()[0] == "grey"
        assert run.connection.execute("PRAGMA user_version").fetchone()[0] == NEXT
    assert waiting_studies(newer)[0].received == 1
    newer.close()


def test_a_migration_that_fails_leaves_the_catalog_as_it_was(catalog, next_version):
    record_instance(catalog, received())
    next_version.append("ALTER TABLE no_such_table ADD COLUMN colour TEXT")
    with pytest.raises(CatalogError):
        Catalog(catalog.path)
    with catalog.transaction() as run:
        assert run.connection.execute("PRAGMA user_version").fetchone()[0] == NEXT - 1
        assert "colour" not in [row[1] for row in run.connection.execute("PRAGMA table_info(study)")]


def test_version_1_is_taken_over_with_its_failures(tmp_path, monkeypatch):
    """Its studies have no accession number yet, and its failures are open: nobody has acknowledged them."""
    path = tmp_path / "catalog.sqlite"
    with monkeypatch.context() as earlier:
        earlier.setattr(database, "SCHEMA_VERSION", 1)
        old = Catalog(path)
        ready_study(old, "1.5")
        finish_next(old, [], at=3.0, outcome=(Outcome.FAILED, Reason.DECODE_FAILED, ""))
        ready_study(old, "1.6")
        with old.transaction() as run:
            assert run.connection.execute("PRAGMA user_version").fetchone()[0] == 1
        old.close()
    catalog = Catalog(path)
    with catalog.transaction() as run:
        assert run.connection.execute("PRAGMA user_version").fetchone()[0] == database.SCHEMA_VERSION
    assert [(f.study_instance_uid, f.number) for f in open_failures(catalog)] == [("1.5", 1)]
    assert find_studies(catalog, "1.6", 9) == [FoundStudy("1.6", None)]
    finish_next(catalog, [], at=4.0)
    assert service_account(catalog)["totals"]["open_failures"] == 1
    catalog.close()


def test_a_failure_is_open_until_it_is_acknowledged_or_mended(catalog):
    def process(outcome):
        make_revision(catalog, "1", 5.0, "asked") if claimed else None
        claimed.append(finish_next(catalog, [], at=3.0, outcome=outcome))

    claimed = []
    failed = (Outcome.FAILED, Reason.DECODE_FAILED, "")
    ready_study(catalog)
    process(failed)
    with catalog.transaction() as run:
        run.execute("touch_study", study_instance_uid="1", at=4.0)
    process(failed)
    assert [f.number for f in open_failures(catalog)] == [2, 1]
    acknowledge_failures(catalog, open_failures(catalog), 6.0, "ann@host")
    assert open_failures(catalog) == []
    totals = service_account(catalog)["totals"]
    assert (totals["failed_revisions"], totals["open_failures"]) == (2, 0)
    with catalog.transaction() as run:
        run.execute("touch_study", study_instance_uid="1", at=7.0)
    process(failed)
    assert [f.number for f in open_failures(catalog)] == [3], "a new failure counts anew"
    with catalog.transaction() as run:
        run.execute("touch_study", study_instance_uid="1", at=8.0)
    process((Outcome.USED, None, ""))
    assert open_failures(catalog) == [], "a later revision has mended it"


def test_studies_are_found_by_uid_and_accession_number(catalog):
    for uid, number in (("1.2.3", "A-77"), ("1.2.4", "A-7"), ("1.2.34", "B\\a-7")):
        ready_study(catalog, uid)
        record_accession_number(catalog, uid, number)

    def found(text, most=9):
        return sorted(study.study_instance_uid for study in find_studies(catalog, text, most))

    assert found("A-7") == ["1.2.4"], "what is called so goes before what has it as a part"
    assert found("a-7") == ["1.2.3", "1.2.34", "1.2.4"]
    assert found("77") == ["1.2.3"]
    assert found("1.2.3") == ["1.2.3"]
    assert found("2.3") == ["1.2.3", "1.2.34"]
    assert len(found("1.2", 2)) == 2
    assert found("%") == []


def test_a_catalog_of_another_version_is_refused(tmp_path):
    connection = sqlite3.connect(tmp_path / "c.sqlite")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(CatalogError, match="version 99"):
        Catalog(tmp_path / "c.sqlite")


def delivered_report(catalog) -> tuple[str, str]:
    """A report that was delivered to "pacs" with a commitment wanted; (report UID, transaction UID)."""
    record_instance(catalog, received())
    make_revision(catalog, "1", 200.0, "quiet")
    made = MadeReport("9.1", "1.2.840.10008.5.1.4.1.1.88.34", "r.dcm", "h", ("pacs",))
    account = Account({"1.1": (Outcome.USED, None, "")})
    finish(catalog, claim_next(catalog, "w"), account, fingerprint="f", reports=[made], at=1.0)
    due = due_delivery(catalog, "pacs", 2.0)
    commitment = Commitment("2.25.7", "1.2.840.10008.5.1.4.1.1.88.34", "9.1")
    record_delivered(catalog, due, status="0x0000", message="", verified=False, at=3.0, commitment=commitment)
    return "9.1", "2.25.7"


def test_a_commitment_is_asked_for_and_its_answer_verifies_the_delivery(catalog):
    report, transaction = delivered_report(catalog)
    assert due_request(catalog, "pacs", 3.0).transaction_uid == transaction
    assert not record_result(catalog, "2.25.8", {report: None}, 9.0), "of a transaction that was never asked"
    assert not record_result(catalog, transaction, {"9.2": None}, 9.0), "about an object that was never asked about"
    assert service_account(catalog)["commitments"] == {"pacs": {"pending": 1}}
    assert record_result(catalog, transaction, {report: None}, 9.0)
    account = service_account(catalog)
    assert (account["commitments"], account["deliveries"]) == ({"pacs": {"committed": 1}}, {"pacs": {"delivered": 1}})
    assert due_request(catalog, "pacs", 1e9) is None


def test_what_is_not_committed_is_sent_again_and_asked_for_anew(catalog):
    report, transaction = delivered_report(catalog)
    assert record_result(catalog, transaction, {report: 0x0110}, 9.0)
    assert due_delivery(catalog, "pacs", 9.0 + REPEAT_SECONDS - 0.1) is None
    due = due_delivery(catalog, "pacs", 9.0 + REPEAT_SECONDS)
    assert due.report_uid == report
    again = Commitment("2.25.9", due.sop_class_uid, report)
    record_delivered(catalog, due, status="0x0000", message="", verified=False, at=100.0, commitment=again)
    assert due_request(catalog, "pacs", 100.0).transaction_uid == "2.25.9"
    assert not record_result(catalog, transaction, {report: None}, 110.0), (
        "the answer to the earlier question came late"
    )


def test_a_report_that_is_never_committed_waits_for_a_person_in_the_end(catalog):
    report, transaction = delivered_report(catalog)
    for number in range(1, MAX_FAILURES + 1):
        assert record_result(catalog, transaction, {report: 0x0110}, 0.0)
        if number < MAX_FAILURES:
            due, transaction = due_delivery(catalog, "pacs", 1e9), f"2.25.{100 + number}"
            again = Commitment(transaction, due.sop_class_uid, report)
            record_delivered(catalog, due, status="0x0000", message="", verified=False, at=0.0, commitment=again)
    due = due_delivery(catalog, "pacs", 0.0)
    assert (due.not_committed, due.message) == (MAX_FAILURES, "stored, but not committed: 0x0110 (5 times)")
    record_set_aside(catalog, due, status=due.status, message=due.message, at=0.0)
    assert retry_set_aside(catalog, 0.0) == 1
    due = due_delivery(catalog, "pacs", 1.0)
    again = Commitment("2.25.200", due.sop_class_uid, report)
    record_delivered(catalog, due, status="0x0000", message="", verified=False, at=0.0, commitment=again)
    assert record_result(catalog, "2.25.200", {report: 0x0110}, 0.0)
    assert service_account(catalog)["set_aside"] == [], "a person's retry begins the count anew"


def test_an_answer_after_giving_up_still_counts(catalog):
    report, transaction = delivered_report(catalog)
    postpone_request(catalog, transaction, next_at=1e9, message="no answer came", given_up=True)
    assert due_request(catalog, "pacs", 2e9) is None
    assert record_result(catalog, transaction, {report: None}, 9.0)
    assert service_account(catalog)["commitments"] == {"pacs": {"committed": 1}}


def test_what_the_log_grew_to_beside_a_long_reader_is_given_back(tmp_path, monkeypatch):
    monkeypatch.setattr("dicom_pipeline.catalog.database.LOG_BYTES", 500_000)
    catalog, log = Catalog(tmp_path / "catalog.sqlite"), tmp_path / "catalog.sqlite-wal"

    def write(count):
        for number in range(count):
            with catalog.transaction() as run:
                run.execute("touch_study", study_instance_uid=f"1.{number}", at=time.time())

    reader = sqlite3.connect(catalog.path)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM study").fetchone()
    write(600)  # SQLite looks at its log from 1,000 pages on
    assert log.stat().st_size > 4_000_000
    reader.close()
    write(10)
    assert log.stat().st_size <= 500_000
    catalog.close()
