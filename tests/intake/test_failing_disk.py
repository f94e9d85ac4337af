"""Disks and catalogs that fail: no Success for what is not there, and everything goes on when they work again."""

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import dicom_pipeline.intake.spool as spool_module
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog import database as database_module
from dicom_pipeline.catalog.account import service_account
from dicom_pipeline.config import ListenerSection
from dicom_pipeline.intake import entry as entering_module
from dicom_pipeline.intake.dicom_services import ListeningNode
from dicom_pipeline.intake.spool import Spool, dataset_sha256
from tests.intake.made import kept
from tests.peers.programs import free_port, wait_until
from tests.peers.raw import ABORT, RawSender, data_set, store_pdus

OUT_OF_RESOURCES = 0xA700


@pytest.fixture
def listener(tmp_path):
    catalog = Catalog(tmp_path / "catalog.sqlite")
    made = ListeningNode(ListenerSection(port=free_port()), catalog, Spool(tmp_path), "run")
    made.start()
    yield made
    made.stop()
    catalog.close()


def instances(folder: Path) -> dict[str, str]:
    """SOP Instance UID -> sha256 of every entry; each entry's file is whole."""
    with sqlite3.connect(folder / "catalog.sqlite") as catalog:
        rows = catalog.execute("SELECT sop_instance_uid, path, sha256 FROM instance").fetchall()
    catalog.close()
    assert all(dataset_sha256(folder / path) == digest for _, path, digest in rows)
    assert len({uid for uid, _, _ in rows}) == len(rows)
    return {uid: digest for uid, _, digest in rows}


class DurableImage:
    """What a power cut would leave: contents by inode and names by folder, as they were when they were last synced."""

    def __init__(self) -> None:
        self.contents: dict[int, str] = {}
        self.names: dict[str, dict[str, int]] = {}
        self._fsync = os.fsync

    def fsync(self, handle: int) -> None:
        self._fsync(handle)
        path = Path(f"/proc/self/fd/{handle}")
        if path.is_dir():
            real = str(path.resolve())
            self.names[real] = {entry.name: entry.inode() for entry in os.scandir(real)}
        else:
            content = path.read_bytes()
            self.contents[os.fstat(handle).st_ino] = hashlib.sha256(content).hexdigest()

    def holds(self, path: Path) -> bool:
        inode = self.names.get(str(path.parent.resolve()), {}).get(path.name)
        above = self.names.get(str(path.parent.parent.resolve()), {})
        return path.parent.name in above and self.contents.get(inode) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_no_entry_is_made_before_its_file_and_folders_are_on_the_disk(listener, monkeypatch):
    image, checked = DurableImage(), []
    enter = entering_module.enter_unless_conflict

    def entering(run, received):
        checked.append(image.holds(listener.spool.folder / received.path))
        return enter(run, received)

    monkeypatch.setattr(spool_module.os, "fsync", image.fsync)
    monkeypatch.setattr(entering_module, "enter_unless_conflict", entering)

    def send(share):
        peer = RawSender(listener.settings.port)
        for number in share:
            assert peer.store(f"1.2.{number}", data_set(f"1.2.{number}", "1.3", bytes([number]) * 20_000)) == 0
        peer.release()

    threads = [threading.Thread(target=send, args=(range(first, 20, 3),)) for first in range(4)]  # some come twice
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(checked) > 20
    assert all(checked)


def test_a_file_whose_sync_failed_is_not_trusted_the_next_time(listener, monkeypatch):
    """After a failed fsync the kernel takes the pages for clean: the next fsync of the same file says nothing."""
    body = data_set("1.2.1", "1.3", b"xy" * 9000)
    peer = RawSender(listener.settings.port)
    inodes = []

    def failing(handle):
        if not Path(f"/proc/self/fd/{handle}").is_dir():
            inodes.append(os.fstat(handle).st_ino)
            raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(spool_module.os, "fsync", failing)
        assert peer.store("1.2.1", body) == OUT_OF_RESOURCES
    assert instances(listener.spool.folder) == {}
    assert peer.store("1.2.1", body) == 0
    (path,) = (listener.spool.folder / "instances").rglob("*.dcm")
    assert path.stat().st_ino not in inodes
    assert set(instances(listener.spool.folder)) == {"1.2.1"}
    peer.release()


def test_a_catalog_that_is_locked_longer_than_we_wait(tmp_path, monkeypatch):
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.5)
    catalog = Catalog(tmp_path / "catalog.sqlite")
    listener = ListeningNode(ListenerSection(port=free_port()), catalog, Spool(tmp_path), "run")
    listener.start()
    try:
        peer, leaving = RawSender(listener.settings.port), RawSender(listener.settings.port)
        assert peer.store("1.2.1", data_set("1.2.1", "1.3")) == 0
        assert leaving.store("1.2.2", data_set("1.2.2", "1.3")) == 0
        other = sqlite3.connect(tmp_path / "catalog.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert peer.store("1.2.3", data_set("1.2.3", "1.3")) == OUT_OF_RESOURCES
        leaving.release()
        time.sleep(1.5)  # longer than the listener waits to enter that it ended
        other.execute("ROLLBACK")
        other.close()
        assert set(instances(tmp_path)) == {"1.2.1", "1.2.2"}
        wait_until(lambda: service_account(catalog)["totals"]["associations"] == 1, 20, "an ended one counts as open")
        assert peer.store("1.2.3", data_set("1.2.3", "1.3")) == 0
        peer.release()
        assert set(instances(tmp_path)) == {"1.2.1", "1.2.2", "1.2.3"}
    finally:
        listener.stop()
        catalog.close()


@pytest.mark.parametrize("ending", ["reset", "abort", "half-close", "silent close"])
def test_a_sender_that_ends_after_each_pdu_of_several_stores(listener, ending):
    bodies = {uid: data_set(uid, "1.3", uid.encode() * 3000) for uid in ("1.2.1", "1.2.2", "1.2.3")}
    pdus = [(uid, pdu) for uid, body in bodies.items() for pdu in store_pdus(uid, body, 7000)]
    acknowledged: set[str] = set()
    whole: set[str] = set()
    for count in range(len(pdus) + 1):
        peer = RawSender(listener.settings.port)
        sent = pdus[:count]
        for index, (uid, pdu) in enumerate(sent):
            peer.socket.sendall(pdu)
            if index + 1 == len(pdus) or pdus[index + 1][0] != uid:
                whole.add(uid)
                if index + 1 < count:  # the answer to the last one is not waited for
                    assert peer.status() == 0
                    acknowledged.add(uid)
        if ending == "reset":
            peer.socket.setsockopt(1, 13, b"\x01\0\0\0\0\0\0\0")  # SO_LINGER of 0 s: close is a reset
        elif ending == "abort":
            peer.socket.sendall(ABORT)
        elif ending == "half-close":
            peer.socket.shutdown(1)
            while peer.socket.recv(4096):
                pass
        peer.socket.close()
    folder, catalog = listener.spool.folder, listener.catalog
    wait_until(
        lambda: not service_account(catalog)["totals"]["associations"], 30, "an ended association counts as open"
    )
    assert not list((folder / "incoming").iterdir())
    assert acknowledged <= set(instances(folder)) <= whole
    peer = RawSender(listener.settings.port)
    assert all(peer.store(uid, body) == 0 for uid, body in bodies.items())
    peer.release()
    assert set(instances(folder)) == set(bodies)


def test_a_disk_without_room(tmp_path):
    """In a small tmpfs of a mount namespace of its own; where neither root nor a user namespace may mount one, files
    are limited in size, so that the same writes fail with EFBIG instead of ENOSPC.
    """
    for prefix in (["unshare", "-m"], ["unshare", "-rm"], []):
        if prefix and (shutil.which("unshare") is None or not can_mount(prefix, tmp_path)):
            continue
        command = [
            *prefix,
            sys.executable,
            "-m",
            "tests.peers.full_disk",
            str(tmp_path),
            "tmpfs" if prefix else "limit",
        ]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert result.returncode == 0, result.stderr[-3000:]
        answer = json.loads(result.stdout.splitlines()[-1])
        break
    assert answer["while writing"] == answer["while committing"] == answer["full to the last byte"] == OUT_OF_RESOURCES
    assert answer["after room was made"] == [0, 0, 0]
    assert answer["held while full"] == answer["acknowledged while full"]
    assert answer["held at the end"] == answer["sent"]
    assert answer["left in incoming"] == 0


def can_mount(prefix: list[str], folder: Path) -> bool:
    command = [*prefix, "mount", "-t", "tmpfs", "-o", "size=1m", "probe", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_a_file_that_the_cleaner_takes_while_it_comes_again_is_taken_the_next_time(tmp_path):
    spool = Spool(tmp_path)
    there = tmp_path / kept(spool, "1.2", b"content", b"header").path
    again = spool.receive(b"header")
    again.write(b"content")
    stored = again.place("1.2")
    there.unlink()
    with pytest.raises(FileNotFoundError):
        again.sync(stored)
    assert kept(spool, "1.2", b"content", b"header").fresh
    assert there.read_bytes() == b"headercontent"


def test_a_folder_whose_sync_failed_is_not_trusted_the_next_time(tmp_path, monkeypatch):
    """A disk tells of a failure once: a sync without an error after it says nothing about the name that was lost."""
    header = bytes(128) + b"DICM\x02\x00\x00\x00UL\x04\x00" + bytes(4)
    spool = Spool(tmp_path)
    kept(spool, "1.1", b"another", header)  # so that later syncs of its folder are of files alone

    def fail(folder):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        coming = spool.receive(header)
        coming.write(b"content")
        stored = coming.place("1.2")
        patched.setattr(spool_module, "sync_folder", fail)
        with pytest.raises(OSError, match="Input/output"):
            coming.sync(stored)
    assert coming._stream.closed
    first = (tmp_path / stored.path).stat().st_ino
    assert kept(spool, "1.2", b"content", header).fresh
    assert (tmp_path / stored.path).stat().st_ino != first, "the name was not written anew"


@pytest.mark.parametrize("kind", ["removed", "replaced"])
def test_a_catalog_that_is_gone_answers_no_success_and_none_takes_its_place(listener, tmp_path, kind):
    """Its open file would take entries that nobody else could ever read."""
    path, aside = tmp_path / "catalog.sqlite", tmp_path / "aside"
    aside.mkdir()
    peer = RawSender(listener.settings.port)
    with peer.socket:
        assert peer.store("1.2.1", data_set("1.2.1", "1.3", bytes(900))) == 0
        for name in ("catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"):
            (tmp_path / name).rename(aside / name)
        if kind == "replaced":
            Catalog(path).close()
        status = peer.store("1.2.2", data_set("1.2.2", "1.3", bytes(900)))
        if kind == "removed":
            assert status == OUT_OF_RESOURCES
            assert not path.exists()
        else:
            assert (
                set(instances(tmp_path)) == {"1.2.2"} if status == 0 else set()
            )  # what is acknowledged is in what is there
        for name in ("catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"):
            (aside / name).replace(tmp_path / name)
        assert peer.store("1.2.3", data_set("1.2.3", "1.3", bytes(900))) == 0
    assert {"1.2.1", "1.2.3"} <= set(instances(tmp_path))
