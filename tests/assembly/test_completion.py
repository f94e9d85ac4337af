"""Completion rules as a pure decision: by sender and modality, wanted series, and what happens at the hard cap."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_pipeline.assembly.assembler import complete_studies, completion_rules
from dicom_pipeline.assembly.completion import AtCap, CompletionRule, Decision, decide, rule_for
from dicom_pipeline.catalog.account import service_account
from dicom_pipeline.catalog.arrivals import Received, announce
from dicom_pipeline.catalog.revisions import (
    MadeReport,
    WaitingStudy,
    ask_revision,
    waiting_studies,
)
from dicom_pipeline.catalog.studies import study_account
from dicom_pipeline.config import load_settings
from dicom_pipeline.errors import ConfigError
from tests.peers.entries import SR, finish_next, record_instance

NAMES = ("LUNG", "Bone", "scout", "T1 post")
AE_TITLES = ("CT1", "CT2", "GATE")
MODALITIES = ("CT", "MR", "SR")

rules = st.builds(
    CompletionRule,
    st.floats(0, 100),
    st.floats(1, 1000),
    st.lists(st.sampled_from(("lung", "^bone$", "t1.*post")), max_size=2).map(tuple),
    st.sampled_from(AtCap),
    st.just("rule"),
    st.lists(st.sampled_from(AE_TITLES), max_size=2).map(tuple),
    st.lists(st.sampled_from(MODALITIES), max_size=2).map(tuple),
)
studies = st.builds(
    WaitingStudy,
    st.just("1"),
    st.just(0.0),
    st.floats(0, 500),
    st.one_of(st.none(), st.integers(1, 5)),
    st.integers(1, 5),
    st.booleans(),
    st.booleans(),
    st.sampled_from((0, 0, 0, 2)),
    st.sampled_from((False, False, True)),
    st.frozensets(st.sampled_from(AE_TITLES), min_size=1),
    st.lists(st.tuples(st.sampled_from(MODALITIES), st.sampled_from(NAMES)), min_size=1, max_size=4).map(tuple),
)
DONE = {Decision.QUIET, Decision.EXPECTED}
AT_CAP = {"proceed": Decision.HARD_CAP, "hold": Decision.HOLD, "discard": Decision.DISCARD}


@given(studies, rules, st.floats(0, 2000))
def test_the_decision_keeps_its_promises(study, rule, now):
    decision = decide(study, rule, now)
    may_go_on = not (study.busy or study.held or study.removed)
    assert may_go_on or decision is Decision.WAIT
    if may_go_on and now >= rule.hard_cap_seconds:
        assert decision in {AT_CAP[rule.at_hard_cap.value], *DONE}, "nothing waits beyond the cap"
    else:
        assert decision not in AT_CAP.values(), "the cap has not come"
    if decision in DONE:
        names = [name for _, name in study.series]
        assert all(any(re.search(p, name, re.IGNORECASE) for name in names) for p in rule.wanted_series)
        assert not study.open_association
        assert study.expected is None or study.received >= study.expected
        assert decision is Decision.EXPECTED or now - study.last_at >= rule.quiet_seconds


@given(studies, rules, st.floats(0, 2000), st.floats(0, 2000))
def test_waiting_longer_never_undoes_that_a_study_is_complete(study, rule, first, second):
    early, late = sorted((first, second))
    if decide(study, rule, early) is not Decision.WAIT:
        assert decide(study, rule, late) is not Decision.WAIT


@given(studies, st.lists(rules, max_size=4))
def test_the_first_rule_that_fits_is_taken(study, several):
    default = CompletionRule(1, 2)
    chosen = rule_for(study, [*several, default])
    fitting = [rule for rule in several if rule.fits(study)]
    assert chosen is (fitting[0] if fitting else default)
    for rule in several:
        by_sender = not rule.calling_ae_titles or any(a in study.senders for a in rule.calling_ae_titles)
        by_modality = not rule.modalities or any(m in rule.modalities for m, _ in study.series)
        assert rule.fits(study) == (by_sender and by_modality)


SETTINGS = """
[assembly]
quiet_seconds = 20
hard_cap_seconds = 600

[[assembly.rules]]
name = "whole-ct"
modalities = ["CT"]
quiet_seconds = 5
wanted_series = ["lung", "bone"]
at_hard_cap = "hold"

[[assembly.rules]]
name = "gate"
calling_ae_titles = ["GATE"]
hard_cap_seconds = 60
at_hard_cap = "discard"
"""


@pytest.fixture
def by_settings(tmp_path):
    (tmp_path / "pipeline.toml").write_text(SETTINGS)
    return completion_rules(load_settings(tmp_path / "pipeline.toml").assembly)


def receive(catalog, sop, series, *, at=0.0, sender="CT1", modality="CT", study="1"):
    received = Received(sop, "aa", study, f"1.{series}", "1.2", "1.2", sop, 9, sender, "", "", at, modality, series)
    return record_instance(catalog, received)


def test_settings_give_rules_with_the_defaults_of_the_section(by_settings):
    ct, gate, default = by_settings
    assert (ct.quiet_seconds, ct.hard_cap_seconds, ct.at_hard_cap) == (5, 600, AtCap.HOLD)
    assert (gate.quiet_seconds, gate.hard_cap_seconds, gate.wanted_series) == (20, 60, ())
    assert (default.name, default.at_hard_cap) == ("default", AtCap.PROCEED)


@pytest.mark.parametrize(
    "line", ['wanted_series = ["("]', 'at_hard_cap = "wait"', "[[assembly.rules]]\nquiet_seconds = 1"]
)
def test_a_wrong_rule_is_named(tmp_path, line):
    (tmp_path / "pipeline.toml").write_text(f"[assembly]\n{line}\n")
    with pytest.raises(ConfigError, match="assembly"):
        load_settings(tmp_path / "pipeline.toml")


def test_a_study_waits_for_its_wanted_series_and_the_rule_is_written_down(catalog, by_settings):
    receive(catalog, "1.1", "LUNG 1.0")
    assert complete_studies(catalog, by_settings, 100.0) == 0
    receive(catalog, "1.2", "Bone 1.0", at=100.0)
    assert complete_studies(catalog, by_settings, 104.0) == 0
    assert complete_studies(catalog, by_settings, 105.0) == 1
    (revision,) = service_account(catalog)["revisions"]
    assert (revision["cause"], revision["rule"]) == ("quiet", "whole-ct")


def test_an_announced_count_does_not_replace_a_wanted_series(catalog, by_settings):
    announce(catalog, "1", 1, 0.0)
    receive(catalog, "1.1", "LUNG")
    assert complete_studies(catalog, by_settings, 10.0) == 0
    receive(catalog, "1.2", "bone", at=20.0)
    assert complete_studies(catalog, by_settings, 20.0) == 1


def test_a_held_study_waits_for_a_person(catalog, by_settings):
    receive(catalog, "1.1", "LUNG")
    assert complete_studies(catalog, by_settings, 600.0) == 0
    assert study_account(catalog, "1")["state"] == "held"
    account = service_account(catalog)
    assert (account["totals"]["held"], account["held"][0]["study_instance_uid"]) == (1, "1")
    receive(catalog, "1.2", "bone", at=700.0)
    assert complete_studies(catalog, by_settings, 9999.0) == 0
    assert ask_revision(catalog, "1", 10000.0) == 1
    assert service_account(catalog)["totals"]["held"] == 0
    assert waiting_studies(catalog) == []


def test_a_discarded_study_is_looked_at_anew_when_more_comes(catalog, by_settings):
    announce(catalog, "1", 2, 0.0)
    receive(catalog, "1.1", "AX", sender="GATE", modality="MR")
    assert complete_studies(catalog, by_settings, 60.0) == 0
    (revision,) = service_account(catalog)["revisions"]
    assert (revision["state"], revision["reasons"], revision["rule"]) == ("discarded", {"discarded": 1}, "gate")
    assert (revision["received"], revision["excluded"]) == (1, 1)
    assert "gate" in revision["message"]
    assert waiting_studies(catalog) == []
    receive(catalog, "1.2", "AX", at=100.0, sender="GATE", modality="MR")
    assert complete_studies(catalog, by_settings, 120.0) == 1
    assert [(r["state"], r["received"]) for r in service_account(catalog)["revisions"]] == [
        ("discarded", 1),
        ("ready", 2),
    ]


@pytest.mark.parametrize("sender", ["GATE", "CT1"])
def test_a_complete_study_that_waited_for_a_busy_worker_beyond_the_cap_is_complete(catalog, by_settings, sender):
    """The cap is for what is not complete: a queue before the worker must not make a rule discard or hold a study."""
    receive(catalog, "1.1", "lung", sender=sender)
    receive(catalog, "1.2", "bone", sender=sender)
    assert complete_studies(catalog, by_settings, 20.0) == 1
    receive(catalog, "1.3", "bone", at=30.0, sender=sender)  # late, while the first revision waits for its turn
    assert complete_studies(catalog, by_settings, 9000.0) == 0
    finish_next(catalog, [MadeReport("9.1", SR, "r.dcm", "h", ())], at=90.0)
    assert complete_studies(catalog, by_settings, 9001.0) == 1
    assert service_account(catalog)["revisions"][-1]["cause"] == "quiet"


@given(studies, rules, st.floats(0, 2000))
def test_what_is_complete_is_neither_held_nor_discarded_nor_said_to_be_cut_off(study, rule, now):
    if decide(study, replace(rule, hard_cap_seconds=1e9), now) in DONE:
        assert decide(study, rule, now) in DONE


class AskedMeanwhile:
    """Between the look at the waiting studies and the decision a person asks for the study's revision."""

    def __init__(self, catalog):
        self.catalog = catalog

    def apply(self, studies, now, monotonic):
        assert ask_revision(self.catalog, "1", now) == 1
        return studies


@pytest.mark.parametrize("sender", ["CT1", "GATE"])
def test_a_revision_that_a_person_asks_for_at_the_same_moment_is_made_once(catalog, by_settings, sender):
    receive(catalog, "1.1", "AX", sender=sender, modality="MR")
    announce(catalog, "1", 2, 0.0)
    assert complete_studies(catalog, by_settings, 601.0, AskedMeanwhile(catalog)) == 0
    assert [r["cause"] for r in service_account(catalog)["revisions"]] == ["asked"]
