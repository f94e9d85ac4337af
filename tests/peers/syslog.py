"""A syslog server of our own for RFC 5425, and RFC 5424 read by hand."""

import contextlib
import re
import socket
import ssl
import threading

from tests.peers.certificates import Authority
from tests.peers.programs import free_port

FRAME = re.compile(rb"(\d+) ")


def parts_of(message: bytes):
    """Header fields and XML of a SYSLOG-MSG (RFC 5424 6), read by hand."""
    found = re.fullmatch(rb"<(\d+)>1 (\S+) (\S+) (\S+) (\S+) (\S+) - \xef\xbb\xbf(.+)", message, re.DOTALL)
    assert found, message[:200]
    return [part.decode() for part in found.groups()]


class SyslogServer:
    """A receiver of RFC 5425: TLS, octet counting. `stop` and `start` as at an outage."""

    def __init__(self, authority: Authority) -> None:
        self.port = free_port()
        self.messages: list[bytes] = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*authority.issue("syslog"))
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._context.load_verify_locations(authority.certificate)
        self._connections: list[tuple[ssl.SSLSocket, threading.Thread]] = []

    def start(self):
        self._door = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._door,), daemon=True).start()
        return self

    def stop(self):
        self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        for connection, thread in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join(
                30
            )  # it closes its socket itself: no other file may get the number while OpenSSL may still write to it
        self._connections.clear()

    def _accept(self, door):
        while True:
            try:
                plain, _ = door.accept()
            except OSError:
                return
            try:
                connection = self._context.wrap_socket(plain, server_side=True)
            except OSError:  # a client that does not trust us
                plain.close()
                continue
            thread = threading.Thread(target=self._read, args=(connection,), daemon=True)
            self._connections.append((connection, thread))
            thread.start()

    def _read(self, connection):
        with connection, contextlib.suppress(OSError, ValueError):
            pending = b""
            while piece := connection.recv(65536):
                pending += piece
                while (found := FRAME.match(pending)) and len(pending) >= found.end() + int(found[1]):
                    end = found.end() + int(found[1])
                    self.messages.append(pending[found.end() : end])
                    pending = pending[end:]
