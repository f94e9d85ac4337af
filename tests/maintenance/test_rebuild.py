"""A catalog built anew from damaged, cleaned, conflicting and half-received spools: each file is accounted for."""

import hashlib
import json
import os
import sqlite3

import pytest
from pydicom.uid import ImplicitVRLittleEndian

from dicom_pipeline.assembly.retention import RetentionRule, clean
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.account import service_account
from dicom_pipeline.catalog.commitment_requests import record_result
from dicom_pipeline.catalog.outbox import Commitment
from dicom_pipeline.catalog.records import revision_record
from dicom_pipeline.catalog.revisions import (
    MadeReport,
    claim_next,
    discard_study,
    finish,
    make_revision,
    waiting_studies,
)
from dicom_pipeline.config import load_settings
from dicom_pipeline.disk import exclusive_lock
from dicom_pipeline.domain import Account, Outcome
from dicom_pipeline.errors import ConfigError, UsageError
from dicom_pipeline.intake.receipt import UploadResult
from dicom_pipeline.maintenance import rebuild as rebuilding
from dicom_pipeline.maintenance.rebuild import rebuild
from tests.assembly.test_retention import SR, Kept


class Spooled(Kept):
    """A spool whose revisions leave their record, as the worker writes it."""

    def __init__(self, folder):
        super().__init__(folder / "data")
        (folder / "pipeline.toml").write_text('[spool]\nfolder = "data"\n')
        self.settings = load_settings(folder / "pipeline.toml")

    def process(self, **_) -> int:
        make_revision(self.catalog, self.study, 500.0, "quiet", "default")
        claimed = claim_next(self.catalog, "w")
        where = f"results/hash/r{claimed.revision.number}"
        (self.folder / where).mkdir(parents=True)
        (self.folder / where / "9.dcm").write_bytes(b"report")
        digest = hashlib.sha256(b"report").hexdigest()
        report = MadeReport(f"9.{claimed.revision.number}", SR, f"{where}/9.dcm", digest, ("pacs",))
        account = Account(dict.fromkeys(claimed.revision.instances, (Outcome.USED, None, "")))
        made = {"fingerprint": "f", "reports": [report], "at": 1000.0}
        record = revision_record(self.catalog, claimed, account, **made)
        (self.folder / where / "revision.json").write_text(json.dumps(record))
        finish(self.catalog, claimed, account, **made)
        return claimed.revision.number

    def lose(self):
        """The catalog goes; returns the account before."""
        account = service_account(self.catalog)
        self.catalog.close()
        for path in self.folder.glob("catalog.sqlite*"):
            path.unlink()
        return account

    def anew(self, **options):
        done = rebuild(self.settings, **options)
        self.catalog = Catalog(self.folder / "catalog.sqlite")
        return done


@pytest.fixture
def kept(tmp_path):
    made = Spooled(tmp_path)
    yield made
    made.catalog.close()


def revisions(account):
    names = ("study_instance_uid", "number", "state", "cause", "rule", "created_at", "finished_at", "fingerprint")
    names += ("report", "received", "used", "excluded", "failed", "reasons")
    return [{name: row[name] for name in names} for row in account["revisions"]]


def test_revisions_conflicts_and_late_instances_are_as_they_were(kept):
    kept.take(1)
    kept.take(2)
    kept.process()
    kept.deliver()
    kept.take(3)
    kept.take(1, "OTHER")
    kept.process()
    kept.take(4)
    before = kept.lose()
    done = kept.anew()
    after = service_account(kept.catalog)
    assert (done.files, done.entered, done.conflicts, done.skipped, done.missing_files) == (5, 4, 1, {}, 0)
    assert revisions(after) == revisions(before)
    assert after["deliveries"] == {"pacs": {"pending": 2}}
    names = ("instances", "conflicts", "studies", "waiting")
    assert {n: after["totals"][n] for n in names} == {n: before["totals"][n] for n in names}
    (waiting,) = waiting_studies(kept.catalog)
    assert (waiting.received, waiting.removed, waiting.senders) == (4, 0, {"HTTP", "CLUNIE1"})
    assert [kept.take(number) for number in (1, 2, 3, 4)] == [UploadResult.DUPLICATE] * 4
    assert kept.take(1, "OTHER") is UploadResult.DUPLICATE
    assert kept.process() == 3
    assert claim_next(kept.catalog, "w") is None


def test_the_same_content_in_another_syntax_is_left_where_it_is(kept):
    """As a crash leaves it between the comparison and its entry, or a version that took it for other content."""
    kept.take(1)
    whole = next((kept.folder / "instances").rglob("*.dcm"))
    stay = kept.folder / "aside"
    whole.rename(stay)  # so that nothing is there to compare with
    with kept.catalog.transaction() as run:
        run.connection.execute("UPDATE instance SET removed_at = 5.0")
    assert kept.take(1, syntax=ImplicitVRLittleEndian) is UploadResult.CONFLICT
    (again,) = (kept.folder / "instances").rglob("*.dcm")
    stay.rename(whole)
    kept.take(2)
    assert kept.take(2, "OTHER", ImplicitVRLittleEndian) is UploadResult.CONFLICT
    kept.lose()
    os.utime(whole, (1.0, 1.0))
    done = kept.anew()
    assert (done.files, done.entered, done.conflicts) == (4, 2, 1)
    assert done.skipped == {str(again.relative_to(kept.folder)): rebuilding.SAME_CONTENT}
    assert again.exists()
    assert kept.take(1, syntax=ImplicitVRLittleEndian) is UploadResult.DUPLICATE
    assert not again.exists()
    assert kept.take(1) is UploadResult.DUPLICATE


def test_what_a_record_tells_of_as_a_conflict_stays_one(kept):
    kept.take(1)
    with kept.catalog.transaction() as run:
        run.connection.execute("UPDATE instance SET removed_at = 5.0")
    assert kept.take(1, syntax=ImplicitVRLittleEndian) is UploadResult.CONFLICT
    assert kept.take(1) is UploadResult.DUPLICATE
    kept.process()
    before = kept.lose()
    done = kept.anew()
    assert (done.files, done.entered, done.conflicts, done.skipped) == (2, 1, 1, {})
    assert revisions(service_account(kept.catalog)) == revisions(before)


def test_what_had_been_cleaned_is_known_and_not_taken_for_new(kept):
    kept.take(1)
    kept.take(2)
    kept.process()
    kept.deliver()
    assert clean(kept.catalog, RetentionRule(0), 1e12).instances == 2
    kept.lose()
    done = kept.anew()
    assert (done.files, done.entered, done.missing_files, done.records) == (0, 0, 2, 1)
    assert waiting_studies(kept.catalog) == []
    assert kept.take(1) is UploadResult.DUPLICATE
    assert kept.lies() == []
    assert kept.take(3) is UploadResult.NEW
    (waiting,) = waiting_studies(kept.catalog)
    assert waiting.removed == 1


def test_a_file_that_was_cut_anywhere_is_left_where_it_is(kept):
    kept.take(1)
    kept.lose()
    (path,) = (kept.folder / "instances").rglob("*.dcm")
    whole = path.read_bytes()
    for length in (*range(0, 1200, 37), len(whole) - 1):
        path.write_bytes(whole[:length])
        done = rebuild(kept.settings, force=True)
        assert (done.files, done.entered) == (1, 0)
        (why,) = done.skipped.values()
        assert why.split(":")[0] in ("torn", "unreadable", "missing-uid")
        assert path.read_bytes() == whole[:length]
    path.write_bytes(whole)
    assert rebuild(kept.settings, force=True).entered == 1


@pytest.mark.parametrize("damage", ["report", "record", "schema", "gone"])
def test_a_damaged_result_is_named_and_its_study_is_processed_again(kept, damage):
    kept.take(1)
    kept.process()
    kept.lose()
    folder = kept.folder / "results" / "hash" / "r1"
    if damage == "gone":
        (folder / "revision.json").unlink()
    elif damage == "schema":
        (folder / "revision.json").write_text('{"schema": "other"}')
    else:
        (folder / {"report": "9.dcm", "record": "revision.json"}[damage]).write_bytes(b"{")
    done = kept.anew()
    assert (done.records, list(done.records_skipped)) == (0, ["results/hash/r1"])
    assert [study.study_instance_uid for study in waiting_studies(kept.catalog)] == [kept.study]


def test_it_is_refused_while_others_work_or_where_nothing_is_wrong(kept, tmp_path):
    kept.take(1)
    for name in ("serve.lock", "clean.lock"):
        with exclusive_lock(kept.folder, name), pytest.raises(ConfigError, match="already works"):
            rebuild(kept.settings)
    with pytest.raises(UsageError, match="--force"):
        rebuild(kept.settings)
    (tmp_path / "other.toml").write_text('[spool]\nfolder = "nothing"\n')
    with pytest.raises(UsageError, match="no spool"):
        rebuild(load_settings(tmp_path / "other.toml"))


def test_the_old_catalog_is_kept_beside_with_its_log(kept):
    kept.take(1)
    kept.catalog.close()
    name = kept.anew(force=True).backup
    old = sqlite3.connect(kept.folder / name)
    assert old.execute("SELECT count(*) FROM instance").fetchone() == (1,)
    old.close()
    kept.catalog.close()
    catalog = kept.folder / "catalog.sqlite"
    content = bytearray(catalog.read_bytes())
    content[100:] = bytes(len(content) - 100)
    catalog.write_bytes(content)
    (kept.folder / "catalog.sqlite-wal").write_bytes(b"log")
    (kept.folder / name).unlink()
    name = kept.anew().backup
    assert (kept.folder / name).read_bytes() == bytes(content)
    assert len(list(kept.folder.glob("catalog.before-*-wal"))) == 1
    assert service_account(kept.catalog)["totals"]["instances"] == 1


def test_killed_in_the_middle_the_old_catalog_stands_and_the_next_rebuild_is_whole(kept, monkeypatch):
    for number in range(4):
        kept.take(number)
    kept.catalog.close()
    monkeypatch.setattr(rebuilding, "AT_ONCE", 1)
    entered = []

    def die(run, received, *, there):
        if len(entered) == 2:
            raise KeyboardInterrupt
        entered.append(received)

    with monkeypatch.context() as patch:
        patch.setattr(rebuilding, "enter_file", die)
        with pytest.raises(KeyboardInterrupt):
            rebuild(kept.settings, force=True)
    assert service_account(kept.catalog)["totals"]["instances"] == 4
    kept.catalog.close()
    assert kept.anew(force=True).entered == 4


def test_what_is_made_and_delivered_after_a_rebuild_is_as_without_it(kept):
    """Later revisions name the report before with its class, promises to be asked for come with the deliveries, and neither
    the audit trail nor a discarded revision is taken for something to restore.
    """
    kept.take(1)
    kept.process()
    kept.deliver(Commitment("2.25.7", SR, "9.1"))
    assert record_result(kept.catalog, "2.25.7", {"9.1": None}, 2001.0)
    kept.take(2)
    discard_study(kept.catalog, kept.study, 2002.0, "discard", "gate")
    for name in ("audit/audit-000001.log", "audit/odd.dcm", "results/hash/r3.part/revision.json"):
        (kept.folder / name).parent.mkdir(exist_ok=True)
        (kept.folder / name).write_bytes(b"<AuditMessage/>")
    kept.lose()
    done = kept.anew()
    assert (done.files, done.entered, done.skipped, done.records_skipped) == (2, 2, {}, {})
    account = service_account(kept.catalog)
    assert [r["state"] for r in account["revisions"]] == ["done"]
    assert (account["deliveries"], account["commitments"]) == ({"pacs": {"pending": 1}}, {})
    (study,) = waiting_studies(kept.catalog)
    assert study.received == 2, "what was discarded is looked at anew"
    kept.deliver(Commitment("2.25.8", SR, "9.1"))
    assert not record_result(kept.catalog, "2.25.7", {"9.1": 0x0112}, 3000.0), (
        "an answer to a question before the rebuild"
    )
    assert kept.why == "receiving"
    assert make_revision(kept.catalog, kept.study, 3000.0, "quiet") == 2
    revision = claim_next(kept.catalog, "w").revision
    assert (revision.predecessor, revision.predecessor_class) == ("9.1", SR)
    assert service_account(kept.catalog)["commitments"] == {"pacs": {"pending": 1}}
