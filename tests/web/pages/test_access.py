"""Who is shown a page: sessions, requests of other sites, and the headers that hold a browser to it."""

import hashlib
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.config import Settings
from dicom_pipeline.web.pages.access import COOKIE, SESSION_SECONDS, Sessions, local_path
from dicom_pipeline.web.pages.rendering import data_folder
from tests.peers.page import BROWSER, BrowserLike
from tests.peers.web import context_of, served

PATHS = ("/", "/outbox", "/sign-in", "/nothing-like-this?q=", "/?state=wrong")


def settings_of(tmp_path, **service):
    return Settings(spool={"folder": tmp_path, "min_free_bytes": 0}, service={"web_port": 1, **service})


@pytest.fixture
def browser(tmp_path):
    catalog = Catalog(tmp_path / "catalog.sqlite")
    with served(context_of(settings_of(tmp_path), catalog)) as site:
        yield BrowserLike(site.port)
    catalog.close()


@pytest.fixture
def guarded(tmp_path, monkeypatch):
    """A service with the token "secret"."""
    monkeypatch.setenv("WEB_TOKEN", "secret")
    catalog = Catalog(tmp_path / "catalog.sqlite")
    with served(context_of(settings_of(tmp_path, web_token_env="WEB_TOKEN"), catalog)) as site:
        yield BrowserLike(site.port)
    catalog.close()


@pytest.mark.parametrize(
    "path", ["/", "/outbox", "/sign-in", "/?state=wrong", "/studies/1.2", "/outbox/give-up?report=1"]
)
def test_every_page_holds_the_browser_to_itself(browser, path):
    headers = browser.get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "img-src", "connect-src", "form-action")} == {"'self'"}
    assert (policy["frame-ancestors"], policy["base-uri"]) == ("'none'", "'none'")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"


def test_all_that_a_page_needs_is_served_from_here(browser):
    needed = set()
    for path in ("/", "/outbox", "/sign-in"):
        page = browser.get(path)
        needed |= {values["src"] for tag, values in page.tags if tag == "script"}
        needed |= {values["href"] for tag, values in page.tags if tag == "link"}
    assert len(needed) == 5
    for path in needed:
        answer = browser.get(path)
        assert (answer.status, answer.headers["x-content-type-options"]) == (200, "nosniff")
    for path in ("/static/../app.py", "/static/%2e%2e/%2e%2e/web/app.py", "/static/", "/static/vendor"):
        assert browser.get(path).status == 404


def test_what_others_wrote_is_as_they_published_it():
    folder = data_folder("static") / "vendor"
    sums = dict(re.findall(r"^    ([0-9a-f]{64})  (\S+)$", (folder / "README.md").read_text(), re.MULTILINE))
    found = {
        hashlib.sha256(path.read_bytes()).hexdigest(): path.name
        for path in folder.iterdir()
        if path.name != "README.md"
    }
    assert found == sums
    for name in ("pages.css", "pages.js"):
        assert not re.search(r"https?://", Path(data_folder("static") / name).read_text())


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://example.org"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://[::"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "example.org", "Origin": "http://example.org"},
    ],
)
def test_a_form_of_another_site_is_refused(browser, headers):
    assert browser.post("/outbox/retry-all", {}).status == 303
    assert browser.post("/outbox/retry-all", {}, **headers).status == 403


def test_a_program_without_a_browser_may_send_a_form(browser):
    """As it may send any other request of this machine: what a browser does not name cannot be another site's."""
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", browser.port, timeout=30)
    connection.request("POST", "/outbox/retry-all", "")
    assert connection.getresponse().status == 303
    connection.close()


def test_without_a_token_nobody_signs_in(browser):
    assert "Sign out" not in browser.get("/").text
    answer = browser.post("/sign-in", {"token": "x", "next": "/outbox"})
    assert (answer.status, answer.headers["location"], browser.cookie) == (303, "/outbox", "")


def test_a_browser_signs_in_with_the_token_and_out_again(guarded):
    answer = guarded.get("/?q=a%20b&state=done")
    assert (answer.status, answer.headers["location"]) == (303, "/sign-in?next=%2F%3Fq%3Da%2520b%26state%3Ddone")
    page = guarded.get(answer.headers["location"])
    form = page.form("/sign-in")
    assert form["fields"]["next"] == "/?q=a%20b&state=done"
    wrong = guarded.send(form, token="Secret")
    assert (wrong.status, "not the token" in wrong.text, guarded.cookie) == (403, True, "")
    assert "secret" not in wrong.html
    answer = guarded.post("/sign-in", form["fields"] | {"token": "secret"})
    assert (answer.status, answer.headers["location"]) == (303, "/?q=a%20b&state=done")
    flags = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/", f"max-age={SESSION_SECONDS}"} <= flags
    assert "secret" not in answer.headers["set-cookie"].split(";")[0]
    assert guarded.get("/").status == 200
    assert guarded.get("/studies/1.2").status == 404
    assert guarded.post("/outbox/retry-all", {}).status == 303
    page = guarded.send(guarded.get("/").form("/sign-out"))
    assert "Token of the service" in page.text
    guarded.cookie = ""
    assert guarded.get("/").status == 303


def test_a_session_answers_no_other_site(guarded):
    guarded.send(guarded.get("/sign-in").form("/sign-in"), token="secret")
    for headers in ({"Origin": "http://example.org"}, {"Origin": "null"}, {"Sec-Fetch-Site": "same-site"}):
        assert guarded.post("/outbox/retry-all", {}, **headers).status == 403
        assert guarded.post("/studies/1.2/process", {}, Accept="*/*", **headers).status == 403
    assert guarded.post("/sign-in", {"token": "secret"}, Origin="http://example.org").status == 403


def test_without_a_session_programs_and_streams_are_told_401(guarded):
    for headers in ({"Accept": "*/*"}, {"Accept": "text/html, text/event-stream", "HX-Request": "true"}):
        assert guarded.get("/live/studies", **headers).status == 401
    assert guarded.post("/outbox/retry-all", {}).status == 401
    assert guarded.get("/", Authorization="Bearer secret").status == 200


def test_over_https_the_cookie_is_for_https_alone(guarded):
    answer = guarded.post("/sign-in", {"token": "secret"}, **{"X-Forwarded-Proto": "https"})
    assert "secure" in answer.headers["set-cookie"].lower()


def test_a_session_ends_in_time_and_with_its_token():
    sessions, now = Sessions("secret"), time.time()
    cookie = {"cookie": f"other=1; {COOKIE}={sessions.made(now)}"}
    assert sessions.holds(cookie, now)
    assert sessions.holds(cookie, now + SESSION_SECONDS - 2)
    assert not sessions.holds(cookie, now + SESSION_SECONDS + 1)
    assert not Sessions("another").holds(cookie, now)
    assert not Sessions(None).holds(cookie, now)
    until, signature = sessions.made(now).split(".")
    for value in (
        f"{int(until) + 1}.{signature}",
        f"{until}.",
        f".{signature}",
        until,
        "",
        f"{until}.{signature[:-1]}",
        "².",
    ):
        assert not sessions.holds({"cookie": f"{COOKIE}={value}"}, now), value
    assert not sessions.holds({"cookie": "\x00=;;"}, now)
    assert not sessions.holds({}, now)


@given(st.text(alphabet="/\\:?#@.ahtps\r\n\t []", max_size=12))
def test_a_local_path_leads_to_no_other_site(text):
    """A browser takes backslashes for slashes and drops tabs and line ends before it reads a URL."""
    path = local_path(text)
    seen = re.sub(r"[\t\r\n]", "", path).replace("\\", "/")
    assert seen.startswith("/")
    assert not seen.startswith("//")


def test_a_browser_says_what_it_wants():
    assert "text/html" in BROWSER["Accept"]
