"""When a study is complete. Pure: a decision is a value, made of the state, the rule and the time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from dicom_pipeline.catalog.revisions import WaitingStudy


class AtCap(StrEnum):
    """What becomes of a study that is not complete at the hard cap: processed as it stands, held for a person, discarded."""

    PROCEED = "proceed"
    HOLD = "hold"
    DISCARD = "discard"


@dataclass(frozen=True, slots=True)
class CompletionRule:
    """When studies that it fits are complete. quiet and cap in seconds.

    wanted_series: regular expressions; each must be found (whatever its case) in some series' description. It fits a study
    of which any of `calling_ae_titles` sent a part and which has a series of any of `modalities`; empty fits all.
    """

    quiet_seconds: float
    hard_cap_seconds: float
    wanted_series: tuple[str, ...] = ()
    at_hard_cap: AtCap = AtCap.PROCEED
    name: str = "default"
    calling_ae_titles: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()

    def fits(self, study: WaitingStudy) -> bool:
        """Whether this rule is for a study."""
        modalities = {modality for modality, _ in study.series}
        return (not self.calling_ae_titles or not study.senders.isdisjoint(self.calling_ae_titles)) and (
            not self.modalities or not modalities.isdisjoint(self.modalities)
        )

    def missing(self, study: WaitingStudy) -> tuple[str, ...]:
        """The wanted series that have not come."""
        descriptions = [description for _, description in study.series]
        return tuple(
            pattern
            for pattern in self.wanted_series
            if not any(re.search(pattern, description, re.IGNORECASE) for description in descriptions)
        )


class Decision(StrEnum):
    """What to do with a waiting study now. QUIET, EXPECTED, HARD_CAP and DISCARD are causes that stand in its revision."""

    WAIT = "wait"
    QUIET = "quiet"
    EXPECTED = "expected"
    HARD_CAP = "hard-cap"
    HOLD = "hold"
    DISCARD = "discard"


AT_CAP = {AtCap.PROCEED: Decision.HARD_CAP, AtCap.HOLD: Decision.HOLD, AtCap.DISCARD: Decision.DISCARD}


def rule_for(study: WaitingStudy, rules: Sequence[CompletionRule]) -> CompletionRule:
    """The first rule that fits a study; the last one is for every study."""
    return next((rule for rule in rules if rule.fits(study)), rules[-1])


def decide(study: WaitingStudy, rule: CompletionRule, now: float) -> Decision:
    """Complete when the wanted series are there and the announced count is, or, where none was announced, when it has been
    quiet long enough and no open association sent it.

    What has not come keeps a quiet study waiting until the cap, which is for studies that are not complete: one that is, and
    was kept waiting by its own earlier revision, goes on whatever the time. While a revision of the study is being
    processed the next one waits, so that revisions never overtake each other. A study of which files were cleaned from the
    spool waits, beyond the cap too, until these have come again: a report on what came late alone would stand for the whole
    study. A held study waits for a person.
    """
    if study.busy or study.held or study.removed:
        return Decision.WAIT
    if not (study.open_association or rule.missing(study)):
        if study.expected is None and now - study.last_at >= rule.quiet_seconds:
            return Decision.QUIET
        if study.expected is not None and study.received >= study.expected:
            return Decision.EXPECTED
    return AT_CAP[rule.at_hard_cap] if now - study.first_at >= rule.hard_cap_seconds else Decision.WAIT
