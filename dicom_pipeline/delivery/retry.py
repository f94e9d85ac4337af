"""When to try again. Pure: the decision is a value."""

from __future__ import annotations

from dataclasses import dataclass

from dicom_pipeline.backoff import backoff_seconds
from dicom_pipeline.catalog.database import FURTHEST_SECONDS

FIRST_SECONDS = 2.0
LONGEST_SECONDS = FURTHEST_SECONDS
"""The catalog takes what is planned further ahead for the plan of a clock that was set back."""


@dataclass(frozen=True, slots=True)
class RetryRule:
    """Back-off doubles from first to longest (seconds), with jitter; after most_seconds a person is asked."""

    first_seconds: float = FIRST_SECONDS
    longest_seconds: float = LONGEST_SECONDS
    most_seconds: float = 7 * 24 * 3600.0


def next_attempt(
    attempts: int, created_at: float, now: float, seed: str, rule: RetryRule | None = None
) -> float | None:
    """Time of the next attempt after `attempts` failed ones, None where the delivery has grown too old.

    The jitter is seeded, so that the same history gives the same time.
    """
    rule = rule or RetryRule()
    if now - created_at >= rule.most_seconds:
        return None
    return now + backoff_seconds(attempts, rule.first_seconds, rule.longest_seconds, seed)
