"""The listener killed by SIGKILL at named points and at random ones: what was acknowledged is there, once, whole."""

import hashlib
import os
import random
import shutil
import signal
import sqlite3
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from dicom_pipeline import faults
from dicom_pipeline.errors import ConfigError
from dicom_pipeline.intake.spool import dataset_sha256
from tests.peers.crashing import start_listener
from tests.peers.programs import free_port
from tests.peers.raw import RELEASE, RawSender, data_set, store_pdus

SIZES = (500, 5_000, 60_000, 250_000)


class Sending:
    """Instances sent over several associations at once; remembers what was acknowledged."""

    def __init__(self, port: int, seed: int, associations: int, each: int) -> None:
        rng = random.Random(seed)
        self.port = port
        self.bodies: dict[str, bytes] = {}
        self.shares: list[list[str]] = []
        for number in range(associations):
            uids = [f"1.2.{seed + 1}.{number}.{index}" for index in range(each)]
            for uid in uids:
                self.bodies[uid] = data_set(uid, f"1.3.{seed + 1}", rng.randbytes(rng.choice(SIZES)))
            self.shares.append(uids)
        if associations > 1:
            self.shares[-1].append(self.shares[0][0])  # one of another association's, too
        self.total = sum(len(self.bodies[uid]) for share in self.shares for uid in share)
        self.acknowledged: Counter = Counter()
        self.refused: Counter = Counter()
        self._sent = 0
        self._lock = threading.Lock()
        self._reached = threading.Event()

    def send(self, process=None, kill_after: int | None = None, delay: float = 0.0) -> None:
        """Send everything; kill the process `delay` seconds after so many bytes were sent."""
        threads = [threading.Thread(target=self._associate, args=(share, kill_after)) for share in self.shares]
        for thread in threads:
            thread.start()
        if kill_after is not None:
            self._reached.wait(30)
            time.sleep(delay)
            os.kill(process.pid, signal.SIGKILL)
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()

    def _associate(self, uids: list[str], kill_after: int | None) -> None:
        with suppress(OSError):  # the peer was killed: what it had not answered is not acknowledged
            peer = RawSender(self.port)
            with peer.socket:
                for uid in uids:
                    for pdu in store_pdus(uid, self.bodies[uid]):
                        peer.socket.sendall(pdu)
                        self._count(len(pdu), kill_after)
                    status = peer.status()
                    (self.refused if status else self.acknowledged)[uid] += 1
                peer.socket.sendall(RELEASE)
                peer.read()

    def _count(self, size: int, kill_after: int | None) -> None:
        with self._lock:
            self._sent += size
            if kill_after is not None and self._sent >= kill_after:
                self._reached.set()


def held(folder: Path) -> dict[str, tuple[str, str]]:
    """SOP Instance UID -> path and sha256 of each entry; each is there once and kept."""
    with sqlite3.connect(folder / "catalog.sqlite") as catalog:
        rows = catalog.execute("SELECT sop_instance_uid, path, sha256, is_primary FROM instance").fetchall()
    catalog.close()
    assert len({row[0] for row in rows}) == len(rows)
    assert all(row[3] for row in rows)
    return {uid: (path, digest) for uid, path, digest, _ in rows}


def check_held(folder: Path, sending: Sending, wanted: set[str]) -> None:
    """Every wanted instance is in the catalog, and every entry's file has just the bytes that were sent."""
    entries = held(folder)
    assert wanted <= set(entries) <= set(sending.bodies)
    for uid, (path, digest) in entries.items():
        assert digest == hashlib.sha256(sending.bodies[uid]).hexdigest()
        assert dataset_sha256(folder / path) == digest


def check_recovery(folder: Path, port: int, sending: Sending, wanted: set[str]) -> None:
    """After a crash: check, start again, send everything again, check."""
    check_held(folder, sending, wanted)
    process = start_listener(folder, port)
    try:
        assert not list((folder / "incoming").iterdir())
        check_held(folder, sending, wanted)
        again = Sending.__new__(Sending)
        again.__dict__.update(sending.__dict__, acknowledged=Counter(), refused=Counter())
        again.send()
        assert set(again.acknowledged) == set(sending.bodies)
        assert not again.refused
        check_held(folder, sending, set(sending.bodies))
        assert len(list((folder / "instances").rglob("*.dcm"))) == len(sending.bodies)
    finally:
        process.terminate()
        process.join(30)
    assert process.exitcode == 0
    assert not list((folder / "incoming").iterdir())
    with sqlite3.connect(folder / "catalog.sqlite") as catalog:
        assert catalog.execute("SELECT count(*) FROM association").fetchone() == (0,)
    catalog.close()


@pytest.mark.parametrize("passing", [1, 4])
@pytest.mark.parametrize("point", faults.RECEIVE_POINTS)
def test_killed_at_each_step_of_receiving(tmp_path, point, passing):
    port = free_port()
    process = start_listener(tmp_path, port, f"{point}:{passing}")
    sending = Sending(port, 1, associations=2, each=3)
    sending.send()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    assert not sending.refused
    assert len(sending.acknowledged) < len(sending.bodies)
    check_recovery(tmp_path, port, sending, set(sending.acknowledged))


def crash(folder: Path, seed: int) -> int:
    """One random kill and the recovery from it; how many instances were acknowledged before."""
    rng = random.Random(seed)
    folder.mkdir()
    port = free_port()
    process = start_listener(folder, port)
    sending = Sending(port, seed, rng.randint(1, 4), rng.randint(1, 5))
    sending.send(process, rng.randint(1, sending.total), rng.choice((0.0, rng.uniform(0, 0.006))))
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    check_recovery(folder, port, sending, set(sending.acknowledged))
    shutil.rmtree(folder)
    return len(sending.acknowledged)


def crashes(folder: Path, seeds: range) -> None:
    acknowledged = []
    for seed in seeds:
        try:
            acknowledged.append(crash(folder / str(seed), seed))
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
    assert sum(map(bool, acknowledged)) > len(seeds) / 10  # not all of them were killed before anything had come
    assert not all(acknowledged)


def test_killed_at_a_hundred_random_moments(tmp_path):
    crashes(tmp_path, range(100))


@pytest.mark.long
def test_killed_at_some_thousand_random_moments(tmp_path):
    crashes(tmp_path, range(1000, 4000))


def test_an_unknown_fault_point_is_refused():
    for text in ("nowhere:1", "placed", "placed:0", "placed:x"):
        with pytest.raises(ConfigError, match="expected one of"):
            faults.arm(text)
    faults.arm("")
