"""Group commit: what arrives while a commit is being synced goes into the next one together."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from dicom_pipeline import faults
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.database import Run
from dicom_pipeline.errors import CatalogError

log = logging.getLogger(__name__)

MAX_JOBS = 64
IDLE_SECONDS = 1.0
AGAIN_SECONDS = 0.5
"""After a failure, how long before what must be done is tried again."""


@dataclass(frozen=True, slots=True)
class _Job:
    """Work for one transaction, and what came of it. until_done: not given up while the catalog cannot be written."""

    work: Callable[[Run], Any]
    until_done: bool = False
    result: Future[Any] = field(default_factory=Future)


class DirectCommitter:
    """Each job in a transaction of its own, in the thread that gives it: for tools that receive one instance at a time."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def submit(self, work: Callable[[Run], Any]) -> Future[Any]:
        """Do a job at once; its result is there, or the CatalogError that it failed with."""
        done: Future[Any] = Future()
        try:
            with self._catalog.transaction() as run:
                result = work(run)
        except CatalogError as error:
            done.set_exception(error)
        else:
            done.set_result(result)
        return done


class Committer:
    """One thread that owns the listener's catalog connection. Jobs are committed in the order in which they were given.

    progress: called after each transaction, and while there is none to make.
    """

    def __init__(self, catalog: Catalog, progress: Callable[[], object] = lambda: None) -> None:
        self._catalog = catalog
        self._progress = progress
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._again: list[_Job] = []
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)

    def start(self) -> None:
        """Commit in a thread what is submitted."""
        self._thread.start()

    def submit(self, work: Callable[[Run], Any], *, until_done: bool = False) -> Future[Any]:
        """Give a job; its result is there once it is committed and synced. It fails with CatalogError.

        until_done: it is tried again until it succeeds or the committer stops, after jobs that were given later.
        """
        job = _Job(work, until_done)
        self._jobs.put(job)
        return job.result

    def stop(self) -> None:
        """Commit what is waiting, then end."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        going = True
        while going:
            self._progress()
            batch = self._gather()
            going = not batch or batch[-1] is not None
            jobs = [*self._again, *(job for job in batch if job is not None)]
            self._again = []
            try:
                self._commit(jobs)
            except Exception as error:  # noqa: BLE001 - the edge of a thread: associations wait for its answers
                log.error("committing failed unexpectedly: %s", type(error).__name__)
                self._fail(jobs, CatalogError(f"the catalog could not be written: {type(error).__name__}"))
        self._catalog.close()

    def _gather(self) -> list[_Job | None]:
        """What waits, nothing where none has come for a moment; None at the end says stop."""
        try:
            batch = [self._jobs.get(timeout=AGAIN_SECONDS if self._again else IDLE_SECONDS)]
        except queue.Empty:
            return []
        while len(batch) < MAX_JOBS and batch[-1] is not None and not self._jobs.empty():
            batch.append(self._jobs.get())
        return batch

    def _commit(self, jobs: list[_Job]) -> None:
        """All jobs in one transaction; a job that fails is undone alone, unless SQLite has undone the whole."""
        if not jobs:
            return
        outcomes: list[tuple[_Job, Any, Exception | None]] = []
        try:
            with self._catalog.transaction() as run:
                for job in jobs:
                    try:
                        with run.savepoint():
                            outcomes.append((job, job.work(run), None))
                    except Exception as error:  # the edge of a job: the others must be committed
                        if not run.is_open:
                            raise CatalogError(f"the catalog could not be written: {error}") from error
                        outcomes.append((job, None, error))
                faults.passing("before-commit")
        except CatalogError as error:
            self._fail(jobs, error)
            return
        faults.passing("committed")
        for job, value, problem in outcomes:
            if problem is None:
                job.result.set_result(value)
            else:
                self._fail([job], problem)

    def _fail(self, jobs: list[_Job], error: Exception) -> None:
        for job in jobs:
            if job.until_done:
                self._again.append(job)
            elif not job.result.done():
                job.result.set_exception(error)
