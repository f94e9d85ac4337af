"""How long to wait before the next attempt: one function for everything that is tried again."""

from __future__ import annotations

import random

MAX_DOUBLINGS = 60
"""More change nothing, and would overflow a float where something has failed for years."""


def backoff_seconds(failures: int, first: float, maximum: float, seed: str | None = None) -> float:
    """Seconds to wait: `first`, doubled for each failure before the present one, at most `maximum`.

    failures: attempts that failed before this one, from 0. seed: with one, the wait is a random share between half and the
    whole of that ("equal jitter"), so that many that failed together do not return together; the same seed and number
    give the same wait.
    """
    wait = min(maximum, first * 2.0 ** min(failures, MAX_DOUBLINGS))
    if seed is None:
        return wait
    return wait * random.Random(f"{seed}/{failures}").uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
