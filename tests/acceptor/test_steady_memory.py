"""A listener does not grow: in a process of its own, under random streams and under instance after instance."""

import random
import resource
import socket
import struct
import sys
import tempfile
import threading
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.config import ListenerSection
from dicom_pipeline.intake.dicom_services import ListeningNode
from dicom_pipeline.intake.spool import Spool
from tests.peers.crashing import start_listener
from tests.peers.programs import free_port
from tests.peers.raw import RawSender, data, data_set, request, store_command, store_pdus

WARM, MAX_GROWTH = 200, 20 * 1024**2
SENDERS = 4


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
    assert growth < MAX_GROWTH, f"{growth / 1024**2:.1f} MiB"
    assert files < 60


def test_a_listener_does_not_grow_under_random_streams(tmp_path):
    throw_all(tmp_path, 1500)


@pytest.mark.long
def test_a_listener_does_not_grow_under_tens_of_thousands_of_streams(tmp_path):
    throw_all(tmp_path, 20_000)


def test_no_name_of_an_instance_is_interned(tmp_path, monkeypatch):
    """Each would be used once; what that did to the memory of a listener is said in the spool."""
    catalog = Catalog(tmp_path / "catalog.sqlite")
    listener = ListeningNode(ListenerSection(port=free_port()), catalog, Spool(tmp_path), "run")
    listener.start()
    try:
        peer = RawSender(listener.settings.port)
        interned, intern = [], sys.intern
        monkeypatch.setattr(sys, "intern", lambda text: interned.append(text) or intern(text))
        for number in range(100):
            new, other = f"1.2.{number}", f"1.3.{number}"
            assert peer.store(new, data_set(new, "1.4", bytes(100))) == 0
            assert peer.store(new, data_set(new, "1.4", bytes(100))) == 0  # the same again
            assert peer.store(new, data_set(other, "1.4", bytes(100))) == 0xA900  # refused
            peer.socket.sendall(b"".join(store_pdus(other, data_set(other, "1.4", bytes(100)))[:-1]))
            peer.socket.close()  # in the middle
            peer = RawSender(listener.settings.port)
        peer.release()
    finally:
        listener.stop()
        catalog.close()
    assert len(set(interned)) < 10, interned[:5]


@pytest.mark.long
def test_a_listener_does_not_grow_with_each_instance():
    memory = Path("/dev/shm")  # no disk to wait for
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        folder, port, numbers = Path(name), free_port(), count()
        process = start_listener(folder, port)
        rounds = []
        for _ in range(11):  # the first fills what is filled once, such as SQLite's cache of pages
            threads = [threading.Thread(target=send, args=(port, numbers, 5000)) for _ in range(SENDERS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            rounds.append(resident_bytes(process) / 1024**2)
            for path in (folder / "instances").rglob("*.dcm"):
                path.unlink()
        process.terminate()
        process.join(60)
    assert next(numbers) == 11 * SENDERS * 5000
    assert process.exitcode == 0
    assert max(rounds) - rounds[0] < 2, [round(mebibytes, 1) for mebibytes in rounds]


def send(port, numbers, instances: int) -> None:
    peer = RawSender(port)
    for number in (next(numbers) for _ in range(instances)):
        assert peer.store(f"1.2.{number}", data_set(f"1.2.{number}", "1.3", bytes(3000))) == 0
    peer.release()
