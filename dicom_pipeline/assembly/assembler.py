"""Complete studies become revisions, by the rules of the settings."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from dicom_pipeline.assembly.ages import Ages
from dicom_pipeline.assembly.completion import AtCap, CompletionRule, Decision, decide, rule_for
from dicom_pipeline.catalog import Catalog
from dicom_pipeline.catalog.revisions import WaitingStudy, discard_study, hold_study, make_revision, waiting_studies
from dicom_pipeline.config import AssemblySection
from dicom_pipeline.domain import short_uid

log = logging.getLogger(__name__)


def completion_rules(section: AssemblySection) -> list[CompletionRule]:
    """The rules of the settings, the one for everything else (`default`) last."""
    default = CompletionRule(
        section.quiet_seconds, section.hard_cap_seconds, section.wanted_series, AtCap(section.at_hard_cap)
    )
    rules = [
        CompletionRule(
            default.quiet_seconds if rule.quiet_seconds is None else rule.quiet_seconds,
            default.hard_cap_seconds if rule.hard_cap_seconds is None else rule.hard_cap_seconds,
            default.wanted_series if rule.wanted_series is None else rule.wanted_series,
            default.at_hard_cap if rule.at_hard_cap is None else AtCap(rule.at_hard_cap),
            rule.name,
            rule.calling_ae_titles,
            rule.modalities,
        )
        for rule in section.rules
    ]
    return [*rules, default]


def complete_studies(catalog: Catalog, rules: Sequence[CompletionRule], now: float, ages: Ages | None = None) -> int:
    """Turn every complete study into a revision; returns how many. rules: as of completion_rules.

    ages: of the run of the service; without it the catalog's own times count.
    """
    made = 0
    waiting = waiting_studies(catalog)
    for study in ages.apply(waiting, now, time.monotonic()) if ages else waiting:
        rule = rule_for(study, rules)
        decision = decide(study, rule, now)
        if decision is not Decision.WAIT:
            made += _carry_out(catalog, study, rule, decision, now)
    return made


def _carry_out(catalog: Catalog, study: WaitingStudy, rule: CompletionRule, decision: Decision, now: float) -> bool:
    """Whether a revision was made that will be processed."""
    uid = study.study_instance_uid
    if decision is Decision.HOLD:
        hold_study(catalog, uid)
        log.warning("study %s: held at the hard cap by rule %s; `release` lets it go on", short_uid(uid), rule.name)
        return False
    if decision is Decision.DISCARD:
        number = discard_study(catalog, uid, now, decision.value, rule.name)
        if number is None:
            return False
        log.warning("study %s: revision %d, discarded at the hard cap by rule %s", short_uid(uid), number, rule.name)
        return False
    number = make_revision(catalog, uid, now, decision.value, rule.name)
    if number is None:
        return False
    log.info("study %s: revision %d, %s by rule %s", short_uid(uid), number, decision.value, rule.name)
    return True
