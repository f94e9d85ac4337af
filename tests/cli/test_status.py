"""`status`, `give-up` and the page /status: more in the catalog than anybody reads, and destinations that are gone."""

import json

import pytest
from typer.testing import CliRunner

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.account import LAST_REVISIONS, service_account
from dicom_pipeline.catalog.arrivals import Received
from dicom_pipeline.catalog.outbox import due_delivery, record_delivered, record_set_aside
from dicom_pipeline.catalog.revisions import MadeReport
from dicom_pipeline.catalog.studies import study_account
from dicom_pipeline.cli.app import app
from dicom_pipeline.config import Settings
from dicom_pipeline.domain import Outcome
from dicom_pipeline.errors import UsageError
from dicom_pipeline.service.status_file import service_status
from tests.peers.entries import SR, finish_next, ready_study, record_instance
from tests.peers.web import context_of, served


@pytest.fixture
def catalog(tmp_path):
    (tmp_path / "pipeline.toml").write_text(
        f'[spool]\nfolder = "{tmp_path}"\n[[peers]]\ntype = "folder"\nname = "archive"\npath = "{tmp_path}/out"\n'
    )
    made = Catalog(tmp_path / "catalog.sqlite")
    yield made
    made.close()


def add(catalog, number, destinations=(), outcome=Outcome.USED):
    """A study of one instance that was processed, with a report to each destination."""
    ready_study(catalog, f"1.{number}")
    report = MadeReport(f"9.{number}", SR, "results/x.dcm", "ff", destinations)
    finish_next(catalog, [report], at=3.0, outcome=(outcome, None, ""))


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
    assert "waits: 2 deliveries to old, which is not in the settings" in " ".join(result.stdout.split())
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
