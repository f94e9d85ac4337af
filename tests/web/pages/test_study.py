"""The page of a study: what it shows of real results, that no received text becomes markup, and its forms."""

import http.client
import json
from urllib.parse import urlencode

import pytest

from dicom_pipeline.audit import Accessed
from dicom_pipeline.catalog.browsing.outbox_list import study_entries
from dicom_pipeline.catalog.outbox import due_delivery, record_set_aside
from dicom_pipeline.catalog.studies import study_account
from dicom_pipeline.domain.life import DeliveryState
from tests.web.pages.conftest import MARKUP, SENDER, work

SCRIPTS = ["/static/pages.js", "/static/vendor/htmx.min.js", "/static/vendor/hx-sse.min.js"]
WORDS = "the peer said <script>boom(3)</script> & no"


@pytest.fixture(scope="module", autouse=True)
def set_aside(place):
    """Deliveries that a peer refused with markup in its words."""
    while (due := due_delivery(place.catalog, "files", 2e9)) is not None:
        record_set_aside(place.catalog, due, status="0xA900", message=WORDS, at=1_700_000_100.0)


def test_programs_get_json_and_browsers_get_a_page(pages):
    target = f"/studies/{pages.place.uid}"
    status, account = pages.site.ask("GET", target)
    assert (status, account["study_instance_uid"]) == (200, pages.place.uid)
    assert pages.site.ask("GET", target, headers={"Accept": "*/*"})[1] == account
    assert pages.site.ask("GET", target, headers={"Accept": "application/json"})[1] == account
    page = pages.browser.get(target)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert pages.browser.get("/studies/1.2.3").status == 404
    assert pages.browser.get("/studies/no-uid").status == 400
    assert "no instance of this study" in pages.browser.get("/studies/1.2.3").text


def test_the_page_says_what_came_of_the_study(pages):
    page = pages.browser.get(f"/studies/{pages.place.uid}")
    account = study_account(pages.place.catalog, pages.place.uid)
    (revision,) = account["revisions"]
    assert (revision["used"], revision["excluded"]) == (2, 1)
    for words in (
        "done processed; its report is made",
        "Received 3 Used 2 Excluded 1 Failed 0",
        "1: is a localizer (scout), not part of the stack localizer",
        "First instance received",
        "Last instance received",
        "Revision 1 complete",
        "nothing came for a while",
        "Revision 1: done",
        "Set aside for files (revision 1)",
        "Brain lesion",
        "Research use only, not for diagnosis.",
        "Report, revision 1",
        "encoder",
        revision["fingerprint"],
    ):
        assert words in page.text, words
    bars = [values for tag, values in page.tags if tag == "rect"]
    assert bars
    assert all(0 <= float(bar["width"]) <= 100 for bar in bars)
    (sheet,) = [values for tag, values in page.tags if tag == "img"]
    status, picture = pages.site.ask("GET", sheet["src"])
    assert (status, picture[:4]) == (200, b"\x89PNG")


def test_received_texts_stay_texts(pages):
    """Every text of a header, an association or a peer that any page shows."""
    uid = pages.place.uid
    fragment = first_event(pages, f"/live/studies/{uid}")
    searched = f"/?{urlencode({'q': MARKUP['SeriesDescription']})}"
    for target in ("/", f"/studies/{uid}", "/outbox", searched):
        page = pages.browser.get(target)  # the parser refuses handlers, styles and other scripts than the package's
        assert page.status == 200
        assert not {tag for tag, _ in page.tags} & {"i", "u", "style"}
        assert [values["src"] for tag, values in page.tags if tag == "script"] == SCRIPTS
        assert all(values["src"].startswith("/studies/") for tag, values in page.tags if tag == "img")
        assert "x" not in [values.get("id") for _, values in page.tags]
        assert "Secret" not in page.html
    page = pages.browser.get(f"/studies/{uid}")
    for text in (MARKUP["StudyDescription"], MARKUP["SeriesDescription"], MARKUP["AccessionNumber"], SENDER, WORDS):
        assert text in page.text, text
        assert text not in page.html
        assert text not in fragment
    assert SENDER in pages.browser.get("/").text
    assert MARKUP["AccessionNumber"] in pages.browser.get("/").text
    assert WORDS in pages.browser.get("/outbox").text
    assert MARKUP["SeriesDescription"] in [values.get("value") for _, values in pages.browser.get(searched).tags]


def first_event(pages, target: str) -> str:
    """What the first event of a page holds."""
    connection = http.client.HTTPConnection("127.0.0.1", pages.site.port, timeout=30)
    connection.request("GET", target)
    answer, lines = connection.getresponse(), []
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    while (line := answer.readline().decode()) != "\n":
        assert line.startswith("data: ")
        lines.append(line.removeprefix("data: "))
    connection.close()
    return "".join(lines)


def test_showing_a_study_is_told_to_the_audit_trail(pages):
    pages.browser.get(f"/studies/{pages.place.uid}")
    (fact,) = pages.facts
    assert isinstance(fact, Accessed)
    assert (fact.study_instance_uid, fact.what, fact.user.address) == (pages.place.uid, "page", "127.0.0.1")


def test_a_delivery_of_the_study_is_retried(pages):
    uid, target = pages.place.uid, f"/studies/{pages.place.uid}"
    (entry,) = study_entries(pages.place.catalog, uid, 10)
    form = pages.browser.get(target).form("/outbox/retry", report=entry.report_uid)
    page = pages.browser.send(form)
    assert "The delivery is pending again." in page.text
    (entry,) = study_entries(pages.place.catalog, uid, 10)
    assert entry.state is DeliveryState.PENDING
    assert "no longer as this page showed it" in pages.browser.send(form).text
    record_set_aside(
        pages.place.catalog, due_delivery(pages.place.catalog, "files", 2e9), status="", message=WORDS, at=2e9
    )


def test_a_study_is_processed_again_and_its_revisions_stand_side_by_side(pages):
    target = f"/studies/{pages.place.uid}"
    form = pages.browser.get(target).form(f"{target}/process")
    page = pages.browser.send(form)
    assert "Another revision of the study is ready" in page.text
    assert not [each for each in page.forms if each["action"].endswith("/process")]  # one is on its way
    assert "still on its way" in pages.browser.send(form).text
    work(pages.place)
    rows = {row[0]: row[1:] for row in pages.browser.get(target).rows if len(row) == 3}
    assert rows["State"] == ["done", "done"]
    assert rows["Why then"] == ["quiet", "asked"]
    assert rows["Used"] == ["2", "2"]
    scores = [row for name, row in rows.items() if name.startswith("Brain lesion")]
    assert [len(set(row)) for row in scores] == [1]  # the same images and settings, the same score
    status, made = pages.site.ask("POST", f"{target}/process")  # programs are answered as before
    assert (status, made["revision"]) == (202, 3)
    work(pages.place)


def test_the_results_folder_may_be_of_another_version_or_gone(pages):
    target, uid = f"/studies/{pages.place.uid}", pages.place.uid
    folder = next(path.parent for path in pages.place.folder.rglob("plan.json") if uid in path.read_text())
    newest = max(folder.parent.iterdir(), key=lambda path: path.name)
    plan, scores = newest / "plan.json", newest / "scores.csv"
    kept = plan.read_bytes(), scores.read_bytes()
    document = json.loads(kept[0])
    for study in document["studies"]:
        del study["name"]
    for content in (b"", b"[]", b"\xff", json.dumps(document).encode()):
        plan.write_bytes(content)
        scores.write_bytes(content)
        page = pages.browser.get(target)
        assert page.status == 200
        assert "Study …" in page.text
    for path in newest.rglob("*.dcm"):
        path.unlink()
    page = pages.browser.get(target)
    assert (page.status, "Report, revision" in page.text) == (200, False)
    plan.write_bytes(kept[0])
    scores.write_bytes(kept[1])
