"""Files that survive a power cut, and a data folder that one process works in at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dicom_pipeline.errors import ConfigError

HOLDERS = {"serve.lock": "another service", "clean.lock": "another cleaner of the spool"}
"""Name of a lock -> who holds it, in words."""


NOT_FOR_OTHERS = 0o007


@contextmanager
def not_for_others() -> Iterator[None]:
    """Files and folders that this process and its children make meanwhile are closed to other users.

    The group's rights stay as the umask that we were started with says.
    """
    before = os.umask(0o077)
    os.umask(before | NOT_FOR_OTHERS)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def hold(folder: Path, name: str) -> Iterator[None]:
    """An advisory lock on the folder, which the kernel lets go when this process ends, however it ends.

    What is made while it is held is not for others. Raises ConfigError where another process holds it.
    """
    with not_for_others():
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / name).open("w") as lock:
            try:
                fcntl.flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigError(f"{HOLDERS[name]} already works in {folder}") from None
            yield


def write_durably(path: Path, content: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def sync_file(path: Path | str) -> None:
    """Wait until the disk has a file."""
    with open(path, "rb") as stream:
        os.fsync(stream.fileno())


def sync_tree(folder: Path) -> None:
    """Wait until the disk has a folder with everything in it."""
    for path in folder.rglob("*"):
        (sync_folder if path.is_dir() else sync_file)(path)
    sync_folder(folder)


def sync_folder(folder: Path | str) -> None:
    """Wait until the disk has a folder's entries."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
