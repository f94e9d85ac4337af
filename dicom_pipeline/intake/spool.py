"""The spool: received instances as files that survive a power cut. Names come from hashes, never from received text."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Stored:
    """A file in the spool: path relative to it, size in bytes, sha256 (hex) of the data set without its file header."""

    path: str
    bytes: int
    sha256: str


class Spool:
    """A folder of instances. Writing is: a temporary file, fsync, rename, fsync of the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "instances").mkdir(parents=True, exist_ok=True)
        self._incoming = folder / "incoming"
        self._incoming.mkdir(exist_ok=True)

    def store(self, sop_instance_uid: str, header: bytes, dataset: bytes, token: str) -> Stored:
        """Write preamble and file meta (`header`), then the data set as it came. Raises OSError; nothing counts then.

        The name holds UID and content, so the same instance twice is the same file and another content another.
        """
        digest = hashlib.sha256(dataset).hexdigest()
        name = hashlib.sha256(f"{sop_instance_uid}\0{digest}".encode()).hexdigest()
        relative = Path("instances") / name[:2] / f"{name}.dcm"
        target = self.folder / relative
        if not target.exists():
            temporary = self._incoming / f"{name}.{hashlib.sha256(token.encode()).hexdigest()[:16]}"
            try:
                write_durably(temporary, header + dataset)
                target.parent.mkdir(exist_ok=True)
                temporary.rename(target)
            except OSError:
                temporary.unlink(missing_ok=True)
                raise
            sync_folder(target.parent)
            sync_folder(target.parent.parent)
        return Stored(str(relative), len(header) + len(dataset), digest)

    def free_bytes(self) -> int:
        """Bytes that are free on the spool's disk."""
        return shutil.disk_usage(self.folder).free

    def clear_incoming(self) -> int:
        """Remove what a killed process left half-written; returns how many files. Only while no listener runs."""
        leftovers = list(self._incoming.iterdir())
        for path in leftovers:
            path.unlink()
        return len(leftovers)


def write_durably(path: Path, content: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the disk has a folder's entries."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
