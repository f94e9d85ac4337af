"""Pages that change by themselves: the first event at once, another after each change that shows, an end with the service."""

import http.client
import threading
import time
from types import SimpleNamespace

import pytest

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.arrivals import announce
from dicom_pipeline.config import Settings
from dicom_pipeline.web.pages import live
from tests.peers.entries import SR, MadeReport, finish_next, ready_study
from tests.peers.programs import wait_until
from tests.peers.web import context_of, served


class Stream:
    """Events of one page as they come."""

    def __init__(self, port: int, target: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._connection.request("GET", target)
        self.answer = self._connection.getresponse()

    def event(self) -> str | None:
        """The next event, None at the end; comments are passed over."""
        lines = []
        while line := self.answer.readline().decode():
            if line == "\n" and lines:
                return "".join(lines)
            if line.startswith("data: "):
                lines.append(line.removeprefix("data: "))
        return None

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def place(tmp_path):
    """The served pages of a catalog, and another process's catalog (another object, with connections of its own)."""
    catalog, other = Catalog(tmp_path / "catalog.sqlite"), Catalog(tmp_path / "catalog.sqlite")
    settings = Settings(spool={"folder": tmp_path, "min_free_bytes": 0}, service={"web_port": 1})
    facts = []
    context = context_of(settings, catalog, facts)
    with served(context) as site:
        yield SimpleNamespace(port=site.port, other=other, context=context, facts=facts)
    other.close()
    catalog.close()


def test_a_study_comes_and_finishes_on_the_page(place):
    stream = Stream(place.port, "/live/studies")
    assert stream.answer.headers["Content-Type"].startswith("text/event-stream")
    assert stream.answer.headers["Cache-Control"] == "no-store"
    assert "No study has come yet." in stream.event()
    ready_study(place.other, "1.2.3")
    while "ready</span>" not in (event := stream.event()):
        assert "receiving</span>" in event  # between two transactions
    assert "/studies/1.2.3" in event
    finish_next(place.other, [MadeReport("2.25.1", SR, "r.dcm", "ff", ("pacs",))], at=3.0)
    while "done</span>" not in (event := stream.event()):
        assert "processing</span>" in event
    assert "1 pending</span>" in event
    stream.close()
    assert place.facts == []  # the page itself was told to the audit trail, its changes are not


def test_a_page_is_sent_again_only_where_it_changed(place, monkeypatch):
    monkeypatch.setattr(live, "KEEP_ALIVE_SECONDS", 0.2)
    ready_study(place.other, "1.2")
    stream = Stream(place.port, "/live/studies/1.2")
    assert "ready</span>" in stream.event()
    announce(place.other, "1.3", 5, 1.0)  # another study
    comments = [line for line in (stream.answer.readline() for _ in range(8)) if line != b"\n"]
    assert comments == [b": alive\n"] * 4  # two seconds of silence, in which the catalog was looked at eight times
    announce(place.other, "1.2", 7, 1.0)
    assert "1 / 7" in stream.event()
    stream.close()


def test_the_outbox_changes_too(place):
    stream = Stream(place.port, "/live/outbox?state=pending")
    assert "No such delivery." in stream.event()
    ready_study(place.other, "1.2")
    finish_next(place.other, [MadeReport("2.25.1", SR, "r.dcm", "ff", ("pacs",))], at=3.0)
    while "not tried yet" not in stream.event():
        pass
    stream.close()


def test_a_stream_ends_with_the_service(place):
    streams = [Stream(place.port, "/live/studies") for _ in range(3)]
    for stream in streams:
        stream.event()
    began = time.monotonic()
    place.context.stop.set()
    assert [stream.event() for stream in streams] == [None, None, None]
    assert time.monotonic() - began < 60
    for stream in streams:
        stream.close()


def test_nobody_looks_when_no_page_is_open(place):
    def looking():
        return [thread for thread in threading.enumerate() if thread.name == "changes"]

    streams = [Stream(place.port, "/live/studies") for _ in range(3)]
    for stream in streams:
        stream.event()
    assert len(looking()) == 1  # one looks for all
    for stream in streams:
        stream.close()
    wait_until(lambda: not looking(), 60, "a thread still looks at the catalog")


def test_so_many_pages_and_no_more_are_kept_up_to_date(place, monkeypatch):
    monkeypatch.setattr(live, "MAX_STREAMS", 2)
    streams = [Stream(place.port, "/live/studies") for _ in range(2)]
    for stream in streams:
        stream.event()
    more = Stream(place.port, "/live/studies")
    assert (more.answer.status, more.answer.headers["Retry-After"]) == (503, "60")
    for stream in (*streams, more):
        stream.close()


def test_two_browsers_on_a_page_share_the_work(place, monkeypatch):
    from dicom_pipeline.web.pages import routes

    rendered = []
    fragment = routes.fragment
    monkeypatch.setattr(routes, "fragment", lambda *args, **values: rendered.append(args) or fragment(*args, **values))
    streams = [Stream(place.port, "/live/studies") for _ in range(4)]
    for stream in streams:
        stream.event()
    rendered.clear()
    ready = threading.Barrier(4)

    def follow(stream):
        ready.wait()
        while "receiving</span>" not in stream.event():
            pass

    threads = [threading.Thread(target=follow, args=(stream,)) for stream in streams]
    for thread in threads:
        thread.start()
    with place.other.transaction() as run:
        run.execute("touch_study", study_instance_uid="1.2", at=1.0)
    for thread in threads:
        thread.join(60)
    assert 1 <= len(rendered) < 4
    for stream in streams:
        stream.close()


def test_a_question_that_cannot_be_meant_is_no_stream(place):
    for target in ("/live/studies?state=x", "/live/studies/no-uid", "/live/studies/1.2", "/live/outbox?page=0"):
        assert Stream(place.port, target).answer.status in (400, 404), target


def test_an_event_may_have_lines():
    assert live.event_of("a\nb\n") == b"data: a\ndata: b\n\n"
