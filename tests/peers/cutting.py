"""A network that breaks: a relay on loopback that cuts connections after so many bytes or answers."""

import contextlib
import socket
import struct
import threading
from dataclasses import dataclass

RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Cut:
    """Where one connection breaks: after `sent` bytes of the caller, or when the other side has answered `answers` times."""

    sent: int | None = None
    answers: int | None = None


class CuttingRelay:
    """Listens on `port` and relays to another port; the n-th connection breaks by the n-th cut, later ones do not."""

    def __init__(self, behind: int, cuts: list[Cut]) -> None:
        self._behind = behind
        self._cuts = list(cuts)
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]
        self.broken = 0

    def __enter__(self) -> "CuttingRelay":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._door.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = self._door.accept()
                cut = self._cuts.pop(0) if self._cuts else Cut()
                try:
                    other = socket.create_connection(("127.0.0.1", self._behind))
                except OSError:
                    caller.close()
                    continue
                for source, target, most, pieces in (
                    (caller, other, cut.sent, None),
                    (other, caller, None, cut.answers),
                ):
                    threading.Thread(target=self._relay, args=(source, target, most, pieces), daemon=True).start()

    def _relay(self, source: socket.socket, target: socket.socket, most: int | None, pieces: int | None) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(65536 if most is None else min(65536, max(1, most - passed))):
                if pieces == 0 or (most is not None and passed + len(data) > most):
                    self.broken += 1
                    for end in (source, target):
                        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                        end.shutdown(socket.SHUT_RDWR)
                        end.close()
                    return
                target.sendall(data)
                passed += len(data)
                pieces = None if pieces is None else pieces - 1
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
