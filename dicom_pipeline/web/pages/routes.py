"""Which page answers which path, for a browser, and what its forms do.

A page has three ways to be asked for: whole, as a part that is sent again as it changes (/live/...), and by a form, after which
the browser is sent back to a page, so that reloading repeats nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Match, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from dicom_pipeline.audit import Accessed, Node, Queried, Record
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.browsing.changes import Changes
from dicom_pipeline.catalog.outbox import retry_delivery, retry_set_aside
from dicom_pipeline.catalog.revisions import ask_revision
from dicom_pipeline.config import Settings
from dicom_pipeline.dicom.uids import is_valid_uid
from dicom_pipeline.errors import CatalogError, FilesCleanedError
from dicom_pipeline.web.bodies import address_of
from dicom_pipeline.web.pages.access import (
    SIGN_IN,
    Sessions,
    begin_session,
    end_session,
    local_path,
    read_form,
    wants_html,
)
from dicom_pipeline.web.pages.live import LivePages
from dicom_pipeline.web.pages.outbox import entry_of, give_up, outbox_query, outbox_values
from dicom_pipeline.web.pages.rendering import HEADERS, data_folder, fragment, page
from dicom_pipeline.web.pages.study import study_values
from dicom_pipeline.web.pages.study_list import list_query, studies_values

log = logging.getLogger(__name__)

NOTICES = {
    "ready": "Another revision of the study is ready; the worker takes it next.",
    "on-its-way": "Its last revision is still on its way; nothing was changed.",
    "retried": "The delivery is pending again.",
    "all-retried": "What was set aside is pending again.",
    "given-up": "The delivery was given up; the reason is in the audit trail.",
    "not-open": "The delivery was no longer as this page showed it; nothing was changed.",
}
"""What a form has done, as the URL names it -> as a person reads it."""

Values = dict[str, Any]
Form = Mapping[str, str]


class HtmlRoute(Route):
    """A route for browsers alone: programs that ask for the same path get the next route's answer."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As Route's, for a request that wants HTML and has the route's method."""
        match, child = super().matches(scope)
        html = scope["type"] == "http" and wants_html(Headers(scope=scope))
        return (match, child) if match is Match.FULL and html else (Match.NONE, {})


@dataclass(frozen=True, slots=True)
class PageContext:
    """What the pages need; as WebContext's. sessions: of browsers. stop: is set when the service stops."""

    settings: Settings
    catalog: Catalog
    ready: Callable[[], tuple[bool, Mapping[str, Any]]]
    record: Record
    sessions: Sessions
    stop: threading.Event


class Pages:
    """Every page and form of the service."""

    def __init__(self, context: PageContext) -> None:
        self._context = context
        self._catalog = context.catalog
        self._live = LivePages(Changes(context.catalog), context.stop)

    def routes(self) -> list[BaseRoute]:
        """Starlette's routes, to stand before those of programs."""
        return [
            Route("/", self._shown("studies.html", self._studies)),
            HtmlRoute("/studies/{uid}", self._shown("study.html", self._study)),
            Route("/outbox", self._shown("outbox.html", self._outbox)),
            Route("/outbox/give-up", self._shown("give_up.html", self._asked_reason)),
            Route("/live/studies", self._updated("studies_live.html", self._studies)),
            Route("/live/studies/{uid}", self._updated("study_live.html", self._study)),
            Route("/live/outbox", self._updated("outbox_live.html", self._outbox)),
            HtmlRoute("/studies/{uid}/process", self._done(self._process), methods=["POST"]),
            Route("/outbox/retry", self._done(self._retry), methods=["POST"]),
            Route("/outbox/retry-all", self._done(self._retry_all), methods=["POST"]),
            Route("/outbox/give-up", self._done(self._give_up), methods=["POST"]),
            Route(SIGN_IN, self._shown("sign_in.html", self._sign_in_values)),
            Route(SIGN_IN, self._sign_in, methods=["POST"]),
            Route("/sign-out", self._sign_out, methods=["POST"]),
            Mount("/static", StaticFiles(directory=data_folder("static")), name="static"),
        ]

    def _shown(self, template: str, values: Callable[[Request], Values]) -> Callable[[Request], Any]:
        """A whole page."""

        def made(request: Request) -> Response:
            found = values(request)
            self._tell(request)
            return page(template, **self._frame(request), **found)

        async def endpoint(request: Request) -> Response:
            return await self._answered(request, lambda: made(request))

        return endpoint

    def _updated(self, template: str, values: Callable[[Request], Values]) -> Callable[[Request], Any]:
        """The part of a page that changes, again and again."""

        def render(request: Request) -> str:
            try:
                return fragment(template, **values(request))
            finally:
                self._catalog.close()

        async def endpoint(request: Request) -> Response:
            key = f"{request.url.path}?{request.url.query}"
            try:
                first = await run_in_threadpool(render, request)
            except HTTPException as error:
                return PlainTextResponse(error.detail, error.status_code, HEADERS)
            return self._live.stream(key, first, lambda: render(request))

        return endpoint

    def _done(self, act: Callable[[Request, Form], str]) -> Callable[[Request], Any]:
        """A form: what it does returns where the browser goes next."""

        async def endpoint(request: Request) -> Response:
            try:
                form = await read_form(request)
            except HTTPException as error:
                return self._refused(request, error.status_code, error.detail)
            return await self._answered(request, lambda: RedirectResponse(act(request, form), 303))

        return endpoint

    async def _answered(self, request: Request, answer: Callable[[], Response]) -> Response:
        """In a thread, as it reads the catalog and the disk; what fails is a page too."""

        def work() -> Response:
            try:
                return answer()
            except HTTPException as error:
                return self._refused(request, error.status_code, error.detail)
            except CatalogError as error:
                return self._refused(request, 503, str(error))
            except OSError as error:
                return self._refused(request, 503, f"the disk refuses: {error.strerror}")
            finally:
                self._catalog.close()

        return await run_in_threadpool(work)

    def _refused(self, request: Request, status: int, why: str) -> Response:
        return page("error.html", status, why=why, **self._frame(request))

    def _frame(self, request: Request) -> Values:
        """What every page shows around its subject."""
        here = request.url.path
        target = f"{here}?{request.url.query}" if request.url.query else here
        return {
            "here": here,
            "target": target,
            "notice": NOTICES.get(request.query_params.get("notice", ""), ""),
            "signed_in": self._context.sessions.needed and here != SIGN_IN,
            "zone": time.strftime("%Z"),
        }

    def _tell(self, request: Request) -> None:
        """Tell the audit trail of a page that shows a study's results, and of a search."""
        user, now = Node("HTTP", address_of(request)), time.time()
        if uid := request.path_params.get("uid"):
            self._context.record(Accessed(now, user, uid, "page"))
        elif request.query_params.get("q"):
            self._context.record(Queried(now, user, f"{request.url.path}?{request.url.query}"))

    def _studies(self, request: Request) -> Values:
        ready, looked_at = self._context.ready()
        reasons = [*looked_at.get("reasons", ()), *looked_at.get("silent", ())]
        return {**studies_values(self._catalog, list_query(request.query_params)), "ready": ready, "reasons": reasons}

    def _study(self, request: Request) -> Values:
        uid = request.path_params["uid"]
        if not is_valid_uid(uid):
            raise HTTPException(400, "expected a Study Instance UID: digits and dots, at most 64 characters")
        values = study_values(self._context.settings, self._catalog, uid)
        if values is None:
            raise HTTPException(404, "no instance of this study has come")
        return values

    def _outbox(self, request: Request) -> Values:
        return outbox_values(self._context.settings, self._catalog, outbox_query(request.query_params))

    def _asked_reason(self, request: Request) -> Values:
        query = request.query_params
        entry = entry_of(self._catalog, query.get("report", ""), query.get("destination", ""))
        return {"entry": entry, "back": local_path(query.get("back", ""), "/outbox")}

    def _process(self, request: Request, form: Form) -> str:
        uid = request.path_params["uid"]
        try:
            number = ask_revision(self._catalog, uid, time.time(), partial=form.get("partial") == "1")
        except LookupError:
            raise HTTPException(404, "no instance of this study has come") from None
        except FilesCleanedError as error:
            raise HTTPException(409, str(error)) from error
        return f"/studies/{quote(uid)}?notice={'ready' if number else 'on-its-way'}"

    def _retry(self, _: Request, form: Form) -> str:
        entry = entry_of(self._catalog, form.get("report", ""), form.get("destination", ""))
        changed = retry_delivery(self._catalog, entry.report_uid, entry.destination, time.time())
        return _back(form, "retried" if changed else "not-open")

    def _retry_all(self, _: Request, form: Form) -> str:
        retry_set_aside(self._catalog, time.time())
        return _back(form, "all-retried")

    def _give_up(self, request: Request, form: Form) -> str:
        entry = entry_of(self._catalog, form.get("report", ""), form.get("destination", ""))
        changed = give_up(self._catalog, self._context.record, entry, form.get("reason", ""), address_of(request))
        return _back(form, "given-up" if changed else "not-open")

    def _sign_in_values(self, request: Request) -> Values:
        return {"next": local_path(request.query_params.get("next", "")), "wrong": False}

    async def _sign_in(self, request: Request) -> Response:
        try:
            form = await read_form(request)
        except HTTPException as error:
            return self._refused(request, error.status_code, error.detail)
        following, sessions = local_path(form.get("next", "")), self._context.sessions
        if sessions.needed and not sessions.accepts(form.get("token", "")):
            log.warning("a browser at %s gave a token that is not ours", address_of(request))
            return page("sign_in.html", 403, **self._frame(request), next=following, wrong=True)
        answer = RedirectResponse(following, 303)
        if sessions.needed:
            begin_session(answer, sessions, request)
        return answer

    async def _sign_out(self, request: Request) -> Response:
        try:
            await read_form(request)
        except HTTPException as error:
            return self._refused(request, error.status_code, error.detail)
        answer = RedirectResponse(SIGN_IN if self._context.sessions.needed else "/", 303)
        end_session(answer)
        return answer


def _back(form: Form, notice: str) -> str:
    """The page that a form came from, with what was done."""
    path, _, query = local_path(form.get("back", ""), "/outbox").partition("?")
    kept = [part for part in query.split("&") if part and not part.startswith("notice=")]
    return f"{path}?{'&'.join([*kept, urlencode({'notice': notice})])}"
