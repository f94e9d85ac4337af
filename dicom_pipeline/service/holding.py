"""One at a time: a lock on the data folder that ends with its process."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dicom_pipeline.errors import ConfigError

HOLDERS = {"serve.lock": "another service", "clean.lock": "another cleaner of the spool"}
"""Name of a lock -> who holds it, in words."""


@contextmanager
def hold(folder: Path, name: str) -> Iterator[None]:
    """An advisory lock on the folder, which the kernel lets go when this process ends, however it ends.

    Raises ConfigError where another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w") as lock:
        try:
            fcntl.flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"{HOLDERS[name]} already works in {folder}") from None
        yield
