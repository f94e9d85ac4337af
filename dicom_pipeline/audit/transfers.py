"""Instances as they come from one sender, gathered until a message can tell of them together: one a study and kind."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

from dicom_pipeline.audit.facts import Held, Node, Outcome, Record, StudyPart, Transferred

MAX_SECONDS = 300.0
"""An association that stays open is told of in parts, so that its messages are not days late."""

CONFLICT = "other content under a known SOP Instance UID: kept apart, not used"


class Transfers:
    """What one association, or one thread, has received since the last `flush`. For one thread."""

    def __init__(self, record: Record, clock: Callable[[], float] = time.monotonic) -> None:
        self._record = record
        self._clock = clock
        self._began = 0.0
        self._counts: dict[tuple[Node, str, Held, str], Counter[str]] = {}

    def add(self, sender: Node, study: str, sop_class: str, held: Held, patient_id: str = "") -> None:
        """One instance that is safe."""
        if self._counts and self._clock() - self._began > MAX_SECONDS:
            self.flush()
        if not self._counts:
            self._began = self._clock()
        self._counts.setdefault((sender, study, held, patient_id), Counter())[sop_class] += 1

    def flush(self) -> None:
        """Tell of everything that came."""
        now = time.time()
        counts, self._counts = self._counts, {}
        for (sender, study, held, patient_id), classes in counts.items():
            conflict = held is Held.OTHER
            self._record(
                Transferred(
                    now,
                    sender,
                    received=True,
                    study=StudyPart(study, dict(classes), patient_id=patient_id),
                    held=held,
                    outcome=Outcome.MINOR_FAILURE if conflict else Outcome.SUCCESS,
                    words=CONFLICT if conflict else "",
                )
            )


class ThreadTransfers:
    """Transfers for each thread that takes instances: each flushes its own, when its request is whole."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._local = threading.local()

    def add(self, sender: Node, study: str, sop_class: str, held: Held, patient_id: str = "") -> None:
        """One instance that is safe."""
        self._here().add(sender, study, sop_class, held, patient_id)

    def flush(self) -> None:
        """Tell of everything that came by this thread."""
        self._here().flush()

    def _here(self) -> Transfers:
        if not hasattr(self._local, "transfers"):
            self._local.transfers = Transfers(self._record)
        transfers: Transfers = self._local.transfers
        return transfers
