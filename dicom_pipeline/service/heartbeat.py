"""Signs of life: what a child process lets its supervisor see, and how long it has stood still.

A sign is given where the work is done, never by a thread of its own, which would go on while the work hangs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ctypes import c_bool, c_uint64
from multiprocessing.context import BaseContext

MOST_BETWEEN_LOOKS = 5.0
"""Seconds that count at most between two looks: in a longer pause the supervisor, and so the whole machine or container,
stood still (a frozen container, a virtual machine that was moved), and the children with it."""


class Signs:
    """Whether a child does its work yet, and a count for each part of it that must get on. Goes to the child as it starts.

    parts: threads of the child, or its one loop, that get on each by itself; none for a child that is not watched.
    Memory that both processes share, without a lock: one that a killed child held would stop the supervisor.
    """

    def __init__(self, context: BaseContext, parts: Sequence[str]) -> None:
        self._parts = tuple(parts)
        self._working = context.RawValue(c_bool, False)
        self._counts = context.RawArray(c_uint64, len(self._parts))

    def work(self) -> None:
        """Said by the child: it does its work now, and each of its parts begins."""
        for part in self._parts:
            self.progress(part)
        self._working.value = True

    def progress(self, part: str) -> None:
        """Said by the one thread that does this part: it has got on, or waits for something that may take long."""
        self._counts[self._parts.index(part)] += 1

    @property
    def working(self) -> bool:
        """Whether the child does its work; until then it starts."""
        return bool(self._working.value)

    @property
    def counts(self) -> dict[str, int]:
        """How often each part has got on."""
        return dict(zip(self._parts, self._counts, strict=True))


class Watch:
    """How long each part of a child has stood still, as far as whoever looks was running itself. Has no clock."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._seen: dict[str, int] = {}
        self._silent: dict[str, float] = {}

    def look(self, counts: Mapping[str, int], now: float) -> None:
        """Look at the counts. now: seconds, monotonic."""
        passed = 0.0 if self._last is None else min(now - self._last, MOST_BETWEEN_LOOKS)
        self._last = now
        self._silent = {
            part: self._silent.get(part, 0.0) + passed if self._seen.get(part) == count else 0.0
            for part, count in counts.items()
        }
        self._seen = dict(counts)

    @property
    def longest(self) -> tuple[str, float]:
        """The part that has stood still longest and for how many seconds; "" and 0.0 where none is watched."""
        return max(self._silent.items(), key=lambda item: item[1], default=("", 0.0))
