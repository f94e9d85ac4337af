"""The HTTP application: who may ask what, and which function answers. Starlette; runs in a process of its own.

Nothing here decodes pixels or holds a model: searches are asked of the worker, states are read from the service's status
file. Requests are answered in threads, so that the event loop never waits for a disk.
"""

from __future__ import annotations

import ipaddress
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dicom_pipeline.audit import Record, unrecorded
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.account import LAST_REVISIONS, service_account
from dicom_pipeline.config import Settings
from dicom_pipeline.config.secrets import secret
from dicom_pipeline.errors import CatalogError
from dicom_pipeline.intake.receiver import Receiver
from dicom_pipeline.web.access import http_access
from dicom_pipeline.web.answer import Answer
from dicom_pipeline.web.dicomweb import StowError
from dicom_pipeline.web.pages.access import SIGN_IN, STATIC, Sessions, is_cross_origin, to_sign_in, wants_html
from dicom_pipeline.web.pages.routes import PageContext, Pages
from dicom_pipeline.web.server import listening_socket
from dicom_pipeline.web.studies import StudyRoutes
from dicom_pipeline.web.uploads import in_upload_thread, receive_file, receive_stow

log = logging.getLogger(__name__)

OPEN_PATHS = ("/health", "/ready", "/status")
MAX_BODY_BYTES = 64 * 1024
"""Of a request that carries no instance."""


@dataclass(frozen=True, slots=True)
class WebContext:
    """What the routes need. ready: whether the service can work, and what was looked at; service: the service's status.

    ask: a question for the worker -> its answer; raises NoAnswerError. record: the audit trail. stop: is set when the service
    stops, so that pages that are kept up to date end.
    """

    settings: Settings
    catalog: Catalog
    receiver: Receiver
    ready: Callable[[], tuple[bool, Mapping[str, Any]]]
    service: Callable[[], Mapping[str, Any]]
    ask: Callable[[Mapping[str, Any]], dict[str, Any]]
    record: Record = unrecorded
    stop: threading.Event = field(default_factory=threading.Event)


def application(context: WebContext) -> ASGIApp:
    """The routes of docs/service.md. Raises ConfigError for a token whose environment variable is not set."""
    section = context.settings.service
    sessions = Sessions(secret(section.web_token_env, "service.web_token_env"))
    pages = Pages(PageContext(context.settings, context.catalog, context.ready, context.record, sessions, context.stop))
    app = Starlette(
        routes=[*pages.routes(), *_Routes(context).routes()],
        exception_handlers={HTTPException: _http_error, CatalogError: _catalog_error, OSError: _disk_error},
    )
    return Admission(app, section.web_host, sessions)


def check_web(settings: Settings) -> None:
    """Raise ConfigError where the routes cannot be served: a port in use, a token whose variable is not set."""
    section = settings.service
    if section.web_port is not None:
        secret(section.web_token_env, "service.web_token_env")
        listening_socket(section.web_host, section.web_port).close()


class Admission:
    """Refuses what may not be answered, before anything of a request is read.

    The study routes want the token where one is set. Without one they serve programs of this machine only: no address
    beyond loopback, and no page of another site in a browser (which names itself in Origin or Host).
    """

    def __init__(self, app: ASGIApp, host: str, sessions: Sessions) -> None:
        self._app = app
        self._host = host
        self._sessions = sessions

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

    def refusal(self, method: str, path: str, headers: Mapping[str, str]) -> Answer | None:
        """Why a request is not answered, None where it is."""
        if path in OPEN_PATHS:
            return None
        if self._sessions.needed:
            return self._without_token(method, path, headers)
        if not is_loopback(self._host):
            return Answer.of(403, {"error": "beyond loopback these pages need service.web_token_env"})
        if is_cross_origin(method, headers) or not is_loopback(_host_name(headers.get("host", ""))):
            return _cross_origin()
        return None

    def _without_token(self, method: str, path: str, headers: Mapping[str, str]) -> Answer | None:
        """As refusal, where there is a token: it is asked for but where a browser signs in, or has done so."""
        given = headers.get("authorization", "").removeprefix("Bearer ")
        if path == SIGN_IN or path.startswith(STATIC) or self._sessions.accepts(given):
            return None
        if not self._sessions.holds(headers, time.time()):
            return Answer.of(401, {"error": "expected Authorization: Bearer <token>"})
        return _cross_origin() if is_cross_origin(method, headers) else None


class _Routes:
    """Every route for programs with what answers it."""

    def __init__(self, context: WebContext) -> None:
        self._context = context
        self._studies = StudyRoutes(context.settings, context.catalog, context.ask)

    def routes(self) -> list[Route]:
        """Starlette's routes; a study's routes are named by StudyRoutes."""
        study = [
            Route(f"/studies/{{uid}}{'/' + name if name else ''}", self._page(answer), methods=[method])
            for name, (method, answer) in self._studies.of_study().items()
        ]
        return [
            Route("/health", self._page(lambda _: Answer.of(200, {"status": "ok"}))),
            Route("/ready", self._page(self._ready)),
            Route("/status", self._page(self._status)),
            Route("/search", self._page(self._studies.search)),
            Route("/instances", self._upload, methods=["POST"]),
            Route("/dicom-web/studies", self._stow, methods=["POST"]),
            Route("/dicom-web/studies/{uid}", self._stow, methods=["POST"]),
            *study,
        ]

    def _page(self, answer: Callable[[Request], Answer]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            request.state.content = await _small_body(request)
            answered: Answer = await run_in_threadpool(self._answered, answer, request)
            return answered.response()

        return endpoint

    def _answered(self, answer: Callable[[Request], Answer], request: Request) -> Answer:
        """In a thread: the answer, told to the audit trail; the thread's connection to the catalog is closed."""
        try:
            made = answer(request)
            target = f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path
            if access := http_access(request.method, target, made.status, _address(request)):
                self._context.record(access)
            return made
        finally:
            self._context.catalog.close()

    async def _upload(self, request: Request) -> Response:
        try:
            answer = await in_upload_thread(request, self._context.receiver, receive_file, _address(request))
        except TimeoutError:
            return _silent_client()
        return answer.response(close=answer.status == 413)

    async def _stow(self, request: Request) -> Response:
        try:
            answer = await in_upload_thread(request, self._context.receiver, receive_stow, _address(request))
        except StowError as error:
            return Answer.of(400, {"error": str(error)}).response(close=True)
        except TimeoutError:
            return _silent_client()
        return answer.response()

    def _ready(self, _: Request) -> Answer:
        good, values = self._context.ready()
        return Answer.of(200 if good else 503, values)

    def _status(self, request: Request) -> Answer:
        """The account; ?last=N lists so many revisions, the newest, 0 all."""
        text = request.query_params.get("last", str(LAST_REVISIONS))
        if not (text.isascii() and text.isdecimal() and len(text) < 10):
            return Answer.of(400, {"error": "last is not a number"})
        account = service_account(self._context.catalog, int(text) or None)
        return Answer.of(200, {"service": self._context.service(), **account})


def _cross_origin() -> Answer:
    return Answer.of(403, {"error": "cross-origin requests are not allowed"})


async def _small_body(request: Request) -> bytes:
    """A body that carries no instance. Raises HTTPException 413 beyond MAX_BODY_BYTES, counted as it comes."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise HTTPException(413, f"request body exceeds {MAX_BODY_BYTES} bytes", {"connection": "close"})
    return bytes(body)


def _silent_client() -> Response:
    return Answer.of(408, {"error": "the client sent nothing for too long"}).response(close=True)


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        answer = Answer.of(404, {"error": "no such route; docs/service.md lists them"})
    elif error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        methods = ", ".join(sorted(set(allowed.replace(" ", "").split(",")) - {"HEAD"}))
        answer = Answer.of(405, {"error": f"this route takes {methods}"})
    else:
        answer = Answer.of(error.status_code, {"error": error.detail})
    del request
    return answer.response(close=error.status_code == 413, headers=error.headers)


def _catalog_error(_: Request, error: Exception) -> Response:
    return Answer.of(503, {"error": str(error)}).response()


def _disk_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    return Answer.of(503, {"error": f"the disk refuses: {error.strerror}"}).response()


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:  # a bracket that is never closed
        return ""


def _address(request: Request) -> str:
    return request.client.host if request.client else ""
