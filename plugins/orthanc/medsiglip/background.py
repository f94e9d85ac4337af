"""The background thread: reads changes, sends and follows, one step with one study at a time."""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Callable

import orthanc

from medsiglip.changes import ChangeReader
from medsiglip.configuration import Configuration
from medsiglip.following import Follower
from medsiglip.orthanc_rest import error_place, get_json
from medsiglip.pipeline_client import PipelineClient, PipelineError
from medsiglip.sending import RUNNING, Sender
from medsiglip.study_content import NotInOrthanc
from medsiglip.study_queue import MAX_WAIT_SECONDS, QueuedStudy, StudyQueue
from medsiglip.study_state import ResendLater, RetryLater, StudyStates

STOP_SECONDS = 30.0
PAUSE_SECONDS = 5.0
"""Pause after a failure that concerns no single study, such as a full disk."""

CLOCK_SECONDS = 60.0


class BackgroundThread:
    """Works on the queue. Orthanc's own threads call the public methods alone, of which none waits but `stop`."""

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.client = PipelineClient(configuration.pipeline, configuration.token)
        self.queue = StudyQueue(configuration.queue_file)
        self._woken = threading.Event()
        self._stop = threading.Event()
        self._states = StudyStates(self.queue, configuration.metadata)
        self._changes = ChangeReader(configuration, self.queue)
        self._sender = Sender(configuration, self.queue, self._states, self.client, self._stop.is_set)
        self._follower = Follower(self.queue, self._states, self.client)
        self._deleted: collections.deque[str] = collections.deque()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        with self._lock:
            self._thread = threading.Thread(target=self._run, name="medsiglip", daemon=True)
            self._thread.start()

    def wake(self) -> None:
        """Say that something has changed."""
        self._woken.set()
        self.resume()

    def resume(self) -> None:
        """Start the thread again where it has ended although Orthanc is not stopping."""
        with self._lock:
            ended = self._thread is not None and not self._thread.is_alive() and not self._stop.is_set()
            if ended:
                self._thread = None
        if ended:
            orthanc.LogError("MedSigLIP: the background thread has ended; starting it again")
            self.start()

    def study_deleted(self, study: str) -> None:
        """Say that Orthanc has deleted a study."""
        self._deleted.append(study)
        self.wake()

    def stop(self) -> None:
        """Let the thread end between two requests, before Orthanc stops its own parts."""
        self._stop.set()
        self._woken.set()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._woken.clear()
            for step in (self._release_deleted, self._read_changes, self._work):
                self._guard(step)  # each by itself: the queue is worked on while Orthanc's changes cannot be read
            self._woken.wait(1.0)

    def _guard(self, step: Callable[[], None]) -> None:
        """Take a step; log what it raises and go on after a pause."""
        try:
            step()
        except BaseException as error:  # noqa: BLE001 - the edge of the thread: it must outlive a full disk
            orthanc.LogError(f"MedSigLIP: {error_place(error)}; going on in {PAUSE_SECONDS:.0f} s")
            self._stop.wait(PAUSE_SECONDS)

    def _release_deleted(self) -> None:
        """Release the studies that were deleted; one leaves the list only after the queue has it."""
        while self._deleted and not self._stop.is_set():
            row = self.queue.get(self._deleted[0])
            if row is not None:
                self._attempt(self._release, row)
            self._deleted.popleft()

    def _read_changes(self) -> None:
        self._changes.read(self._stop.is_set)

    def _work(self) -> None:
        """Take the next step with each study that is due, until something has changed in Orthanc."""
        max_wait = max(MAX_WAIT_SECONDS, self.configuration.stable_age) + CLOCK_SECONDS
        while not self._stop.is_set():
            row = self.queue.next_due(max_wait)
            if row is None:
                return
            if not row.wanted:
                self._attempt(self._sender.follow_transfer if row.transfer else self._follower.follow, row)
            elif (begun := self.queue.begin(row.study)) is not None:
                self._attempt(self._sender.examine, begun)
            if self._woken.is_set():
                return

    def _attempt(self, step: Callable[[QueuedStudy], None], row: QueuedStudy) -> None:
        """Take a step with one study, and again later where it fails. A failing study never blocks the others."""
        try:
            try:
                step(row)
            except NotInOrthanc:
                self._release(row)
        except (PipelineError, RetryLater) as error:
            self._retry(row, str(error))
        except ResendLater as error:
            self._examine_later(row, str(error), digest="", transfers=error.transfers)
        except orthanc.OrthancException as error:
            self._retry(row, f"Orthanc does not answer: {error.args[-1]}")
        except Exception as error:  # noqa: BLE001 - the edge of one study
            orthanc.LogError(f"MedSigLIP: study {row.study[:8]}: {error_place(error)}")
            self._retry(row, f"unexpected {type(error).__name__}; Orthanc's log says more")

    def _retry(self, row: QueuedStudy, message: str) -> None:
        """Take the same step again after a wait that doubles each time."""
        if row.wanted:
            self._examine_later(row, message)
        else:
            wait = backoff(row.attempts)
            self.queue.update(row.study, time.time() + wait, attempts=row.attempts + 1)
            log_retry(row, message, wait)

    def _examine_later(self, row: QueuedStudy, message: str, **values: object) -> None:
        wait = backoff(row.attempts)
        self.queue.examine_later(row.study, time.time() + wait, message, **values)
        log_retry(row, message, wait)
        self._states.show(row.study)

    def _release(self, row: QueuedStudy) -> None:
        """Remove a study that was deleted in Orthanc: the pipeline must not wait for announced instances that never come.

        While Orthanc's job still sends, more may arrive than the pipeline has stored now. A study that came back
        meanwhile is entered anew.
        """
        job = get_json(f"/jobs/{row.transfer}") if row.transfer else None
        if job and job["State"] in RUNNING:
            self.queue.update(row.study, time.time() + 1.0)
            return
        is_back = get_json(f"/studies/{row.study}") is not None
        if row.uid and self.client.url and not is_back:
            stored = self._sender.stored_instances(row.uid)
            if stored:
                self._sender.announce(row.uid, len(stored))
        self.queue.remove(row.study)
        if is_back and self.configuration.automatic:
            self.queue.enter_one(row.study, time.time() + self.configuration.stable_age + 1)


def backoff(attempts: int) -> float:
    """Seconds to wait after a number of failed attempts: 2, 4, 8 ... up to MAX_WAIT_SECONDS."""
    return min(MAX_WAIT_SECONDS, 2.0 * 2 ** min(attempts, 10))


def log_retry(row: QueuedStudy, message: str, wait: float) -> None:
    """Log that a step with a study is taken again."""
    orthanc.LogWarning(f"MedSigLIP: study {row.study[:8]}: {message}; again in {wait:.0f} s")
