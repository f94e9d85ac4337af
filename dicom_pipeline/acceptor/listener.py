"""A DIMSE server: accepts connections within its limits and gives each a thread. What it does for them: `Services`."""

from __future__ import annotations

import logging
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable

from dicom_pipeline.acceptor.admission import (
    LIMIT,
    NETWORK,
    PEER_LIMIT,
    Rejection,
    admits_address,
    check_address,
)
from dicom_pipeline.acceptor.association import Association, ListenerContext
from dicom_pipeline.acceptor.operations import Services
from dicom_pipeline.acceptor.tls import TlsSource
from dicom_pipeline.audit import Record, unrecorded
from dicom_pipeline.audit.alerts import Alerts
from dicom_pipeline.config import ListenerSection
from dicom_pipeline.errors import ConfigError

log = logging.getLogger(__name__)

BACKLOG = 128
STOP_SECONDS = 10.0
SWEEP_SECONDS = 1.0
"""Between two looks at alerts whose repetitions are to be told, while no peer connects; and between two heartbeats."""

REJECTIONS_AT_ONCE = 32
"""Threads beyond the limit that only say so; a connection beyond these is closed without a word."""


class Listener:
    """A listening socket and its associations. record: the audit trail's, for alerts. progress: called by the accept loop.

    Raises ConfigError for an address beyond loopback that was not allowed, and TLS files that do not work.
    """

    def __init__(
        self,
        settings: ListenerSection,
        services: Services,
        record: Record = unrecorded,
        progress: Callable[[], object] = lambda: None,
    ) -> None:
        check_address(settings)
        self.settings = settings
        self._progress = progress
        self._alerts = Alerts(record)
        self._context = ListenerContext(settings, services, self._alerts)
        self._tls = TlsSource(settings) if settings.tls_certificate else None
        self._lock = threading.Lock()
        self._open: dict[Association, threading.Thread] = {}
        self._peers: Counter[str] = Counter()
        self._rejecting = 0
        self._stop_reader, self._stop_writer = socket.socketpair()
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Take the port: from here on connections wait. Raises ConfigError where it cannot be used."""
        host, port = self.settings.host, self.settings.port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server((host, port), family=family, backlog=BACKLOG)
        except OSError as error:
            raise ConfigError(f"listener.port {port} on {host} cannot be used: {error.strerror}") from error
        self._socket.setblocking(False)

    def start(self) -> None:
        """Accept connections in a thread, after `open`."""
        assert self._socket is not None
        self._thread = threading.Thread(target=self._accept, args=(self._socket,), name="listener", daemon=True)
        self._thread.start()
        log.info("listening as %s on %s:%d", self.settings.ae_title, self.settings.host, self.settings.port)

    def stop(self, interrupt: Callable[[], object] = lambda: None) -> bool:
        """Stop listening; let each association finish the message that is arriving, for a moment, then end it.

        interrupt: ends what an operation may still wait for, once that moment is over. False where it did not run.
        """
        if self._thread is None:
            return False
        self._stop_writer.send(b"x")
        self._thread.join()
        self._thread = None
        with self._lock:
            threads = list(self._open.items())
        for association, _ in threads:
            association.stop()
        deadline = time.monotonic() + STOP_SECONDS
        for association, thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            association.cut()
        interrupt()
        for _, thread in threads:
            thread.join(1.0)
        self._alerts.flush()
        self._stop_reader.close()
        self._stop_writer.close()
        return True

    def _accept(self, listening: socket.socket) -> None:
        with selectors.DefaultSelector() as ready, listening:
            ready.register(listening, selectors.EVENT_READ)
            ready.register(self._stop_reader, selectors.EVENT_READ)
            while True:
                self._progress()
                found = ready.select(SWEEP_SECONDS)
                self._alerts.sweep()
                if any(key.fileobj is self._stop_reader for key, _ in found):
                    return
                try:
                    connection, address = listening.accept()
                except (BlockingIOError, ConnectionError):
                    continue
                except OSError as error:  # no more file handles: wait until some are free
                    log.error("cannot accept a connection: %s", error.strerror)
                    time.sleep(0.1)
                    continue
                self._admit(connection, str(address[0]))

    def _admit(self, connection: socket.socket, address: str) -> None:
        """Give a connection its thread, or the thread that says no."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        with self._lock:
            rejection = self._limit(address)
            if rejection is not None and self._rejecting >= REJECTIONS_AT_ONCE:
                connection.close()
                return
            association = Association(self._context, connection, address, rejection)
            thread = threading.Thread(target=self._serve, args=(association, address, rejection), daemon=True)
            self._open[association] = thread
            if rejection is None:
                self._peers[address] += 1
            else:
                self._rejecting += 1
        try:
            thread.start()
        except RuntimeError:  # no more threads
            self._forget(association, address, rejection)
            connection.close()

    def _limit(self, address: str) -> Rejection | None:
        if not admits_address(self.settings.networks, address):
            return NETWORK
        if self._peers.total() >= self.settings.max_associations:
            return LIMIT
        if self._peers[address] >= self.settings.max_associations_per_peer:
            return PEER_LIMIT
        return None

    def _serve(self, association: Association, address: str, rejection: Rejection | None) -> None:
        try:
            association.serve(self._tls.context() if self._tls else None)
        finally:
            self._forget(association, address, rejection)

    def _forget(self, association: Association, address: str, rejection: Rejection | None) -> None:
        with self._lock:
            self._open.pop(association, None)
            if rejection is None:
                self._peers[address] -= 1
                if not self._peers[address]:
                    del self._peers[address]
            else:
                self._rejecting -= 1
