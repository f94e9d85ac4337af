"""The spool: received instances as files that survive a power cut. Names come from hashes, never from received text.

A file is written under a name of its own in incoming/, then linked to its final name in instances/; file and folder are synced
at the same time, and only then is it entered in the catalog. So what the catalog names is on the disk as a whole, whenever the
power fails. What lies here without an entry was not answered Success: its sender sends it again, and what is incomplete under
its name is then replaced.

The path of a single instance is plain text here, never a Path: before Python 3.14 pathlib interns each part of each path
(`sys.intern`). Names that come once wear out the interpreter's table of interned strings, and each new table, of megabytes,
comes from the memory arena of whichever thread needed it: a hole in one after the other. Python 3.12 at first never freed the
names at all (CPython issue 113993).
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import logging
import os
import shutil
import threading
import uuid
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from dicom_pipeline.disk import sync_file, sync_folder

log = logging.getLogger(__name__)

INCOMING = "incoming"
SYNC_THREADS = 8
NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
"""What file systems without hard links answer."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A file in the spool: path relative to it, size in bytes, sha256 (hex) of the data set without its file header.

    fresh: nothing whole lay under its name before. claim: of who placed it.
    """

    path: str
    bytes: int
    sha256: str
    fresh: bool = field(default=True, compare=False)
    claim: Claim | None = field(default=None, compare=False)


class Claim:
    """A thread's hold on a file that it placed, until the file is entered, discarded or given up."""

    def __init__(self, spool: Spool, path: str) -> None:
        self._spool = spool
        self._path = path
        self._held = True
        with spool._claiming:
            spool._claims[path] += 1

    def release(self) -> None:
        """The file stays. A claim that has ended is let be."""
        with self._spool._claiming:
            self._end()

    def discard(self) -> None:
        """Remove a file that no entry names, unless other threads have a claim on it too: the last of them does it.

        For a write transaction of the catalog, as all that unlinks in the spool.
        """
        with self._spool._claiming:
            if self._end():
                try:
                    (self._spool.folder / self._path).unlink(missing_ok=True)
                except OSError as error:  # it stays, without an entry, as after a crash
                    log.error("cannot remove %s from the spool: %s", Path(self._path).name, error.strerror)

    def _end(self) -> bool:
        """Whether this was the last claim on the file."""
        held, self._held = self._held, False
        if not held:
            return False
        self._spool._claims[self._path] -= 1
        last = not self._spool._claims[self._path]
        if last:
            del self._spool._claims[self._path]
        return last


class Spool:
    """A folder of instances."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._root = str(folder)
        (folder / "instances").mkdir(parents=True, exist_ok=True)
        (folder / INCOMING).mkdir(exist_ok=True)
        sync_folder(folder)
        self._numbers = itertools.count()
        # a process id may come again, and what lies under it since a kill may be another name of an instance
        self._run = uuid.uuid4().hex
        self._replacing = threading.Lock()
        self._syncs = ThreadPoolExecutor(SYNC_THREADS, "spool-sync")
        self._known_folders: set[str] = set()
        self._claims: Counter[str] = Counter()  # files that threads of this process have placed and not dealt with
        self._claiming = threading.Lock()
        self._unsure: set[str] = set()  # files whose sync failed: what is read of them may never reach the disk

    def receive(self, header: bytes) -> IncomingFile:
        """A file for one instance that begins with `header` (preamble and file meta). Raises OSError."""
        name = f"{os.getpid()}-{self._run}-{next(self._numbers)}"
        return IncomingFile(self, f"{self._root}/{INCOMING}/{name}", header)

    def free_bytes(self) -> int:
        """Bytes that are free on the spool's disk."""
        return shutil.disk_usage(self.folder).free

    @property
    def has_instances(self) -> bool:
        """Whether any received instance is there."""
        return next((self.folder / "instances").glob("*/*.dcm"), None) is not None

    def clear_incoming(self, *, ended: bool = False) -> int:
        """Remove what a killed process left half-written; returns how many files.

        ended: only what processes left that have ended; without, only while nothing else receives.
        """
        found = (self.folder / INCOMING).iterdir()
        leftovers = [path for path in found if not (ended and _is_running(path.name))]
        for path in leftovers:
            path.unlink(missing_ok=True)
        return len(leftovers)

    def is_whole(self, stored: Stored) -> bool:
        """Whether a file's data set is there and has its sha256."""
        try:
            return dataset_sha256(self._path(stored)) == stored.sha256
        except OSError:
            return False

    def _path(self, stored: Stored) -> str:
        return f"{self._root}/{stored.path}"

    def _place(self, temporary: str, stored: Stored) -> bool:
        """Give a written file its final name. Where the same content lies there already, that file stays: then False."""
        target = self._path(stored)
        folder = os.path.dirname(target)
        if folder not in self._known_folders:
            os.makedirs(folder, exist_ok=True)
            sync_folder(os.path.dirname(folder))
            self._known_folders.add(folder)
        fresh = True
        try:
            os.link(temporary, target)
        except OSError as error:
            if error.errno not in (errno.EEXIST, *NO_LINKS):
                self._known_folders.discard(folder)  # it may be gone; the next instance looks
                raise
            with self._replacing:
                # nothing is there, or what a power cut or a failing disk left incomplete
                fresh = stored.path in self._unsure or not self.is_whole(stored)
                if fresh:
                    os.rename(temporary, target)
                    self._unsure.discard(stored.path)
        _remove(temporary)
        return fresh


class IncomingFile:
    """One instance on its way into the spool: write, then place, then sync; or drop."""

    def __init__(self, spool: Spool, path: str, header: bytes) -> None:
        self._spool = spool
        self._path = path
        self._header_bytes = len(header)
        self._digest = hashlib.sha256()
        self.dataset_bytes = 0
        self._stream = open(path, "x+b", buffering=0)  # noqa: SIM115 - closed by sync or drop
        try:
            self._write(header)
        except OSError:
            self.drop()
            raise

    def write(self, part: memoryview | bytes) -> None:
        """Add to the data set. Raises OSError."""
        self._write(part)
        self._digest.update(part)
        self.dataset_bytes += len(part)

    def read_dataset(self) -> BinaryIO:
        """The data set so far, as a stream to be read from its start."""
        stream = open(self._path, "rb")  # noqa: SIM115 - closed by who asked for it
        stream.seek(self._header_bytes)
        return stream

    def place(self, sop_instance_uid: str) -> Stored:
        """Give the file its final name, which holds UID and content, with a claim on it. It does not count before `sync`.

        Raises OSError.
        """
        digest = self._digest.hexdigest()
        stored = Stored(instance_path(sop_instance_uid, digest), self._header_bytes + self.dataset_bytes, digest)
        claim = Claim(self._spool, stored.path)
        try:
            return replace(stored, fresh=self._spool._place(self._path, stored), claim=claim)
        except OSError:
            claim.release()
            raise

    def sync(self, stored: Stored) -> None:
        """Wait until the disk has the file and its folder. Raises OSError.

        FileNotFoundError: the same content lay there and was cleaned while it came; it must be sent once more.
        """
        target = self._spool._path(stored)
        folder: Future[None] = self._spool._syncs.submit(sync_folder, os.path.dirname(target))
        try:
            try:
                if os.fstat(self._stream.fileno()).st_nlink:
                    os.fsync(self._stream.fileno())
                else:
                    sync_file(target)  # the same content lay there already, perhaps from this very moment
            finally:
                folder.result()
        except FileNotFoundError:
            raise
        except OSError:
            self._spool._unsure.add(stored.path)
            raise
        finally:
            self._stream.close()
        if stored.path in self._spool._unsure:  # a sync of the same file failed just now, and is told only once
            raise OSError(errno.EIO, "the disk did not take an earlier copy of this file")

    def drop(self) -> None:
        """Forget a file that was not placed."""
        self._stream.close()
        _remove(self._path)

    def _write(self, part: memoryview | bytes) -> None:
        written = 0
        while written < len(part):
            written += self._stream.write(part[written:] if written else part) or 0


def end_claim(stored: Stored) -> None:
    """End the claim of who placed a file, if it has not ended."""
    if stored.claim is not None:
        stored.claim.release()


def _is_running(name: str) -> bool:
    """Whether the process that writes an incoming file of this name is there."""
    try:
        os.kill(int(name.partition("-")[0]), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:  # another user's
        return True
    return True


def instance_path(sop_instance_uid: str, sha256: str) -> str:
    """Where an instance lies, relative to the spool: the same instance twice is the same file, other content another."""
    name = hashlib.sha256(f"{sop_instance_uid}\0{sha256}".encode()).hexdigest()
    return f"instances/{name[:2]}/{name}.dcm"


def dataset_sha256(path: Path | str) -> str:
    """sha256 (hex) of a Part 10 file's data set: what follows preamble and file meta information. Raises OSError."""
    with open(path, "rb") as stream:
        start = stream.read(144)
        if len(start) < 144 or start[128:132] != b"DICM":
            raise OSError(f"no Part 10 file: {os.path.basename(path)}")
        stream.seek(144 + int.from_bytes(start[140:144], "little"))
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _remove(path: str) -> None:
    """Unlink a file, if it is there. Raises OSError."""
    with suppress(FileNotFoundError):
        os.unlink(path)
