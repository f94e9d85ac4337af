"""LanceDB, loaded when it is first needed, with its errors turned into ours."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from dicom_pipeline.errors import StoreError

MISSING = "the embedding store needs LanceDB: pip install 'dicom-pipeline[research]'"


def connect(place: str) -> Any:
    """A LanceDB connection that always sees the newest version. place: folder, URL or "memory://". Raises StoreError."""
    os.environ.setdefault("LANCEDB_LOG", "error")  # its warnings go to stderr past Python's logging
    try:
        import lancedb
    except ImportError as error:
        raise StoreError(MISSING) from error
    with lance_errors(f"open the store {place}"):
        return lancedb.connect(place, read_consistency_interval=timedelta(0))


@contextmanager
def lance_errors(doing: str) -> Iterator[None]:
    """Raise StoreError in place of what LanceDB raises; values in single quotes are not repeated."""
    try:
        yield
    except (ValueError, RuntimeError, OSError) as error:
        first = re.sub(r"'[^']*'", "'…'", str(error).split("\n")[0])[:300]
        raise StoreError(f"cannot {doing}: {first}") from error


def is_local(place: str) -> bool:
    """Whether a place is a folder of this machine, not a URL."""
    return "://" not in place


def local_lock(place: str) -> Path | None:
    """The file whose lock one writer at a time holds; None where the place is no folder."""
    return Path(place) / ".writer" if is_local(place) else None
