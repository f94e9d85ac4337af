"""Who may see a page: a browser's session, begun with the token of the service. Other sites' requests web.admission refuses.

A session needs no memory of ours: its cookie holds until when it is valid, signed with the token, so that another token ends
every session.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, quote, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dicom_pipeline.web.bodies import read_body

COOKIE = "dicom_pipeline_session"
SESSION_SECONDS = 12 * 3600
"""A working day; a browser then signs in again."""

MAX_FORM_BYTES = 16 * 1024
SIGN_IN = "/sign-in"
STATIC = "/static/"


class Sessions:
    """Cookies that stand for the token. token: of the service, None where it has none and no session is needed."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    @property
    def needed(self) -> bool:
        """Whether a browser must sign in."""
        return self._token is not None

    def accepts(self, given: str) -> bool:
        """Whether this is the token."""
        return self._token is not None and hmac.compare_digest(given.encode(), self._token.encode())

    def made(self, now: float) -> str:
        """The value of a new session's cookie. now: seconds since 1970."""
        until = str(int(now) + SESSION_SECONDS)
        return f"{until}.{self._signature(until)}"

    def holds(self, headers: Mapping[str, str], now: float) -> bool:
        """Whether a request has the cookie of a session that is valid."""
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        until, _, signature = (morsel.value if morsel else "").partition(".")
        if not (until.isascii() and until.isdecimal() and len(until) < 20) or self._token is None:
            return False
        return hmac.compare_digest(signature.encode(), self._signature(until).encode()) and now < int(until)

    def _signature(self, until: str) -> str:
        return hmac.new((self._token or "").encode(), f"session until {until}".encode(), "sha256").hexdigest()


def wants_html(headers: Mapping[str, str]) -> bool:
    """Whether a request comes from a browser that shows a page; programs say */* or application/json."""
    return "text/html" in headers.get("accept", "") and "hx-request" not in headers


def to_sign_in(path: str, query: str) -> Response:
    """Send a browser to the page where it signs in, from where it comes back."""
    target = f"{path}?{query}" if query else path
    return RedirectResponse(f"{SIGN_IN}?next={quote(target, safe='')}", 303)


def local_path(text: str, otherwise: str = "/") -> str:
    """A path on this site that a request names; `otherwise` where it names anything else."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return otherwise
    fine = text.startswith("/") and not text.startswith("//") and not (parts.scheme or parts.netloc)
    return text if fine and "\\" not in text and text.isprintable() else otherwise


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form that a browser sent. Raises HTTPException: 413 beyond MAX_FORM_BYTES, 408."""
    body = await read_body(request, MAX_FORM_BYTES)
    return dict(parse_qsl(body.decode("utf-8", "replace")))


def begin_session(response: Response, sessions: Sessions, request: Request) -> None:
    """Set the cookie of a new session, for this site's own pages alone and out of reach of scripts."""
    secure = request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"
    response.set_cookie(
        COOKIE, sessions.made(time.time()), SESSION_SECONDS, httponly=True, samesite="strict", secure=secure
    )


def end_session(response: Response) -> None:
    """Remove the cookie."""
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
