"""Connections under limits: how many there may be, and how long the head of a request may take, before anything is answered.

A client that opens connections and sends nothing, or one letter a minute, costs others theirs (slowloris).
"""

from __future__ import annotations

import asyncio
import logging

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from dicom_pipeline.web.admission import is_loopback

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 512
MAX_OF_AN_ADDRESS = 64
"""Of one address beyond loopback; a proxy on this machine speaks for many."""

HEAD_SECONDS = 15.0
"""From the first byte that a connection may send, or from the last answer, to the end of a request's head."""


class LimitedConnection(H11Protocol):
    """One connection of a client, as uvicorn makes it."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take it, or end it where there are too many."""
        super().connection_made(transport)
        if self._is_one_too_many():
            log.warning("a connection was ended: %d are open", len(self.connections))
            transport.abort()
            return
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Bytes of the client."""
        super().data_received(data)
        self._wait_for_head()

    def on_response_complete(self) -> None:
        """The connection may bring another request."""
        super().on_response_complete()
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _is_one_too_many(self) -> bool:
        if len(self.connections) > MAX_CONNECTIONS:
            return True
        address = self.client[0] if self.client else ""
        if is_loopback(address):
            return False
        clients = [getattr(other, "client", None) for other in self.connections]
        return sum(1 for client in clients if client and client[0] == address) > MAX_OF_AN_ADDRESS

    def _wait_for_head(self) -> None:
        """Start the clock where a head is awaited and none runs; stop it once the head has come."""
        if self.conn.their_state is not h11.IDLE or self.transport.is_closing():
            self._stop_waiting()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.abort()
