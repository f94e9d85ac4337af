"""What a page shows, sent again and again as it changes (server-sent events, HTML Living Standard 9.2).

The browser asks once and keeps the connection; it never polls. The catalog is looked at for all of them by one thread
(catalog/browsing/changes.py), and a part of a page is rendered only after a change, one at a time.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable

from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from dicom_pipeline.catalog.browsing.changes import Changes
from dicom_pipeline.errors import CatalogError
from dicom_pipeline.web.pages.rendering import HEADERS

log = logging.getLogger(__name__)

MAX_STREAMS = 64
"""Pages that are kept up to date at once; further ones are shown, and stay as they are."""

PACE_SECONDS = 0.5
REST = 4.0
"""A page that takes long to render is rendered more seldom: after so many times its own time."""

KEEP_ALIVE_SECONDS = 15.0
"""A comment goes out after so much silence, so that nothing between takes the connection for dead."""


class LivePages:
    """The open streams. stop: is set when the service stops; streams then end."""

    def __init__(self, changes: Changes, stop: threading.Event) -> None:
        self._changes = changes
        self._stop = stop
        self._streams = 0
        self._lock = asyncio.Lock()
        self._rendered: dict[str, tuple[int, str]] = {}

    def stream(self, key: str, first: str, render: Callable[[], str]) -> Response:
        """The answer that goes on. key: names what is rendered, so that two browsers on one page share the work.

        first: what was just rendered.
        """
        if self._streams >= MAX_STREAMS:
            return PlainTextResponse("too many pages are open", 503, {**HEADERS, "Retry-After": "60"})
        return StreamingResponse(self._events(key, first, render), 200, HEADERS, "text/event-stream")

    async def _events(self, key: str, first: str, render: Callable[[], str]) -> AsyncIterator[bytes]:
        self._streams += 1
        try:
            with self._changes.watched():
                yield event_of(first)
                async for event in self._changed(key, first, render):
                    yield event
        except (CatalogError, OSError) as error:
            log.warning("a page is no longer updated, its browser asks anew: %s", error)
        finally:
            self._streams -= 1

    async def _changed(self, key: str, shown: str, render: Callable[[], str]) -> AsyncIterator[bytes]:
        count, spoke, pause = -1, time.monotonic(), PACE_SECONDS
        while not self._stop.is_set():
            if self._changes.count != count:
                began = time.monotonic()
                count, text = await self._current(key, render)
                pause = max(PACE_SECONDS, REST * (time.monotonic() - began))
                if text != shown:
                    shown, spoke = text, time.monotonic()
                    yield event_of(text)
            if time.monotonic() - spoke > KEEP_ALIVE_SECONDS:
                spoke = time.monotonic()
                yield b": alive\n\n"
            await asyncio.sleep(pause)

    async def _current(self, key: str, render: Callable[[], str]) -> tuple[int, str]:
        """What is shown now, with the count of changes that it is at least as new as."""
        async with self._lock:
            count = self._changes.count
            known = self._rendered.get(key)
            if known is None or known[0] != count:
                known = count, await run_in_threadpool(render)
                if len(self._rendered) >= MAX_STREAMS:
                    self._rendered.clear()
                self._rendered[key] = known
            return known


def event_of(text: str) -> bytes:
    """An unnamed event with a text of any lines."""
    return "".join(f"data: {line}\n" for line in text.splitlines()).encode() + b"\n"
