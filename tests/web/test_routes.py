"""The routes: who is answered, what a wrong request is told, and that a fault of ours lets no words out."""

import ast
import re
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from starlette.datastructures import Headers

from dicom_pipeline.config import Settings
from dicom_pipeline.errors import ConfigError
from dicom_pipeline.web.admission import Admission
from dicom_pipeline.web.app import application, check_web
from dicom_pipeline.web.pages.access import Sessions
from dicom_pipeline.web.server import listening_socket
from tests.peers.web import context_of, served

ROOT = Path(__file__).parents[2]


def settings_of(tmp_path, **changes):
    sections = {"spool": {"folder": tmp_path, "min_free_bytes": 0}, "service": {"web_port": 1}}
    for name, values in changes.items():
        sections[name] = sections.get(name, {}) | values
    return Settings(**sections)


@pytest.fixture
def context(tmp_path, catalog):
    return context_of(settings_of(tmp_path), catalog)


@pytest.fixture
def site(context):
    with served(context) as site:
        yield site


def test_health_ready_and_status(site):
    assert site.ask("GET", "/health") == (200, {"status": "ok"})
    assert site.ask("GET", "/ready") == (200, {"status": "ready"})
    status, account = site.ask("GET", "/status?last=0")
    assert (status, account["service"], account["revisions"]) == (200, {"state": "running"}, [])
    assert site.ask("GET", "/status?last=x")[0] == 400


def test_what_is_not_ready_is_503(tmp_path, catalog):
    with served(context_of(settings_of(tmp_path), catalog, ready=lambda: (False, {"status": "not-ready"}))) as site:
        assert site.ask("GET", "/ready") == (503, {"status": "not-ready"})


@pytest.mark.parametrize(
    ("method", "target", "status", "words"),
    [
        ("GET", "/nothing", 404, "no such route"),
        ("GET", "/studies/1.2/nothing", 404, "no such route"),
        ("GET", "/studies/1.2/process", 405, "takes POST"),
        ("POST", "/studies/1.2/scores", 405, "takes GET"),
        ("GET", "/studies/not-a-uid", 400, "Study Instance UID"),
        ("GET", "/studies/1.2", 404, "no instance of this study"),
        ("GET", "/studies/1.2/report", 404, "no results"),
        ("POST", "/studies/1.2/process", 404, "no instance of this study"),
        ("PUT", "/studies/1.2/expected", 400, "expected"),
        ("GET", "/search", 400, "text=WORDS"),
        ("GET", "/search?text=lung&top=0", 400, "top=N"),
        ("GET", "/search?text=lung&level=other", 400, "level="),
        ("GET", "/search?text=lung", 503, "not ready"),
        ("GET", "/studies/%2e%2e%2fetc/report", 404, "no such route"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(site, method, target, status, words):
    answered, values = site.ask(method, target)
    assert answered == status
    assert words in values["error"]


def test_an_announcement_is_entered(site):
    status, account = site.ask("PUT", "/studies/1.2/expected", b'{"instances": 3}')
    assert (status, account["expected"], account["state"]) == (200, 3, "announced")
    for wrong in (b"{}", b'{"instances": true}', b'{"instances": 0}', b"\xff"):
        assert site.ask("PUT", "/studies/1.2/expected", wrong)[0] == 400


def test_a_search_without_a_store_is_refused(tmp_path, catalog):
    with served(context_of(settings_of(tmp_path, store={"write": False}), catalog)) as site:
        assert site.ask("GET", "/search?text=lung")[0] == 409


def test_a_search_is_asked_of_the_worker(tmp_path, catalog):
    asked, facts = [], []
    context = context_of(settings_of(tmp_path), catalog, facts, ask=lambda q: asked.append(q) or {"found": []})
    with served(context) as site:
        assert site.ask("GET", "/search?text=lung&top=3&level=study") == (200, {"found": []})
    assert asked == [{"text": "lung", "level": "study", "where": None, "top": 3}]
    assert [type(fact).__name__ for fact in facts] == ["Queried"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://example.org"},
        {"Origin": "null"},
        {"Origin": "http://[::"},
        {"Host": "example.org"},
        {"Host": "[::"},
        {"Host": "127.0.0.1.example.org"},
        {"Host": "10.0.0.1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_pages_of_other_sites_are_refused_on_every_route(site, headers):
    for target in ("/studies/1.2", "/health", "/ready", "/status", "/nothing"):
        assert site.ask("GET", target, headers=headers)[0] == 403


def test_our_own_pages_are_served_under_each_name_that_is_ours(tmp_path, catalog):
    settings = settings_of(tmp_path, service={"web_names": ["pacs.example.org"]})
    with served(context_of(settings, catalog)) as site:
        for host in ("localhost", "127.0.0.1:99", "[::1]:99", "pacs.example.org", "PACS.example.org:443"):
            headers = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
            assert site.ask("GET", "/studies/1.2", headers=headers)[0] == 404, host
        assert site.ask("GET", "/health", headers={"Host": "pacs.example.org", "Origin": "http://localhost"})[0] == 403


def test_beyond_loopback_only_a_token_opens_more_than_health(tmp_path):
    for service in ({"web_host": "0.0.0.0"}, {"web_host": "0.0.0.0", "web_token_env": "WEB_TOKEN"}):
        sessions = Sessions("secret" if "web_token_env" in service else None)
        app = Admission(None, settings_of(tmp_path, service=service).service, sessions)
        at_address = Headers({"host": "10.0.0.1:8448"})
        assert app.refusal("GET", "/health", at_address) is None
        assert app.refusal("GET", "/status", at_address).status == (401 if "web_token_env" in service else 403)
        assert app.refusal("GET", "/health", Headers({"host": "evil.example.org"})).status == 403
    bearer = Headers({"host": "any.name", "authorization": "Bearer secret"})
    assert app.refusal("GET", "/status", bearer) is None


def test_with_a_token_only_its_bearer_is_answered(tmp_path, catalog, monkeypatch):
    monkeypatch.setenv("WEB_TOKEN", "secret")
    with served(context_of(settings_of(tmp_path, service={"web_token_env": "WEB_TOKEN"}), catalog)) as site:
        assert site.ask("GET", "/studies/1.2")[0] == 401
        assert site.ask("GET", "/studies/1.2", headers={"Authorization": "Bearer other"})[0] == 401
        assert site.ask("GET", "/studies/1.2", headers={"Authorization": "secret"})[0] == 401
        assert site.ask("GET", "/studies/1.2", headers={"Authorization": "Basic secret"})[0] == 401
        assert site.ask("GET", "/studies/1.2", headers={"Authorization": "Bearer secret"})[0] == 404
        assert site.ask("GET", "/status")[0] == 200


def test_a_token_that_is_not_set_is_an_error_of_the_settings(tmp_path, catalog, monkeypatch):
    monkeypatch.delenv("WEB_TOKEN", raising=False)
    settings = settings_of(tmp_path, service={"web_token_env": "WEB_TOKEN"})
    with pytest.raises(ConfigError, match="WEB_TOKEN is not set"):
        application(context_of(settings, catalog))
    with pytest.raises(ConfigError, match="WEB_TOKEN is not set"):
        check_web(settings)


def test_a_port_in_use_is_an_error_of_the_settings(tmp_path):
    with listening_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"service.web_port {port} on 127.0.0.1 cannot be used"):
            check_web(settings_of(tmp_path, service={"web_port": port}))


def test_a_fault_of_ours_is_an_answer_without_words(tmp_path, catalog, caplog):
    def fail():
        raise ValueError("Secret^Person")

    with served(context_of(settings_of(tmp_path), catalog, ready=fail)) as site:
        status, values = site.ask("GET", "/ready")
        assert (status, "Secret" in str(values)) == (500, False)
        assert site.ask("GET", "/health")[0] == 200
    assert "a request was not answered" in caplog.text


def test_a_body_where_none_is_expected_is_limited(site):
    status, values = site.ask("PUT", "/studies/1.2/expected", b"x" * 200_000)
    assert (status, "request body exceeds" in values["error"]) == (413, True)
    chunked = b"Transfer-Encoding: chunked\r\n\r\n" + b"ffff\r\n"
    for method in (b"GET", b"HEAD", b"DELETE"):
        for rest in (b"Content-Length: 700000000\r\n\r\n", chunked):
            answer = site.raw(method + b" /health HTTP/1.1\r\nHost: 127.0.0.1\r\n" + rest, finish=False)
            assert answer.startswith(b"HTTP/1.1 413 "), (method, rest)
            assert b"connection: close" in answer.lower()


def test_a_body_that_does_not_come_is_given_up(site, monkeypatch):
    monkeypatch.setattr("dicom_pipeline.web.bodies.BODY_SECONDS", 0.3)
    head = b"PUT /studies/1.2/expected HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 30\r\n\r\n{"
    assert site.raw(head, finish=False).startswith(b"HTTP/1.1 408 ")


def test_an_upload_slower_than_the_least_rate_is_given_up(site, monkeypatch):
    monkeypatch.setattr("dicom_pipeline.web.uploads.RATE_GRACE_SECONDS", 0.2)
    with socket.create_connection(("127.0.0.1", site.port), timeout=30) as connection:
        connection.sendall(b"POST /instances HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9999\r\n\r\n")
        with suppress(OSError):  # it may be over before the last of them
            for _ in range(100):
                connection.sendall(b"x")
                time.sleep(0.05)
        assert connection.recv(1000).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    "head",
    [
        b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"POST /instances HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: gzip\r\n\r\nxx",
        b"POST /instances HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"y" * 500_000,
        b"nonsense\r\n\r\n",
    ],
)
def test_what_is_no_request_is_400_and_the_end(site, head):
    answer = site.raw(head, finish=False)
    assert re.match(rb"HTTP/1.1 (400|431|501) ", answer)
    assert site.ask("GET", "/health")[0] == 200


def test_every_route_is_in_the_docs(context):
    text = (ROOT / "docs" / "service.md").read_text()
    app = application(context)._app
    assert len(app.routes) > 12
    for route in app.routes:
        assert f"{route.path}`" in text or f"{route.path}[?" in text or f"{route.path}?" in text, route.path


def test_the_web_process_loads_no_model():
    code = "import sys, dicom_pipeline.web.app; print([m for m in ('torch', 'transformers', 'highdicom') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_nothing_of_the_package_is_served_by_http_server():
    for path in (ROOT / "dicom_pipeline").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert "http.server" not in names, path
