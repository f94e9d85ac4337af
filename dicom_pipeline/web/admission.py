"""Which requests are answered: by where they come from, what they carry and what they know, before a body is read."""

from __future__ import annotations

import ipaddress
import logging
import time
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dicom_pipeline.config import ServiceSection
from dicom_pipeline.web.answer import Answer
from dicom_pipeline.web.pages.access import SIGN_IN, STATIC, Sessions, to_sign_in, wants_html

log = logging.getLogger(__name__)

OPEN_PATHS = ("/health", "/ready")
"""What load balancers and monitors ask; it tells nothing of studies."""

OPEN_ON_THIS_MACHINE = (*OPEN_PATHS, "/status")

WITHOUT_BODY = ("GET", "HEAD", "DELETE", "OPTIONS")

CLOSED = "cross-origin requests are not allowed"


class Admission:
    """Refuses what may not be answered.

    The study routes want the token where one is set. Without one they serve programs of this machine only. No page of
    another site is served in a browser, which names itself in Origin and Sec-Fetch-Site, or, where a name of its own was made
    to lead here (DNS rebinding), in Host.
    """

    def __init__(self, app: ASGIApp, section: ServiceSection, sessions: Sessions) -> None:
        self._app = app
        self._on_this_machine = is_loopback(section.web_host)
        self._sessions = sessions
        self._names = frozenset(name.lower() for name in (*section.web_names, section.web_host))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI. An unexpected exception is logged without its words and answered 500."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = False

        async def send_with_headers(message: Message) -> None:
            nonlocal began
            if message["type"] == "http.response.start":
                began = True
                given = [pair for pair in message.get("headers", ()) if pair[0] != b"x-content-type-options"]
                message["headers"] = [*given, (b"x-content-type-options", b"nosniff")]
            await send(message)

        headers = Headers(scope=scope)
        refusal = self.refusal(scope["method"], scope["path"], headers)
        if refusal is not None:
            response = refusal.response(close=True)
            if refusal.status == 401 and scope["method"] == "GET" and wants_html(headers):
                response = to_sign_in(scope["path"], scope["query_string"].decode("latin-1"))
            await response(scope, receive, send_with_headers)
            return
        try:
            await self._app(scope, receive, send_with_headers)
        except ClientDisconnect:
            log.debug("client disconnected")
        except Exception:  # the edge of a request: the client gets an answer, and the next request its turn
            log.exception("a request was not answered")
            if not began:
                answer = Answer.of(500, {"error": "unexpected; the service's log says where"})
                await answer.response(close=True)(scope, receive, send_with_headers)

    def refusal(self, method: str, path: str, headers: Headers) -> Answer | None:
        """Why a request is not answered, None where it is."""
        return (
            _malformed(method, headers)
            or self._from_elsewhere(headers)
            or (None if path in self._open_paths else self._unknown(path, headers))
        )

    @property
    def _open_paths(self) -> Collection[str]:
        return OPEN_ON_THIS_MACHINE if self._on_this_machine else OPEN_PATHS

    def _from_elsewhere(self, headers: Headers) -> Answer | None:
        """Refuses requests that a browser makes for another site, on every route."""
        if self._has_token(headers):
            return None  # a browser sends no token for another site
        host = host_name(headers.get("host", ""))
        if not (host in self._names or is_loopback(host) or (not self._on_this_machine and _is_address(host))):
            return Answer.of(403, {"error": f"{CLOSED}, and service.web_names does not have this Host"})
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return Answer.of(403, {"error": CLOSED})
        origin = headers.get("origin")
        if origin is not None and _authority(origin) != headers.get("host", "").lower():
            return Answer.of(403, {"error": CLOSED})
        return None

    def _unknown(self, path: str, headers: Headers) -> Answer | None:
        """Refuses who does not have the token and has not signed in with it; without one, all but this machine."""
        if self._sessions.needed:
            asks_who = path == SIGN_IN or path.startswith(STATIC)
            known = asks_who or self._has_token(headers) or self._sessions.holds(headers, time.time())
            return None if known else Answer.of(401, {"error": "expected Authorization: Bearer <token>"})
        if not self._on_this_machine:
            return Answer.of(403, {"error": "beyond loopback these pages need service.web_token_env"})
        return None

    def _has_token(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self._sessions.accepts(given.strip())


def _malformed(method: str, headers: Headers) -> Answer | None:
    """Refuses what two readers could understand differently (RFC 9112 6.3), and a body where there may be none."""
    lengths, codings = headers.getlist("content-length"), headers.getlist("transfer-encoding")
    if len(lengths) > 1 or (lengths and codings) or (codings and [c.strip().lower() for c in codings] != ["chunked"]):
        return Answer.of(400, {"error": "one Content-Length, or Transfer-Encoding: chunked"})
    if method in WITHOUT_BODY and (codings or (lengths and lengths[0].strip() != "0")):
        return Answer.of(413, {"error": f"{method} takes no body"})
    return None


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def host_name(host: str) -> str:
    """The name or address in a Host header, without port and brackets; "" where it is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:  # a bracket that is never closed
        return ""


def _authority(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _is_address(host: str) -> bool:
    """A browser is led here under another site's name, never under an address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
