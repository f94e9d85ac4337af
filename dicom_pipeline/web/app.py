"""Pages over HTTP: /health (the process runs), /ready (it can do its work), /status (the account as JSON), and the
routes of study_pages, which read and write results and so ask for more: see `Pages.refusal`.
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
import os
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from typing import Any
from urllib.parse import parse_qs, urlsplit

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.account import LAST_REVISIONS, service_account
from dicom_pipeline.config import Settings
from dicom_pipeline.errors import CatalogError, ConfigError
from dicom_pipeline.service.auditing import http_access
from dicom_pipeline.service.health import States, readiness
from dicom_pipeline.service.status_file import standing
from dicom_pipeline.service.wiring import record_of
from dicom_pipeline.web.studies import Answer, StudyPages

log = logging.getLogger(__name__)

REQUEST_SECONDS = 60.0
"""Silence after which a client is given up."""


class Pages:
    """The HTTP server in a thread; none where service.web_port is not set.

    owner: the run of the service; states: of its processes. Raises ConfigError for a token not there.
    """

    def __init__(self, settings: Settings, catalog: Catalog, owner: str, states: States = dict) -> None:
        section = settings.service
        self._settings = settings
        self._states = states
        self._record = record_of(settings, "pages")
        self._address = (section.web_host, section.web_port)
        self._token = _token(section.web_token_env)
        self._catalog = catalog
        self._studies = StudyPages(settings, catalog, owner, self._record)
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        """Listen. Raises ConfigError where the port is taken."""
        host, port = self._address
        if port is None:
            return
        try:
            self._server = _Server((host, port), self._handler())
        except OSError as error:
            raise ConfigError(f"service.web_port {port} on {host} cannot be used: {error.strerror}") from error
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="pages", daemon=True).start()

    def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def answer(self, method: str, target: str, body: bytes, content_type: str, address: str) -> Answer:
        """The answer to a request that may be answered. target: path and query."""
        path = urlsplit(target).path
        if path == "/health":
            return Answer.of(200, {"status": "ok"})
        try:
            if path == "/ready":
                good, values = readiness(self._settings, self._catalog, self._states())
                answer = Answer.of(200 if good else 503, values)
            elif path == "/status":
                answer = self._status(target)
            else:
                answer = self._studies.answer(method, target, body, content_type, address)
                if access := http_access(method, target, answer.status, address):
                    self._record(access)
        except CatalogError as error:
            answer = Answer.of(503, {"error": str(error)})
        except OSError as error:
            answer = Answer.of(503, {"error": f"the disk refuses: {error.strerror}"})
        except Exception:  # the edge of a request: the client gets an answer, and the next request its turn
            log.exception("a request was not answered")
            answer = Answer.of(500, {"error": "unexpected; the service's log says where"})
        finally:
            self._catalog.close()
        return answer

    def _status(self, target: str) -> Answer:
        """The account; ?last=N lists so many revisions, the newest, 0 all."""
        text = parse_qs(urlsplit(target).query).get("last", [str(LAST_REVISIONS)])[-1]
        if not re.fullmatch(r"[0-9]{1,9}", text):
            return Answer.of(400, {"error": "last is no number"})
        account = service_account(self._catalog, int(text) or None)
        return Answer.of(200, {"service": standing(self._settings.spool.folder), **account})

    def refusal(self, path: str, headers: Any) -> Answer | None:
        """Why a request is not answered, None where it is.

        The study routes want the token where one is set. Without one they serve programs of this machine only: no address
        beyond loopback, and no page of another site in a browser (which names itself in Origin or Host).
        """
        if path in ("/health", "/ready", "/status"):
            return None
        if self._token is not None:
            given = str(headers.get("Authorization", "")).removeprefix("Bearer ")
            good = hmac.compare_digest(given.encode(), self._token.encode())
            return None if good else Answer.of(401, {"error": "expected Authorization: Bearer <token>"})
        if not is_loopback(self._address[0]):
            return Answer.of(403, {"error": "beyond loopback these pages need service.web_token_env"})
        host = urlsplit(f"//{headers.get('Host', '')}").hostname or ""
        if headers.get("Origin") or not is_loopback(host):
            return Answer.of(403, {"error": "not for pages of other sites"})
        return None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        pages = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = REQUEST_SECONDS

            def do_GET(self) -> None:
                self._respond("GET")

            def do_POST(self) -> None:
                self._respond("POST")

            def do_PUT(self) -> None:
                self._respond("PUT")

            def _respond(self, method: str) -> None:
                path = urlsplit(self.path).path
                answer = pages.refusal(path, self.headers)
                if answer is None:
                    body = read_body(self.rfile, self.headers, pages._studies.largest_body)
                    if body is None:
                        answer = Answer.of(413, {"error": "expected a body within listener.max_object_bytes"})
                    else:
                        kind = self.headers.get("Content-Type", "")
                        answer = pages.answer(method, self.path, body, kind, self.client_address[0])
                self.close_connection |= answer.status in (401, 403, 413)  # a body may be left unread
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.content_type)
                self.send_header("Content-Length", str(len(answer.body)))
                self.send_header("X-Content-Type-Options", "nosniff")
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, format: str, *args: Any) -> None:
                """A request line may hold a search: what was asked is for the audit trail, not for the log."""

        return Handler


class _Server(ThreadingHTTPServer):
    """Its own way to tell of an error would print the words of an exception, and the address of a client that went away."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        del request, client_address
        log.debug("a connection to the pages ended", exc_info=True)


def read_body(stream: BufferedIOBase, headers: Any, largest: int) -> bytes | None:
    """A request's body by its length or in chunks (RFC 9112 section 7.1); None where it is too large or cut short."""
    if headers.get("Transfer-Encoding", "").lower() != "chunked":
        length = headers.get("Content-Length", "0")
        if not length.isdigit() or int(length) > largest:
            return None
        body = stream.read(int(length))
        return body if len(body) == int(length) else None
    chunks: list[bytes] = []
    total = 0
    while True:
        line = stream.readline(64).split(b";")[0].strip()
        if not re.fullmatch(rb"[0-9a-fA-F]{1,8}", line):
            return None
        size = int(line, 16)
        total += size
        if total > largest:
            return None
        chunk = stream.read(size)
        if len(chunk) != size or stream.readline(2) != b"\r\n":
            return None
        if size == 0:
            return b"".join(chunks)
        chunks.append(chunk)


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _token(variable: str | None) -> str | None:
    if variable is None:
        return None
    value = os.environ.get(variable)
    if not value:
        raise ConfigError(f"service.web_token_env: the environment variable {variable} is not set")
    return value
