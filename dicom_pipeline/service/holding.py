"""Work in the data folder: one at a time, by a lock that ends with its process; and what is written there is not for others."""

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
