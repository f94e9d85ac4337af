"""The outbox as a page: what waits, and what a person decides about it."""

import http.client
from types import SimpleNamespace

import pytest

from dicom_pipeline.audit import GivenUp
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.browsing.outbox_list import outbox_entries
from dicom_pipeline.catalog.outbox import due_delivery, record_delivered, record_retry, record_set_aside
from dicom_pipeline.config import Settings
from dicom_pipeline.domain.life import DeliveryState
from tests.peers.entries import SR, MadeReport, finish_next, ready_study
from tests.peers.page import BrowserLike
from tests.peers.web import context_of, served

PACS = {"type": "dicom", "name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 104}


@pytest.fixture
def catalog(tmp_path):
    """Six deliveries: two set aside, one tried, one not tried yet, one delivered, one to a destination that is gone."""
    made = Catalog(tmp_path / "catalog.sqlite")
    for number in range(1, 6):
        ready_study(made, str(number))
        destinations = ("pacs", "old") if number == 5 else ("pacs",)
        finish_next(made, [MadeReport(f"2.25.{number}", SR, "r.dcm", "ff", destinations)], at=1000.0 * number)
    for words in ("it has no room", "it knows no such class"):
        record_set_aside(made, due_delivery(made, "pacs", 9e9), status="0xA900", message=words, at=9000.0)
    record_delivered(made, due_delivery(made, "pacs", 9e9), status="0x0000", message="", verified=True, at=9000.0)
    record_retry(made, due_delivery(made, "pacs", 9e9), status="", message="PACS cannot be reached", next_at=9e9)
    yield made
    made.close()


@pytest.fixture
def shown(tmp_path, catalog):
    settings = Settings(spool={"folder": tmp_path, "min_free_bytes": 10**18}, service={"web_port": 1}, peers=[PACS])
    facts = []
    with served(context_of(settings, catalog, facts)) as site:
        yield SimpleNamespace(browser=BrowserLike(site.port), facts=facts, site=site)


def states(catalog, destination="pacs"):
    every = outbox_entries(catalog, tuple(DeliveryState), destination=destination, most=10)
    return {entry.report_uid: entry.state.value for entry in every}


def entries(page):
    return [row for row in page.rows if len(row) == 7 and row[0] != "Study"]


def test_what_waits_and_why(shown):
    page = shown.browser.get("/outbox")
    for words in ("Backlog 3", "Dead letters (set aside) 2", "Retry all 2 that were set aside", "too little"):
        assert words in page.text, words
    destinations = {row[0]: row[1:5] for row in page.rows if len(row) == 6}
    assert destinations["pacs"] == ["2", "2", "0", "1"]
    assert destinations["oldnot in the settings: nobody delivers to it"] == ["1", "0", "0", "0"]
    listed = [(row[0], row[1], row[2], row[3]) for row in entries(page)]
    assert listed == [
        ("1revision 1", "pacs", "set aside", "1"),
        ("2revision 1", "pacs", "set aside", "1"),
        ("4revision 1", "pacs", "pending", "1"),
        ("5revision 1", "old", "pending", "0"),
        ("5revision 1", "pacs", "pending", "0"),
    ]
    answered = [row[5] for row in entries(page)]
    assert answered[0] == "it has no room"
    assert answered[2].startswith("PACS cannot be reachednext attempt ")
    assert answered[3] == "not tried yetthis destination is not in the settings"
    assert answered[4] == "not tried yet"


@pytest.mark.parametrize(
    ("query", "count"),
    [("state=set-aside", 2), ("state=delivered", 1), ("state=given-up", 0), ("destination=old", 1), ("page=2", 0)],
)
def test_the_url_says_what_is_listed(shown, query, count):
    page = shown.browser.get(f"/outbox?{query}")
    assert (page.status, len(entries(page))) == (200, count)


@pytest.mark.parametrize("query", ["state=x", "page=0"])
def test_what_cannot_be_meant_is_a_page_that_says_so(shown, query):
    page = shown.browser.get(f"/outbox?{query}")
    assert (page.status, "expected" in page.text) == (400, True)


def test_one_is_retried(shown, catalog):
    form = shown.browser.get("/outbox?state=set-aside").form("/outbox/retry", report="2.25.2")
    page = shown.browser.send(form)
    assert "The delivery is pending again." in page.text
    assert len(entries(page)) == 1  # the browser is back on the page that it came from
    assert states(catalog) == {
        "2.25.1": "set-aside",
        "2.25.2": "pending",
        "2.25.3": "delivered",
        "2.25.4": "pending",
        "2.25.5": "pending",
    }


def test_all_are_retried(shown, catalog):
    page = shown.browser.send(shown.browser.get("/outbox").form("/outbox/retry-all"))
    assert "Dead letters (set aside) 0" in page.text
    assert not [form for form in page.forms if form["action"] == "/outbox/retry-all"]
    assert set(states(catalog).values()) == {"pending", "delivered"}


def test_giving_up_asks_for_a_reason_that_the_audit_trail_hears(shown, catalog):
    link = next(
        target
        for target in shown.browser.get("/outbox").links()
        if target.startswith("/outbox/give-up") and "2.25.1" in target
    )
    form = shown.browser.get(link).form("/outbox/give-up")
    for reason in ("", "   ", "x" * 501):
        page = shown.browser.send(form, reason=reason)
        assert (page.status, "expected a reason" in page.text) == (400, True)
    assert states(catalog)["2.25.1"] == "set-aside"
    assert shown.facts == []
    page = shown.browser.send(form, reason="  the old PACS\r\nis gone ")
    assert "The delivery was given up" in page.text
    assert states(catalog)["2.25.1"] == "given-up"
    (fact,) = shown.facts
    assert isinstance(fact, GivenUp)
    assert (fact.user.address, fact.destination.name, fact.words) == ("127.0.0.1", "pacs", "the old PACS is gone")
    assert (fact.made.study_instance_uid, fact.made.instances) == ("1", {SR: ("2.25.1",)})
    assert "no longer as this page showed it" in shown.browser.send(form, reason="again").text
    assert len(shown.facts) == 1
    page = shown.browser.send(shown.browser.get("/outbox?state=given-up").form("/outbox/retry", report="2.25.1"))
    assert states(catalog)["2.25.1"] == "pending"  # a person may think otherwise


@pytest.mark.parametrize("path", ["/outbox/retry", "/outbox/give-up"])
def test_a_delivery_that_is_not_there_is_404(shown, path):
    for fields in ({}, {"report": "2.25.1"}, {"report": "2.25.1", "destination": "other", "reason": "r"}):
        assert shown.browser.post(path, fields).status == 404
    assert shown.browser.get("/outbox/give-up?report=2.25.1").status == 404


@pytest.mark.parametrize(
    "back", ["//example.org/", "https://example.org/", "/\\example.org", "javascript:x", "/\r\nX: y", ""]
)
def test_a_form_sends_the_browser_to_no_other_site(shown, back):
    answer = shown.browser.post("/outbox/retry-all", {"back": back})
    assert (answer.status, answer.headers["location"]) == (303, "/outbox?notice=all-retried")
    link = f"/outbox/give-up?report=2.25.1&destination=pacs&back={'%2F%2Fexample.org'}"
    assert not [target for target in shown.browser.get(link).links() if "example.org" in target]


def test_a_form_of_any_size_is_limited(shown):
    assert shown.browser.post("/outbox/retry", {"report": "1" * 20_000}).status == 413


def test_what_is_read_changes_nothing(shown, catalog):
    before = states(catalog)
    for path in ("/outbox/retry", "/outbox/retry-all"):
        connection = http.client.HTTPConnection("127.0.0.1", shown.site.port, timeout=30)
        connection.request("GET", path)
        assert connection.getresponse().status == 405
        connection.close()
    assert states(catalog) == before
