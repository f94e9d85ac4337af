"""When to try again. Pure: the decision is a value."""

from __future__ import annotations

from dataclasses import dataclass

from dicom_pipeline.backoff import backoff_seconds
from dicom_pipeline.catalog.database import MAX_AHEAD_SECONDS

FIRST_SECONDS = 2.0
MAX_WAIT_SECONDS = MAX_AHEAD_SECONDS
"""The catalog takes what is planned further ahead for the plan of a clock that was set back."""


@dataclass(frozen=True, slots=True)
class RetryRule:
    """Back-off doubles from first to max_wait (seconds), with jitter; after max_seconds a person is asked."""

    first_seconds: float = FIRST_SECONDS
    max_wait_seconds: float = MAX_WAIT_SECONDS
    max_seconds: float = 7 * 24 * 3600.0


def next_attempt(
    attempts: int, created_at: float, now: float, seed: str, rule: RetryRule | None = None
) -> float | None:
    """Time of the next attempt after `attempts` failed ones, None where the delivery has grown too old.

    The jitter is seeded, so that the same history gives the same time.
    """
    rule = rule or RetryRule()
    if now - created_at >= rule.max_seconds:
        return None
    return now + backoff_seconds(attempts, rule.first_seconds, rule.max_wait_seconds, seed)
