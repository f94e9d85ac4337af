"""Serves the application with uvicorn until told to stop. Signals and logs stay ours."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from dicom_pipeline.errors import ConfigError
from dicom_pipeline.web.connections import LimitedConnection

ALIVE_SECONDS = 0.25
STOP_SECONDS = 10
"""How long requests under way may take once the service stops."""

KEEP_ALIVE_SECONDS = 15
MAX_HEADER_BYTES = 32 * 1024


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The process has its own handlers, which set the event that `serve_http` waits for."""
        yield


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises ConfigError where the port cannot be used."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise ConfigError(f"service.web_port {port} on {host} cannot be used: {error.strerror}") from error


def serve_http(app: ASGIApp, listening: socket.socket, stop: threading.Event, alive: Callable[[], object]) -> None:
    """Answer until `stop` is set. alive: called by the event loop, again and again, as long as it makes progress."""
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    config = uvicorn.Config(
        app,
        http=LimitedConnection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,  # a request line may hold a search: what was asked is for the audit trail
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
    )
    server = _Server(config)

    async def watch() -> None:
        while not stop.is_set():
            alive()
            await asyncio.sleep(ALIVE_SECONDS)
        server.should_exit = True

    async def run() -> None:
        watching = asyncio.create_task(watch())
        await server.serve(sockets=[listening])
        await watching

    asyncio.run(run())
