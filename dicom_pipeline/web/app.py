"""The HTTP application: who may ask what, and which function answers. Starlette; runs in a process of its own.

Nothing here decodes pixels or holds a model: searches are asked of the worker, states are read from the service's status
file. Requests are answered in threads, so that the event loop never waits for a disk.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from dicom_pipeline.audit import Record, unrecorded
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.account import LAST_REVISIONS, service_account
from dicom_pipeline.config import Settings
from dicom_pipeline.config.secrets import secret
from dicom_pipeline.errors import CatalogError
from dicom_pipeline.intake.receiver import Receiver
from dicom_pipeline.web.access import http_access
from dicom_pipeline.web.admission import Admission
from dicom_pipeline.web.answer import Answer
from dicom_pipeline.web.bodies import address_of, discard_rest, read_body
from dicom_pipeline.web.dicomweb import StowError
from dicom_pipeline.web.pages.access import Sessions
from dicom_pipeline.web.pages.routes import PageContext, Pages
from dicom_pipeline.web.server import listening_socket
from dicom_pipeline.web.studies import StudyRoutes
from dicom_pipeline.web.uploads import in_upload_thread, receive_file, receive_stow

log = logging.getLogger(__name__)

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
    return Admission(app, context.settings.service, sessions)


def check_web(settings: Settings) -> None:
    """Raise ConfigError where the routes cannot be served: a port in use, a token whose variable is not set."""
    section = settings.service
    if section.web_port is not None:
        secret(section.web_token_env, "service.web_token_env")
        listening_socket(section.web_host, section.web_port).close()


class _Routes:
    """Every route for programs with what answers it."""

    def __init__(self, context: WebContext) -> None:
        self._context = context
        self._studies = StudyRoutes(context.settings, context.catalog, context.ask)
        self._least_rate = context.settings.listener.min_bytes_per_second

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
            request.state.content = await read_body(request, MAX_BODY_BYTES)
            answered: Answer = await run_in_threadpool(self._answered, answer, request)
            return answered.response()

        return endpoint

    def _answered(self, answer: Callable[[Request], Answer], request: Request) -> Answer:
        """In a thread: the answer, told to the audit trail; the thread's connection to the catalog is closed."""
        try:
            made = answer(request)
            target = f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path
            if access := http_access(request.method, target, made.status, address_of(request)):
                self._context.record(access)
            return made
        finally:
            self._context.catalog.close()

    async def _upload(self, request: Request) -> Response:
        try:
            answer = await in_upload_thread(
                request, self._context.receiver, receive_file, address_of(request), self._least_rate
            )
        except TimeoutError:
            return _silent_client()
        if answer.status == 413:
            await discard_rest(request)
        return answer.response(close=answer.status == 413)

    async def _stow(self, request: Request) -> Response:
        try:
            answer = await in_upload_thread(
                request, self._context.receiver, receive_stow, address_of(request), self._least_rate
            )
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


def _silent_client() -> Response:
    return Answer.of(408, {"error": "the client sent nothing, or too little, for too long"}).response(close=True)


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
    return answer.response(close=error.status_code in (408, 413), headers=error.headers)


def _catalog_error(_: Request, error: Exception) -> Response:
    return Answer.of(503, {"error": str(error)}).response()


def _disk_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    return Answer.of(503, {"error": f"the disk refuses: {error.strerror}"}).response()
