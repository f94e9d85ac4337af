"""Group commit: what arrives while a commit is being synced goes into the next one together."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.database import Run
from dicom_pipeline.errors import CatalogError

MOST_JOBS = 64


@dataclass(frozen=True, slots=True)
class _Job:
    """Work for one transaction, and what came of it."""

    work: Callable[[Run], Any]
    result: Future[Any] = field(default_factory=Future)


class Committer:
    """One thread that owns the listener's catalog connection. Jobs are committed in the order in which they were given."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Run], Any]) -> Future[Any]:
        """Give a job; its result is there once it is committed and synced. It fails with CatalogError."""
        job = _Job(work)
        self._jobs.put(job)
        return job.result

    def stop(self) -> None:
        """Commit what is waiting, then end."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        going = True
        while going:
            batch = [self._jobs.get()]
            while len(batch) < MOST_JOBS and batch[-1] is not None and not self._jobs.empty():
                batch.append(self._jobs.get())
            going = batch[-1] is not None
            self._commit([job for job in batch if job is not None])
        self._catalog.close()

    def _commit(self, jobs: list[_Job]) -> None:
        """All jobs in one transaction; a job that fails is undone alone."""
        if not jobs:
            return
        outcomes: list[tuple[_Job, Any, Exception | None]] = []
        try:
            with self._catalog.transaction() as run:
                for job in jobs:
                    try:
                        with run.savepoint():
                            outcomes.append((job, job.work(run), None))
                    except Exception as error:  # noqa: BLE001 - the edge of a job: the others must be committed
                        outcomes.append((job, None, error))
        except CatalogError as error:
            for job in jobs:
                job.result.set_exception(error)
            return
        for job, value, problem in outcomes:
            if problem is None:
                job.result.set_result(value)
            else:
                job.result.set_exception(problem)
