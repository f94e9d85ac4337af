"""Alerts of one process: the first of a kind at once, its repetitions together, so that a port scan cannot fill the disk."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

from dicom_pipeline.audit.facts import Alert, AlertKind, Node, Record

QUIET_SECONDS = 60.0
"""For so long after a message, more of the same from the same address are only counted."""

SWEEP_SECONDS = 1.0
MAX_KINDS = 10_000
"""Of senders and reasons that are remembered; with more, all of the repetitions are told and forgotten."""

Key = tuple[AlertKind, str, str]


class Alerts:
    """Safe to share between threads."""

    def __init__(self, record: Record, clock: Callable[[], float] = time.monotonic) -> None:
        self._record = record
        self._clock = clock
        self._lock = threading.Lock()
        self._swept = clock()
        self._told: dict[Key, tuple[float, Node]] = {}
        self._waiting: Counter[Key] = Counter()

    def alert(self, kind: AlertKind, node: Node, words: str) -> None:
        """Tell of an alert, or count it where the same was told a moment ago."""
        self.sweep()
        key = (kind, node.address, words)
        with self._lock:
            known = key in self._told
            if known:
                self._waiting[key] += 1
            else:
                self._told[key] = (self._clock(), node)
            full = len(self._told) > MAX_KINDS
        if not known:
            self._record(Alert(time.time(), kind, node, words))
        if full:
            self.flush()

    def sweep(self) -> None:
        """Tell of the repetitions whose time has passed. Cheap: it looks once in SWEEP_SECONDS."""
        now = self._clock()
        if now - self._swept < SWEEP_SECONDS:
            return
        self._swept = now
        self._tell([key for key, (at, _) in list(self._told.items()) if now - at > QUIET_SECONDS])

    def flush(self) -> None:
        """Tell of all repetitions, as at a stop."""
        self._tell(list(self._told))

    def _tell(self, keys: list[Key]) -> None:
        facts = []
        with self._lock:
            for key in keys:
                told = self._told.pop(key, None)
                count = self._waiting.pop(key, 0)
                if told is not None and count:
                    facts.append(Alert(time.time(), key[0], told[1], key[2], count))
        for fact in facts:
            self._record(fact)
