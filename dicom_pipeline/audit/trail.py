"""The files of the audit trail: `audit-000001.log`, `audit-000002.log` and so on, one message a line, only ever appended to.

Every process of the service writes the newest file itself, under a lock, and syncs it. A file is left for the next one at a
size; it is never renamed, so that whoever reads it can go on. Only its owner may read it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dicom_pipeline.audit.facts import Fact
from dicom_pipeline.audit.messages import Origin, message_of

log = logging.getLogger(__name__)

NAME = re.compile(r"audit-(\d{6,})\.log")


class Trail:
    """Where facts become lines. max_bytes: of a file; keep_files: so many of the newest are kept, 0 keeps all."""

    def __init__(self, folder: Path, origin: Origin, max_bytes: int, keep_files: int = 0) -> None:
        self.folder = folder
        self.origin = origin
        self._max_bytes = max_bytes
        self._keep_files = keep_files
        self._made = folder.is_dir()

    def record(self, fact: Fact) -> None:
        """Write a fact down, synced. What cannot be written is logged as an error and never blocks the caller."""
        try:
            self.write(message_of(fact, self.origin))
        except OSError as error:
            log.error("an audit message of %s was not written: %s", type(fact).__name__, error.strerror)

    def write(self, line: str) -> None:
        """Append a line and sync it. Raises OSError; then nothing was appended."""
        content = line.encode() + b"\n"
        with self._locked():
            path = self._file_for(len(content))
            handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                _append(handle, content)
            finally:
                os.close(handle)

    def _file_for(self, size: int) -> Path:
        files = files_of(self.folder)
        newest = files[-1] if files else self.folder / "audit-000001.log"
        held = newest.stat().st_size if files else 0
        if held == 0 or held + size <= self._max_bytes:
            return newest
        for old in files[: max(0, len(files) + 1 - self._keep_files)] if self._keep_files else []:
            old.unlink()
        return self.folder / f"audit-{_number(newest) + 1:06d}.log"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time, over all processes and threads."""
        # once made, not with its parents: in the place of a disk that is gone messages would be lost, and the place taken
        self.folder.mkdir(parents=not self._made, exist_ok=True, mode=0o700)
        self._made = True
        handle = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def files_of(folder: Path) -> list[Path]:
    """The files of a trail, oldest first."""
    try:
        found = [path for path in folder.iterdir() if NAME.fullmatch(path.name)]
    except FileNotFoundError:
        return []
    return sorted(found, key=_number)


def _number(path: Path) -> int:
    match = NAME.fullmatch(path.name)
    return int(match[1]) if match else 0


def _append(handle: int, content: bytes) -> None:
    """All of it or nothing. A line that a power cut left without its end is closed first."""
    size = os.fstat(handle).st_size
    if size and os.pread(handle, 1, size - 1) != b"\n":
        content = b"\n" + content
    try:
        written = os.write(handle, content)
        if written != len(content):
            raise OSError(28, "No space left on device")
        os.fdatasync(handle)
    except OSError:
        os.ftruncate(handle, size)
        raise
