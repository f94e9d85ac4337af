"""The list of studies as a page: its rows, what the URL asks for, and its pages."""

import time
from types import SimpleNamespace

import pytest

from dicom_pipeline.audit import Queried
from dicom_pipeline.catalog.arrivals import Received, announce
from dicom_pipeline.catalog.outbox import due_delivery, record_set_aside
from dicom_pipeline.catalog.revisions import hold_study, make_revision
from dicom_pipeline.catalog.studies import record_accession_number
from dicom_pipeline.config import Settings
from tests.peers.entries import SR, MadeReport, finish_next, record_instance
from tests.peers.page import BrowserLike
from tests.peers.web import context_of, served

NOON = time.mktime((2026, 3, 5, 12, 0, 0, 0, 0, -1))


def receive(catalog, study, count=1, at=NOON, sender="CT1", modality="CT"):
    for number in range(count):
        sop = f"{study}.{number}"
        record_instance(
            catalog,
            Received(sop, sop, study, f"{study}.99", "1.2.3", "1.2.4", sop, 10, sender, "127.0.0.1", "t", at, modality),
        )


@pytest.fixture
def shown(tmp_path, catalog):
    settings, facts = Settings(spool={"folder": tmp_path, "min_free_bytes": 0}, service={"web_port": 1}), []
    states = SimpleNamespace(ready=(True, {"status": "ready", "reasons": [], "silent": []}))
    with served(context_of(settings, catalog, facts, ready=lambda: states.ready)) as site:
        yield SimpleNamespace(browser=BrowserLike(site.port), facts=facts, site=site, states=states)


def rows(page):
    """First cell of each row -> the others."""
    return {row[0]: [" ".join(cell.split()) for cell in row[1:]] for row in page.rows[1:]}


def fill(catalog):
    """A study in each of several states."""
    receive(catalog, "1.1", 2, NOON)
    announce(catalog, "1.1", 7, NOON)
    receive(catalog, "1.2", 1, NOON + 1)
    hold_study(catalog, "1.2")
    receive(catalog, "1.3", 3, NOON + 2, "MR_2", "MR")
    make_revision(catalog, "1.3", NOON + 3, "quiet")
    finish_next(catalog, [MadeReport("2.25.3", SR, "r.dcm", "ff", ("a", "b"))], at=NOON + 4)
    record_set_aside(catalog, due_delivery(catalog, "a", 2e9), status="", message="no", at=NOON + 5)
    record_accession_number(catalog, "1.3", "A4711")


def test_an_empty_list_says_so(shown):
    page = shown.browser.get("/")
    assert (page.status, "No study has come yet." in page.text) == (200, True)
    assert "No study fits." in shown.browser.get("/?q=1.2").text


def test_each_study_is_a_row(shown, catalog):
    fill(catalog)
    found = rows(shown.browser.get("/"))
    day = "2026-03-05 12:00:0"
    assert found == {
        "A47111.3": ["done", "MR_2", "MR", f"{day}2", "3", "3", "0", "0", "1 pending 1 set aside"],
        "1.2": ["held", "CT1", "CT", f"{day}1", "1", "–", "–", "–", "–"],
        "1.1": ["receiving", "CT1", "CT", f"{day}0", "2 / 7", "–", "–", "–", "–"],
    }
    assert "3 studies, newest first; 1 of them arriving or being processed." in shown.browser.get("/").text


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=1.3", ["A47111.3"]),
        ("q=a47", ["A47111.3"]),
        ("q=mr_", ["A47111.3"]),
        ("q=+1.2+", ["1.2"]),
        ("q=ct1&state=held", ["1.2"]),
        ("state=arriving", ["1.1"]),
        ("state=done", ["A47111.3"]),
        ("state=set-aside", ["A47111.3"]),
        ("state=failed", []),
        ("day=2026-03-05", ["A47111.3", "1.2", "1.1"]),
        ("day=2026-03-06", []),
        ("day=2026-03-04", []),
        ("page=2", []),
    ],
)
def test_the_url_says_what_is_listed(shown, catalog, query, found):
    fill(catalog)
    page = shown.browser.get(f"/?{query}")
    assert list(rows(page)) == found
    (live,) = [values["hx-sse:connect"] for _, values in page.tags if "hx-sse:connect" in values]
    assert live == "/live/studies?" + query.replace("+1.2+", "1.2")


@pytest.mark.parametrize(
    "query", ["state=x", "day=today", "day=0001-01-01", "page=0", "page=x", "page=99999999999", f"q={'1' * 101}"]
)
def test_what_cannot_be_meant_is_a_page_that_says_so(shown, query):
    page = shown.browser.get(f"/?{query}")
    assert page.status == 400
    assert "This cannot be shown" in page.text
    assert "expected" in page.text


def test_filters_keep_what_was_searched(shown, catalog):
    fill(catalog)
    page = shown.browser.get("/?q=ct1&day=2026-03-05&state=held")
    assert "/?q=ct1&day=2026-03-05" in page.links()
    assert "/?q=ct1&day=2026-03-05&state=done" in page.links()
    fields = {values["name"]: values["value"] for tag, values in page.tags if tag == "input"}
    assert fields == {"q": "ct1", "day": "2026-03-05", "state": "held"}


def test_a_long_list_has_pages(shown, catalog):
    with catalog.transaction() as run:
        for number in range(120):
            run.execute("touch_study", study_instance_uid=f"1.{number}", at=NOON + number)
    target, seen = "/?state=arriving", []
    while True:
        page = shown.browser.get(target)
        seen += rows(page)
        following = [values["href"] for tag, values in page.tags if tag == "a" and values.get("rel") == "next"]
        if not following:
            break
        (target,) = following
    assert seen == [f"1.{number}" for number in reversed(range(120))]
    assert target == "/?state=arriving&page=3"
    (before,) = [values["href"] for tag, values in page.tags if tag == "a" and values.get("rel") == "prev"]
    assert before == "/?state=arriving&page=2"


def test_a_service_that_cannot_work_says_so_on_top(shown):
    shown.states.ready = (False, {"status": "not-ready", "reasons": ["the worker is down"], "silent": []})
    assert "The service cannot do all of its work. the worker is down." in shown.browser.get("/").text


def test_a_search_is_told_to_the_audit_trail(shown):
    shown.browser.get("/")
    assert shown.facts == []
    shown.browser.get("/?q=A4711")
    (fact,) = shown.facts
    assert (type(fact), fact.query) == (Queried, "/?q=A4711")


def test_a_catalog_that_does_not_answer_is_a_page_that_says_so(shown, catalog):
    catalog.path.rename(catalog.path.with_name("elsewhere"))
    page = shown.browser.get("/")
    assert (page.status, "catalog" in page.text) == (503, True)
