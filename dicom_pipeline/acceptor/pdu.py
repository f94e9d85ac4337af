"""PDUs over a connected socket: whole ones, of a bounded size, in a bounded time (PS3.8 section 9.3)."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from enum import IntEnum

HEADER_BYTES = 6
SLACK_BYTES = 16
"""Some senders count the header into the maximum length; that much more is let pass."""


class Pdu(IntEnum):
    """PDU types."""

    ASSOCIATE_RQ = 1
    ASSOCIATE_AC = 2
    ASSOCIATE_RJ = 3
    P_DATA = 4
    RELEASE_RQ = 5
    RELEASE_RP = 6
    ABORT = 7


class WireError(Exception):
    """The connection cannot go on. reason: a word for the catalog; abort: the provider reason of an A-ABORT, if one is due."""

    def __init__(self, reason: str, abort: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.abort = abort


class Wire:
    """Reads PDUs from a socket into one buffer, so that a peer's memory is bounded by the largest PDU."""

    def __init__(self, connection: socket.socket, max_pdu_bytes: int, seconds: float) -> None:
        """seconds: for any one PDU from its first byte to its last, and for any send."""
        self.connection = connection
        self.most = max_pdu_bytes + SLACK_BYTES
        self._seconds = seconds
        self._buffer = bytearray(HEADER_BYTES + self.most)
        self._start = self._end = 0

    def read(
        self, idle_seconds: float, most: int | None = None, deadline: float = float("inf")
    ) -> tuple[int, memoryview]:
        """Type and body of the next PDU; the body is valid until the next call.

        idle_seconds: how long to wait for its first byte. most: largest body in bytes where not that of P-DATA. deadline:
        when the whole PDU must be there at the latest, however it comes (monotonic).
        Raises WireError: closed, idle, slow, unknown-pdu or pdu-too-long.
        """
        self._fill(1, min(deadline, time.monotonic() + idle_seconds), "idle")
        deadline = min(deadline, time.monotonic() + self._seconds)
        self._fill(HEADER_BYTES, deadline, "slow")
        kind, length = struct.unpack_from(">BxL", self._buffer, self._start)
        if not Pdu.ASSOCIATE_RQ <= kind <= Pdu.ABORT:
            raise WireError("unknown-pdu", abort=1)
        if length > (most or self.most):
            raise WireError("pdu-too-long", abort=6)
        self._fill(HEADER_BYTES + length, deadline, "slow")
        body = memoryview(self._buffer)[self._start + HEADER_BYTES : self._start + HEADER_BYTES + length]
        self._start += HEADER_BYTES + length
        return kind, body

    def send(self, pdu: bytes) -> None:
        """Send all of it. Raises WireError: closed or slow."""
        try:
            self.connection.settimeout(self._seconds)
            self.connection.sendall(pdu)
        except TimeoutError:
            raise WireError("slow") from None
        except OSError:
            raise WireError("closed") from None

    def close(self) -> None:
        """Close both directions; what was sent still arrives."""
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        finally:
            self.connection.close()

    def _fill(self, wanted: int, deadline: float, late: str) -> None:
        """Receive until `wanted` bytes of the next PDU are in the buffer."""
        if self._end - self._start >= wanted:
            return
        if self._start:  # what is left of the last receive moves to the front
            rest = self._end - self._start
            self._buffer[:rest] = self._buffer[self._start : self._end]
            self._start, self._end = 0, rest
        if wanted > len(self._buffer):
            self._buffer = self._buffer + bytearray(wanted - len(self._buffer))
        with memoryview(self._buffer) as view:
            while self._end < wanted:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise WireError(late, abort=0)
                self._end += self._receive(view[self._end :], left, late)

    def _receive(self, into: memoryview, seconds: float, late: str) -> int:
        try:
            self.connection.settimeout(seconds)
            count = self.connection.recv_into(into)
        except TimeoutError:
            raise WireError(late, abort=0) from None
        except OSError:
            raise WireError("closed") from None
        if count == 0:
            raise WireError("closed")
        return count


def fragments(body: memoryview) -> Iterator[tuple[int, bool, bool, memoryview]]:
    """The PDVs of a P-DATA body (PS3.8 9.3.5.1): context id, is it command, is it the last, bytes. Raises WireError."""
    position, size = 0, len(body)
    if size == 0:
        raise WireError("malformed-pdu", abort=6)
    while position < size:
        if size - position < HEADER_BYTES:
            raise WireError("malformed-pdu", abort=6)
        length, context_id, control = struct.unpack_from(">LBB", body, position)
        if length < 2 or position + 4 + length > size:
            raise WireError("malformed-pdu", abort=6)
        yield context_id, bool(control & 1), bool(control & 2), body[position + 6 : position + 4 + length]
        position += 4 + length


def data_pdus(context_id: int, content: bytes, *, is_command: bool, peer_max: int) -> bytes:
    """P-DATA PDUs of one command or data set, in pieces that the peer takes (0: any size)."""
    piece = (peer_max - HEADER_BYTES) if peer_max > HEADER_BYTES else max(1, len(content))
    out = bytearray()
    for start in range(0, max(1, len(content)), piece):
        part = content[start : start + piece]
        control = int(is_command) | (2 if start + piece >= len(content) else 0)
        out += struct.pack(">BxLLBB", Pdu.P_DATA, len(part) + 6, len(part) + 2, context_id, control) + part
    return bytes(out)


def abort_pdu(reason: int) -> bytes:
    """A-ABORT by the service provider (PS3.8 9.3.8)."""
    return struct.pack(">BxLxxBB", Pdu.ABORT, 4, 2, reason)


def reject_pdu(result: int, source: int, diagnostic: int) -> bytes:
    """A-ASSOCIATE-RJ (PS3.8 9.3.4)."""
    return struct.pack(">BxLxBBB", Pdu.ASSOCIATE_RJ, 4, result, source, diagnostic)


RELEASE_RP = struct.pack(">BxL4x", Pdu.RELEASE_RP, 4)
