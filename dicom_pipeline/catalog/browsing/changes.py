"""Whether anything was committed to the catalog since someone last looked, by whatever process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dicom_pipeline.catalog.database import Catalog
from dicom_pipeline.errors import CatalogError

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.25


class Changes:
    """Counts changes of the catalog while somebody watches: one thread with a connection of its own looks for all.

    SQLite's data_version is compared, which changes with each commit of another connection and costs a look at shared
    memory. Safe to share between threads.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._lock = threading.Lock()
        self._watchers = 0
        self._ended: threading.Event | None = None
        self._count = 0

    @property
    def count(self) -> int:
        """Another number once something was committed; it may change without that."""
        return self._count

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Count until the block ends."""
        with self._lock:
            self._watchers += 1
            self._count += 1  # what happened while nobody watched
            if self._ended is None:
                self._ended = threading.Event()
                threading.Thread(target=self._look, args=(self._ended,), name="changes", daemon=True).start()
        try:
            yield
        finally:
            with self._lock:
                self._watchers -= 1
                if not self._watchers and self._ended is not None:
                    self._ended.set()
                    self._ended = None

    def _look(self, ended: threading.Event) -> None:
        seen, failing = None, False
        try:
            while not ended.wait(LOOK_SECONDS):
                try:
                    (row,) = self._catalog.read("data_version")
                except CatalogError as error:
                    if not failing:
                        log.warning("pages are not updated: %s", error)
                    failing = True
                    continue
                failing = False
                if row["data_version"] != seen:
                    seen = row["data_version"]
                    self._count += 1
        finally:
            self._catalog.close()
