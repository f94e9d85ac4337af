"""When a study is complete. Pure: a decision is a value, made of the state, the rule and the time."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dicom_pipeline.catalog.revisions import WaitingStudy


@dataclass(frozen=True, slots=True)
class CompletionRule:
    """quiet and cap in seconds."""

    quiet_seconds: float
    hard_cap_seconds: float


class Decision(StrEnum):
    """What to do with a waiting study now; all but WAIT are causes that stand in its revision."""

    WAIT = "wait"
    QUIET = "quiet"
    EXPECTED = "expected"
    HARD_CAP = "hard-cap"


def decide(study: WaitingStudy, rule: CompletionRule, now: float) -> Decision:
    """Complete when the announced count is there, or when it has been quiet long enough and no open association sent it.

    An announced count that has not come keeps a quiet study waiting until the cap. While a revision of the study is being
    processed the next one waits, so that revisions never overtake each other.
    """
    if study.busy:
        return Decision.WAIT
    if now - study.first_at >= rule.hard_cap_seconds:
        return Decision.HARD_CAP
    if study.open_association:
        return Decision.WAIT
    if study.expected is not None:
        return Decision.EXPECTED if study.received >= study.expected else Decision.WAIT
    return Decision.QUIET if now - study.last_at >= rule.quiet_seconds else Decision.WAIT
