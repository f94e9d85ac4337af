"""A sender of raw PDUs: what no well-behaved library would send, and when it chooses."""

import socket
import struct
from collections.abc import Sequence

CT, IMPLICIT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2"


def item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(body)) + body


def request(called=b"DICOMPIPE", classes=(CT,), maximum=16384, syntax=IMPLICIT) -> bytes:
    """An A-ASSOCIATE-RQ (PS3.8 9.3.2), written out by hand."""
    contexts = b"".join(
        item(0x20, bytes([1 + 2 * n, 0, 0, 0]) + item(0x30, uid.encode()) + item(0x40, syntax.encode()))
        for n, uid in enumerate(classes)
    )
    user = item(0x50, item(0x51, struct.pack(">L", maximum)) + item(0x52, b"1.2.3"))
    body = struct.pack(">Hxx", 1) + called.ljust(16) + b"HOSTILE".ljust(16) + bytes(32)
    body += item(0x10, b"1.2.840.10008.3.1.1.1") + contexts + user
    return struct.pack(">BxL", 1, len(body)) + body


def data(context: int, content: bytes, *, command: bool, last: bool = True) -> bytes:
    control = int(command) | (2 if last else 0)
    return struct.pack(">BxLLBB", 4, len(content) + 6, len(content) + 2, context, control) + content


def store_command(uid="1.2.3.4", sop_class=CT) -> bytes:
    def element(number, value):
        return struct.pack("<HHL", 0, number, len(value)) + value

    def padded(text):
        return text.encode() + b"\0" * (len(text) % 2)

    parts = element(0x0002, padded(sop_class)) + element(0x0100, struct.pack("<H", 1))
    parts += element(0x0110, struct.pack("<H", 7)) + element(0x0700, struct.pack("<H", 0))
    parts += element(0x0800, struct.pack("<H", 1)) + element(0x1000, padded(uid))
    return element(0x0000, struct.pack("<L", len(parts))) + parts


def data_set(uid: str, study: str, pixels: bytes = b"", series: str = "1.2.3.5", modality: str = "CT") -> bytes:
    """A small data set in implicit VR, written out by hand. pixels: of an even length."""

    def element(group, number, value):
        value += b"\0" * (len(value) % 2)
        return struct.pack("<HHL", group, number, len(value)) + value

    return b"".join(
        (
            element(0x0008, 0x0016, CT.encode()),
            element(0x0008, 0x0018, uid.encode()),
            element(0x0008, 0x0060, modality.encode()),
            element(0x0020, 0x000D, study.encode()),
            element(0x0020, 0x000E, series.encode()),
            element(0x7FE0, 0x0010, pixels),
        )
    )


def store_pdus(uid: str, body: bytes, piece: int = 16000) -> list[bytes]:
    """One C-STORE as P-DATA PDUs: the command, then the data set in pieces."""
    pieces = [body[i : i + piece] for i in range(0, len(body), piece)]
    last = len(pieces) - 1
    parts = [data(1, part, command=False, last=number == last) for number, part in enumerate(pieces)]
    return [data(1, store_command(uid), command=True), *parts]


RELEASE = struct.pack(">BxL4x", 5, 4)
ABORT = struct.pack(">BxLxxBB", 7, 4, 0, 0)


class RawSender:
    """One association from the sender's side. Raises OSError where the peer is gone."""

    def __init__(
        self, port: int, seconds: float = 30.0, syntax: str = IMPLICIT, classes: Sequence[str] = (CT,)
    ) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=seconds)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(request(syntax=syntax, classes=classes))
        kind, _ = self.read()
        if kind != 2:
            self.socket.close()
            raise ConnectionError(f"the association was answered by PDU type {kind}")

    def read(self) -> tuple[int, bytes]:
        """Type and body of the next PDU."""
        kind, length = struct.unpack(">BxL", self._exactly(6))
        return kind, self._exactly(length)

    def status(self) -> int:
        """The status (0000,0900) of the next C-STORE response."""
        kind, body = self.read()
        if kind != 4:
            raise ConnectionError(f"PDU type {kind} instead of an answer")
        at = body.index(struct.pack("<HHL", 0, 0x0900, 2))
        return int(struct.unpack_from("<H", body, at + 8)[0])

    def store(self, uid: str, body: bytes) -> int:
        """Send an instance; the status that it is answered with."""
        self.socket.sendall(b"".join(store_pdus(uid, body)))
        return self.status()

    def release(self) -> None:
        """End in order."""
        self.socket.sendall(RELEASE)
        self.read()
        self.socket.close()

    def _exactly(self, count: int) -> bytes:
        got = b""
        while len(got) < count:
            part = self.socket.recv(count - len(got))
            if not part:
                raise ConnectionError("the peer closed the connection")
            got += part
        return got
