"""Heartbeats: what a child process lets its supervisor see, and how long it has made no progress.

A beat is given where the work is done, never by a thread of its own, which would go on while the work hangs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ctypes import c_bool, c_char, c_uint64
from multiprocessing.context import BaseContext

MAX_LOOK_SECONDS = 5.0
"""Seconds that count at most between two looks: in a longer pause the supervisor, and so the whole machine or container,
stood still (a frozen container, a virtual machine that was moved), and the children with it."""


MAX_PROBLEM_BYTES = 1000
"""Of the sentence that a child leaves behind."""


class Heartbeat:
    """Whether a child is ready, and a count of beats for each part of it that is watched. Goes to the child as it starts.

    parts: threads of the child, or its one loop, each of which must make progress; none for a child that is not watched.
    incidents: what the child counts for people to see, such as decoders that crashed.
    Memory that both processes share, without a lock: one that a killed child held would stop the supervisor.
    """

    def __init__(self, context: BaseContext, parts: Sequence[str], incidents: Sequence[str] = ()) -> None:
        self._parts = tuple(parts)
        self._incidents = tuple(incidents)
        self._is_ready = context.RawValue(c_bool, False)
        self._counts = context.RawArray(c_uint64, len(self._parts))
        self._happened = context.RawArray(c_uint64, len(self._incidents))
        self._problem = context.RawArray(c_char, MAX_PROBLEM_BYTES)

    def ready(self) -> None:
        """Called by the child once it does its work; each of its parts begins with a beat."""
        for part in self._parts:
            self.beat(part)
        self._is_ready.value = True

    def beat(self, part: str) -> None:
        """Called by the one thread that does this part: it made progress, or waits for something that may take long."""
        self._counts[self._parts.index(part)] += 1

    def record(self, incidents: Mapping[str, int]) -> None:
        """Called by the child: how often each incident has happened since it started."""
        for name, count in incidents.items():
            self._happened[self._incidents.index(name)] = count

    def leave(self, problem: str) -> None:
        """Called by the child as it ends: why, in words about settings, models and our own files alone."""
        self._problem.value = problem.encode()[: MAX_PROBLEM_BYTES - 1]

    @property
    def problem(self) -> str:
        """Why the child ended, "" where it has not said."""
        return bytes(self._problem.value).decode(errors="ignore")

    @property
    def incidents(self) -> dict[str, int]:
        """What has happened since the child started; what has not is left out."""
        counts = zip(self._incidents, self._happened, strict=True)
        return {name: count for name, count in counts if count}

    @property
    def is_ready(self) -> bool:
        """Whether the child does its work; until then it is starting."""
        return bool(self._is_ready.value)

    @property
    def counts(self) -> dict[str, int]:
        """How many beats each part has given."""
        return dict(zip(self._parts, self._counts, strict=True))


class StallDetector:
    """How long each part of a child has made no progress, as far as the one who looks was running itself. Has no clock."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._seen: dict[str, int] = {}
        self._silent: dict[str, float] = {}

    def look(self, counts: Mapping[str, int], now: float) -> None:
        """Compare the counts with those of the last look. now: seconds, monotonic."""
        passed = 0.0 if self._last is None else min(now - self._last, MAX_LOOK_SECONDS)
        self._last = now
        self._silent = {
            part: self._silent.get(part, 0.0) + passed if self._seen.get(part) == count else 0.0
            for part, count in counts.items()
        }
        self._seen = dict(counts)

    @property
    def longest(self) -> tuple[str, float]:
        """The part that has been silent longest and for how many seconds; "" and 0.0 where none is watched."""
        return max(self._silent.items(), key=lambda item: item[1], default=("", 0.0))
