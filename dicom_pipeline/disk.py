"""Files that survive a power cut, a data folder that one process works in at a time, and where caches lie."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from dicom_pipeline.errors import ConfigError

LOCK_OWNERS = {"serve.lock": "another service", "clean.lock": "another cleaner of the spool"}
"""Name of a lock -> what kind of process takes it, in words."""

OTHER_USERS = 0o007
"""Read, write and execute of those that are neither the owner nor in its group."""


@contextmanager
def private_umask() -> Iterator[None]:
    """Files and folders that this process and its children create meanwhile are closed to other users.

    The group's rights stay as the umask that we were started with says.
    """
    before = os.umask(0o077)
    os.umask(before | OTHER_USERS)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def exclusive_lock(folder: Path, name: str) -> Iterator[None]:
    """An advisory lock (flock) on a folder, which the kernel releases when this process ends, however it ends.

    name: of the lock file, a key of LOCK_OWNERS; the process that has the lock writes its id into it. Files created while it
    is held are private. Raises ConfigError that names the owner where another process has it.
    """
    with private_umask():
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / name
        try:
            with FileLock(path, timeout=0, fallback_to_soft=False):
                path.write_text(f"{os.getpid()}\n")
                yield
        except Timeout:
            raise ConfigError(f"{LOCK_OWNERS[name]}{_process_of(path)} already works in {folder}") from None


def _process_of(lock: Path) -> str:
    """The process that wrote its id into a lock file, in brackets; nothing where it has not yet."""
    text = lock.read_text(encoding="ascii", errors="replace").strip()
    return f" (process {text})" if text.isdecimal() else ""


def write_durably(path: Path, content: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def write_problem(folder: Path) -> str:
    """Why no file can be written in a folder, tried with one that is removed again; "" where that works.

    A folder that is not there is made for the trial, and removed with those above it that were made too.
    """
    made: list[Path] = []
    trial = folder / f".trial-{uuid.uuid4().hex}"
    try:
        for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
            missing.mkdir()
            made.append(missing)
        try:
            write_durably(trial, b"trial\n")
        finally:
            trial.unlink(missing_ok=True)
    except OSError as error:
        return f"{folder} cannot be written: {error.strerror or type(error).__name__}"
    finally:
        for path in reversed(made):
            with suppress(OSError):  # someone has put something into it meanwhile
                path.rmdir()
    return ""


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


def bytes_text(size: int) -> str:
    """A size in bytes for a person: kB and up are powers of 1000."""
    value, unit = float(size), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} bytes" if unit == "bytes" else f"{value:.1f} {unit}"


def cache_folder(name: str) -> Path:
    """A folder for what can be made again: in DICOM_PIPELINE_CACHE, or in the user's cache folder (XDG on Linux)."""
    if named := os.environ.get("DICOM_PIPELINE_CACHE"):
        return Path(named) / name
    from platformdirs import user_cache_path

    return user_cache_path("dicom-pipeline", appauthor=False) / name
