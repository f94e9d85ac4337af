"""Audit messages to a syslog server: RFC 5424 over UDP (RFC 5426, PS3.15 A.7) or TLS (RFC 5425, PS3.15 A.6)."""

from __future__ import annotations

import re
import select
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dicom_pipeline.config.tls_files import tls_files_problem
from dicom_pipeline.errors import ConfigError

FACILITY = 10
"""Security and authorization messages (PS3.15 A.6)."""

NOTICE, WARNING = 5, 4
MESSAGE_ID = "DICOM+RFC3881"
APPLICATION = "dicom-pipeline"
MAX_UDP_BYTES = 65507
"""What one datagram of IPv4 can hold; the files have every message, whatever its size."""

SECONDS = 10.0

_TIME = re.compile(r'EventDateTime="([^"]+)"')
_OUTCOME = re.compile(r'EventOutcomeIndicator="(\d+)"')


class TooLongError(Exception):
    """A message does not fit a datagram."""


class Carrier(Protocol):
    """Takes messages to a server, a connection at a time."""

    def send(self, message: bytes) -> None:
        """Send one. Raises OSError where the server is not there, TooLongError where it never fits."""

    def close(self) -> None:
        """Let go of the connection."""


def syslog_message(line: str, host: str, pid: int) -> bytes:
    """SYSLOG-MSG of an audit message: no structured data, the XML as UTF-8 behind a byte order mark (RFC 5424 6.4)."""
    at, outcome = _TIME.search(line), _OUTCOME.search(line)
    severity = NOTICE if outcome is None or outcome[1] == "0" else WARNING
    header = f"<{FACILITY * 8 + severity}>1 {at[1] if at else '-'} {host or '-'} {APPLICATION} {pid} {MESSAGE_ID} - "
    return header.encode("ascii", "replace") + b"\xef\xbb\xbf" + line.encode()


@dataclass(slots=True)
class Datagrams:
    """UDP: nobody says whether a message arrives."""

    host: str
    port: int
    _socket: socket.socket | None = None

    def send(self, message: bytes) -> None:
        """One datagram a message."""
        if len(message) > MAX_UDP_BYTES:
            raise TooLongError
        if self._socket is None:
            family, kind, _, _, address = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_DGRAM)[0]
            self._socket = socket.socket(family, kind)
            self._socket.connect(address)
        self._socket.send(message)

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


@dataclass(slots=True)
class SecureStream:
    """TLS, messages counted in octets (RFC 5425 4.3). The server's certificate and name are verified."""

    host: str
    port: int
    context: ssl.SSLContext
    _socket: ssl.SSLSocket | None = None

    def send(self, message: bytes) -> None:
        """One frame a message, on a connection that stays open."""
        if self._socket is not None and self._has_ended(self._socket):
            self.close()
        if self._socket is None:
            plain = socket.create_connection((self.host, self.port), SECONDS)
            try:
                self._socket = self.context.wrap_socket(plain, server_hostname=self.host)
            except OSError:
                plain.close()
                raise
        self._socket.sendall(b"%d %s" % (len(message), message))

    def close(self) -> None:
        """Let go of the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    @staticmethod
    def _has_ended(connection: ssl.SSLSocket) -> bool:
        """Whether the server has closed it: syslog has no answers, so the first message after that would be lost."""
        readable, _, _ = select.select([connection], [], [], 0)
        if not readable:
            return False
        try:
            connection.settimeout(0)
            return connection.recv(1024) == b""
        except ssl.SSLWantReadError:  # it only renewed its session
            return False
        except OSError:
            return True
        finally:
            connection.settimeout(SECONDS)


def tls_client_context(ca: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """TLS 1.2 or newer that verifies the server by `ca` (None: the system's authorities) and shows our certificate, if any.

    Raises ConfigError where the files cannot be used.
    """
    if problem := tls_files_problem("audit.syslog_", certificate=certificate, key=key, authorities=ca):
        raise ConfigError(problem)
    try:
        context = ssl.create_default_context(cafile=str(ca) if ca else None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if certificate is not None:
            context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        words = getattr(error, "reason", None) or getattr(error, "strerror", "") or type(error).__name__
        raise ConfigError(f"the TLS files of [audit] cannot be used ({words}): expected PEM files that fit") from error
    return context
