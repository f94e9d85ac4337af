"""A listener in a process of its own, under random streams: it answers as ever and does not grow."""

import random
import resource
import socket
import struct
from contextlib import suppress
from pathlib import Path

import pytest

from tests.peers.crashing import start_listener
from tests.peers.programs import free_port
from tests.peers.raw import RawSender, data, data_set, request, store_command

WARM, MOST_GROWTH = 200, 20 * 1024**2


def stream(rng: random.Random) -> bytes:
    """Up to seven pieces of what belongs into an association, and of what does not."""

    def one_of() -> bool:
        return rng.random() < 0.5

    pieces = (
        lambda: rng.randbytes(rng.randrange(60)),
        request,
        lambda: data(rng.choice((1, 3, 255)), rng.randbytes(rng.randrange(80)), command=one_of(), last=one_of()),
        lambda: struct.pack(">BxL", rng.randrange(10), rng.randrange(200)) + rng.randbytes(rng.randrange(200)),
        lambda: data(1, store_command(), command=True),
        lambda: struct.pack(">BxL4x", 5, 4),
    )  # fmt: skip
    made = b"".join(rng.choice(pieces)() for _ in range(rng.randrange(8)))
    return (request() if rng.random() < 0.7 else b"") + made


def resident_bytes(process) -> int:
    return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * resource.getpagesize()


def throw_all(folder: Path, count: int) -> None:
    rng, port = random.Random(3), free_port()
    process = start_listener(folder, port)
    before = 0
    for number in range(count):
        if number == WARM:
            before = resident_bytes(process)
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=30) as peer:
            peer.sendall(stream(rng))
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(65536):
                pass
    growth = resident_bytes(process) - before
    files = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
    peer = RawSender(port)
    assert peer.store("1.2.1", data_set("1.2.1", "1.3", bytes(5000))) == 0
    peer.release()
    process.terminate()
    process.join(60)
    assert process.exitcode == 0
    assert growth < MOST_GROWTH, f"{growth / 1024**2:.1f} MiB"
    assert files < 60


def test_a_listener_does_not_grow_under_random_streams(tmp_path):
    throw_all(tmp_path, 1500)


@pytest.mark.long
def test_a_listener_does_not_grow_under_tens_of_thousands_of_streams(tmp_path):
    throw_all(tmp_path, 20_000)
