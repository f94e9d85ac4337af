"""`status`, `give-up` and the page /status: more in the catalog than anybody reads, and destinations that are gone."""

import getpass
import json
import xml.etree.ElementTree as ET
from datetime import datetime

import pytest
from pydicom import dcmread
from typer.testing import CliRunner

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.account import LAST_REVISIONS, service_account
from dicom_pipeline.catalog.arrivals import Received
from dicom_pipeline.catalog.outbox import due_delivery, record_delivered, record_set_aside
from dicom_pipeline.catalog.revisions import MadeReport, make_revision
from dicom_pipeline.catalog.studies import open_failures, record_accession_number, study_account
from dicom_pipeline.cli.app import app
from dicom_pipeline.config import Settings
from dicom_pipeline.domain import Outcome, Reason
from dicom_pipeline.errors import UsageError
from dicom_pipeline.service.health import ChildState, State
from dicom_pipeline.service.status_file import NAME, StatusFile, service_status
from tests.peers.entries import SR, finish_next, ready_study, record_instance
from tests.peers.web import context_of, served


@pytest.fixture
def catalog(tmp_path):
    (tmp_path / "pipeline.toml").write_text(
        f'[spool]\nfolder = "{tmp_path}"\n[[peers]]\ntype = "folder"\nname = "archive"\npath = "{tmp_path}/out"\n'
    )
    made = Catalog(tmp_path / "catalog.sqlite")
    StatusFile(tmp_path).write({"listener": ChildState(State.RUNNING), "worker": ChildState(State.RUNNING)}, 100.0)
    yield made
    made.close()


def add(catalog, number, destinations=(), outcome=Outcome.USED):
    """A study of one instance that was processed, with a report to each destination."""
    ready_study(catalog, f"1.{number}")
    report = MadeReport(f"9.{number}", SR, "results/x.dcm", "ff", destinations)
    finish_next(catalog, [report], at=3.0, outcome=(outcome, None, ""))


def fails(catalog, number):
    """A study of one instance that failed."""
    ready_study(catalog, f"1.{number}")
    finish_next(catalog, [], at=3.0, outcome=(Outcome.FAILED, Reason.DECODE_FAILED, ""))


def run(tmp_path, *words):
    result = CliRunner().invoke(app, [*words, "--config", str(tmp_path / "pipeline.toml")])
    assert result.exception is None or isinstance(result.exception, SystemExit | UsageError), result.exception
    return result


def page(tmp_path, catalog, target):
    settings = Settings(spool={"folder": tmp_path}, service={"web_port": None})
    with served(context_of(settings, catalog, service=lambda: service_status(tmp_path))) as site:
        return site.ask("GET", target)


def test_the_newest_revisions_are_listed_and_all_are_counted(tmp_path, catalog):
    for number in range(LAST_REVISIONS + 20):
        add(catalog, number, outcome=Outcome.FAILED if number == 0 else Outcome.USED)
    result = run(tmp_path, "status", "--json")
    account = json.loads(result.stdout)
    assert [r["study_instance_uid"] for r in account["revisions"]] == [f"1.{n}" for n in range(20, LAST_REVISIONS + 20)]
    assert (account["totals"]["revisions"], account["totals"]["failed_revisions"]) == (LAST_REVISIONS + 20, 1)
    assert result.exit_code == 1, "a failure that is not listed still counts"
    assert f"The last 2 of {LAST_REVISIONS + 20} revisions" in run(tmp_path, "status", "--last", "2").stdout
    assert len(json.loads(run(tmp_path, "status", "--last", "0", "--json").stdout)["revisions"]) == LAST_REVISIONS + 20
    assert len(page(tmp_path, catalog, "/status?last=3")[1]["revisions"]) == 3
    assert len(page(tmp_path, catalog, "/status")[1]["revisions"]) == LAST_REVISIONS
    assert page(tmp_path, catalog, "/status?last=-1")[0] == 400


def test_deliveries_to_a_destination_that_is_gone_are_told_and_can_be_given_up(tmp_path, catalog):
    add(catalog, 1, ("archive", "old"))
    add(catalog, 2, ("old",))
    record_delivered(catalog, due_delivery(catalog, "archive", 4.0), status="ok", message="", verified=True, at=4.0)
    result = run(tmp_path, "status")
    assert "NEEDS A PERSON: 2 deliveries to old, which is not in the settings" in " ".join(result.stdout.split())
    assert result.exit_code == 1
    assert service_account(catalog)["spool"]["kept_because"]["not-delivered"]["studies"] == 2
    assert "given up: 2 of the deliveries to old" in run(tmp_path, "give-up", "old").stdout
    account = service_account(catalog)
    assert account["deliveries"] == {"archive": {"delivered": 1}, "old": {"given-up": 2}}
    assert account["spool"]["may_go"]["studies"] == 2
    assert due_delivery(catalog, "old", 10.0) is None
    assert run(tmp_path, "status").exit_code == 0
    assert "2 deliveries are pending again" in run(tmp_path, "retry", "--destination", "old").stdout
    assert due_delivery(catalog, "old", 1e12) is not None


def test_only_what_was_set_aside_is_given_up_where_the_destination_is_there(tmp_path, catalog):
    add(catalog, 1, ("archive",))
    add(catalog, 2, ("archive",))
    record_set_aside(catalog, due_delivery(catalog, "archive", 4.0), status="0xA900", message="no", at=4.0)
    assert "given up: 1 of the deliveries" in run(tmp_path, "give-up", "archive").stdout
    assert service_account(catalog)["deliveries"] == {"archive": {"given-up": 1, "pending": 1}}
    assert "pending" not in run(tmp_path, "retry").stdout.replace("0 deliveries are pending again", "")


def test_a_destination_that_never_was_is_no_destination(tmp_path, catalog):
    add(catalog, 1, ("archive",))
    with pytest.raises(UsageError, match="'pcas'"):
        raise run(tmp_path, "give-up", "pcas").exception
    assert service_account(catalog)["deliveries"] == {"archive": {"pending": 1}}


def test_a_study_tells_its_conflicts_apart_from_what_it_received(tmp_path, catalog):
    add(catalog, 1)
    record_instance(
        catalog,
        Received("1.1.1", "bb", "1.1", "1.9", "1.2.3", "1.2.4", "instances/b", 10, "AE", "127.0.0.1", None, 5.0),
    )
    study = study_account(catalog, "1.1")
    assert (study["received"], study["conflicts"]) == (1, 1)


def test_what_a_peer_says_is_shown_as_it_is(tmp_path, catalog):
    add(catalog, 1, ["archive"])
    words = "no [removed] of [/this] kind :warning: [bold]"
    record_set_aside(catalog, due_delivery(catalog, "archive", 1e12), status="0xC000", message=words, at=4.0)
    assert words in run(tmp_path, "status").output


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (ChildState(State.DOWN, why="ended with 1"), "the worker is down: it ended with 1"),
        (ChildState(State.SILENT, "worker", 301.0), "the worker is silent"),
        (None, "the service does not run"),
    ],
)
def test_it_is_0_only_while_the_service_runs(tmp_path, catalog, state, words):
    add(catalog, 1)
    assert run(tmp_path, "status").exit_code == 0
    assert run(tmp_path, "status", "1.1").exit_code == 0
    if state is None:
        (tmp_path / NAME).unlink()
    else:
        StatusFile(tmp_path).write({"worker": state}, 200.0)
    for arguments in (["status"], ["status", "1.1"]):
        result = run(tmp_path, *arguments)
        assert result.exit_code == 1
        assert f"NEEDS A PERSON: {words}" in result.stdout
    assert any(words in line for line in json.loads(run(tmp_path, "status", "--json").stdout)["attention"])


def test_a_disk_below_its_watermark_needs_a_person(tmp_path, catalog):
    text = (tmp_path / "pipeline.toml").read_text().replace("[spool]\n", f"[spool]\nmin_free_bytes = {10**18}\n")
    (tmp_path / "pipeline.toml").write_text(text)
    result = run(tmp_path, "status")
    assert result.exit_code == 1
    assert "less than spool.min_free_bytes" in result.stdout


def test_an_acknowledged_failure_is_red_no_more_and_stands_in_the_audit_trail(tmp_path, catalog):
    fails(catalog, 1)
    fails(catalog, 2)
    result = run(tmp_path, "status")
    assert result.exit_code == 1
    assert "2 revisions failed, wholly or in part" in result.stdout
    assert "failed: 1.2 revision 1" in result.stdout
    assert "acknowledge 1.1" in run(tmp_path, "status", "1.1").stdout
    assert "1 failed revisions of 1 studies" in run(tmp_path, "acknowledge", "1.1").stdout
    assert run(tmp_path, "status", "1.1").exit_code == 0
    assert run(tmp_path, "status").exit_code == 1, "another one is open"
    assert "1 failed revisions of 1 studies" in run(tmp_path, "acknowledge", "--all").stdout
    result = run(tmp_path, "status", "--json")
    assert result.exit_code == 0
    account = json.loads(result.stdout)
    assert (account["attention"], account["failures"], account["totals"]["failed_revisions"]) == ([], [], 2)
    lines = [line for path in (tmp_path / "audit").glob("*.log") for line in path.read_text().splitlines()]
    told = [ET.fromstring(line) for line in lines]
    assert [m.find("EventIdentification").get("EventActionCode") for m in told] == ["U", "U"]
    studies = [m.find("ParticipantObjectIdentification").get("ParticipantObjectID") for m in told]
    assert studies == ["1.1", "1.2"]
    assert told[0].find("ActiveParticipant").get("UserID").partition("@")[0] == getpass.getuser()
    assert "0 failed revisions" in run(tmp_path, "acknowledge", "--all").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "or --all"),
        (["1.1", "--all"], "or --all"),
        (["77"], "no study has this text"),
        (["1."], "several studies with failures fit"),
    ],
)
def test_a_failure_is_not_acknowledged_by_mistake(tmp_path, catalog, arguments, words):
    fails(catalog, 1)
    fails(catalog, 2)
    with pytest.raises(UsageError, match=words):
        raise run(tmp_path, "acknowledge", *arguments).exception
    assert len(open_failures(catalog)) == 2


def test_sender_modality_and_time_are_shown(tmp_path, catalog):
    record_instance(
        catalog,
        Received("5.1", "aa", "1.5", "5", "1.2", "1.2", "p", 9, "CT_WARD7", "::1", "", 1.0, "MR", "FLAIR"),
    )
    make_revision(catalog, "1.5", 2.0, "quiet")
    finish_next(catalog, [], at=1764030000.0)
    when = datetime.fromtimestamp(1764030000.0).astimezone().strftime("%Y-%m-%d %H:%M")
    for arguments in (["status"], ["status", "1.5"]):
        text = run(tmp_path, *arguments).stdout
        (line,) = [line for line in text.splitlines() if line.startswith("1.5 ")]
        assert line.split()[:6] == ["1.5", "1", "CT_WARD7", "MR", *when.split()]
    (revision,) = json.loads(run(tmp_path, "status", "--json").stdout)["revisions"]
    assert (revision["senders"], revision["modalities"]) == (["CT_WARD7"], ["MR"])


def test_received_text_that_is_no_title_or_modality_is_not_shown(tmp_path, catalog):
    record_instance(
        catalog,
        Received("5.1", "aa", "1.5", "5", "1.2", "1.2", "p", 9, "A\x1b[31mB", "::1", "", 1.0, "Doe^Jane", ""),
    )
    make_revision(catalog, "1.5", 2.0, "quiet")
    (revision,) = service_account(catalog)["revisions"]
    assert (revision["senders"], revision["modalities"]) == (["A?[31mB"], ["other"])
    assert "\x1b" not in run(tmp_path, "status", "1.5").stdout + json.dumps(study_account(catalog, "1.5"))


def test_a_study_is_found_by_uid_accession_number_or_a_part(tmp_path, catalog):
    add(catalog, 7, ["archive"])
    record_accession_number(catalog, "1.7", "ACC-2025-7")
    record_set_aside(catalog, due_delivery(catalog, "archive", 1e12), status="0xA900", message="no such class", at=4.0)
    for text in ("1.7", "ACC-2025-7", "2025", "…1.7"):
        result = run(tmp_path, "status", text)
        assert "1.7, accession number ACC-2025-7: done, 1 instance from AE" in result.stdout, text
        assert "NEEDS A PERSON: 1.7: set aside for archive: no such class" in result.stdout
        assert result.exit_code == 1
    with pytest.raises(UsageError, match="no study has this text"):
        raise run(tmp_path, "status", "ACC-2026").exception
    for number in range(10, 35):
        add(catalog, number)
    found = json.loads(run(tmp_path, "status", "1.", "--json").stdout)
    assert (len(found["studies"]), found["more"]) == (20, True)
    assert "accession_number" not in json.dumps(page(tmp_path, catalog, "/status")[1]), "it is not for pages"


def test_a_study_that_no_worker_has_begun_is_found_by_the_number_in_its_file(tmp_path, catalog, sample_data):
    source = next((sample_data / "studies" / "cr-chest-normal").glob("*.dcm"))
    dataset = dcmread(source)
    dataset.AccessionNumber = "NEW-1"
    (tmp_path / "instances").mkdir()
    dataset.save_as(tmp_path / "instances" / "1.3.1")
    record_instance(
        catalog,
        Received("1.3.1", "aa", "1.3", "1.9", "1.2.3", "1.2", "instances/1.3.1", 10, "AE", "h", "", 1.0, "CR"),
    )
    record_instance(  # its file cannot be read
        catalog,
        Received("1.4.1", "bb", "1.4", "1.9", "1.2.3", "1.2", "instances/none", 10, "AE", "h", "", 1.0, "CR"),
    )
    for text in ("NEW-1", "new"):
        assert "1.3, accession number NEW-1: receiving, 1 instance from AE (CR)" in run(tmp_path, "status", text).stdout
    with pytest.raises(UsageError, match="no study"):
        raise run(tmp_path, "status", "OLD").exception
