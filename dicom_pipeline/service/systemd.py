"""What systemd is told (sd_notify(3)): a datagram to the socket that it names; nothing where it names none.

`Type=notify` wants READY=1, `WatchdogSec=` wants WATCHDOG=1 more often than that; else it ends the service and starts it again.
"""

from __future__ import annotations

import logging
import os
import socket

log = logging.getLogger(__name__)

SOCKET = "NOTIFY_SOCKET"
SPAN = "WATCHDOG_USEC"
PART = 4
"""Notifications in a watchdog's time; sd_watchdog_enabled(3) advises two."""


class Systemd:
    """The manager of the service, where there is one."""

    def __init__(self) -> None:
        self._address = os.environ.get(SOCKET, "")
        span = os.environ.get(SPAN, "")
        self._every = int(span) / 1e6 / PART if span.isdecimal() else None
        self._told_at = float("-inf")

    def ready(self) -> None:
        """The service has begun its work."""
        self._say("READY=1")

    def alive(self, now: float) -> None:
        """The supervisor has done a round. now: monotonic; said as often as the watchdog wants it."""
        if self._every is not None and now - self._told_at >= self._every:
            self._told_at = now
            self._say("WATCHDOG=1")

    def _say(self, word: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address  # an abstract socket
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
                connection.setblocking(False)  # a manager that does not read must not hold up the supervisor
                connection.connect(address)
                connection.sendall(word.encode())
        except OSError as error:
            log.warning("systemd is not told %s: %s", word, error.strerror)
