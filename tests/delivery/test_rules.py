"""Which objects go to which destination: the decision as a value, and rules that could never be met."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dicom_pipeline.config import DeliverSection, Settings
from dicom_pipeline.delivery.rules import StudyFacts, matches
from dicom_pipeline.errors import ConfigError
from dicom_pipeline.service.starting.checks import check_rules

FACTS = StudyFacts(frozenset({"CT"}), frozenset({"SCANNER1"}), "CT Thorax nativ", frozenset({"Nodule"}))
some = st.frozensets(st.sampled_from(["A", "B", "C"]))


@pytest.mark.parametrize(
    ("rule", "kind", "wanted"),
    [
        (DeliverSection(), "report", True),
        (DeliverSection(modalities=("MR", "CT")), "report", True),
        (DeliverSection(modalities=("MR",)), "report", False),
        (DeliverSection(calling_ae_titles=("SCANNER1",)), "report", True),
        (DeliverSection(calling_ae_titles=("SCANNER2",)), "report", False),
        (DeliverSection(study_description="thorax"), "report", True),
        (DeliverSection(study_description="^thorax"), "report", False),
        (DeliverSection(labels=("Nodule", "Effusion")), "report", True),
        (DeliverSection(labels=("Effusion",)), "report", False),
        (DeliverSection(objects=("report",)), "pdf", False),
        (DeliverSection(objects=("pdf",)), "pdf", True),
        (DeliverSection(modalities=("CT",), study_description="head"), "report", False),
    ],
)
def test_every_field_that_is_set_must_be_met(rule, kind, wanted):
    assert matches(rule, FACTS, kind) is wanted


@given(some, some, some, some, some, some, st.sampled_from(["report", "pdf"]))
def test_a_rule_with_more_in_it_never_wants_more(m1, m2, a1, a2, l1, l2, kind):
    facts = StudyFacts(m1, a1, "x", l1)
    wide = DeliverSection(modalities=tuple(m2), labels=tuple(l2))
    narrow = DeliverSection(modalities=tuple(m2), labels=tuple(l2), calling_ae_titles=tuple(a2), objects=("pdf",))
    assert matches(wide, facts, kind) or not matches(narrow, facts, kind)
    assert matches(DeliverSection(), facts, kind)


def settings(**rule) -> Settings:
    peer = {"type": "folder", "name": "f", "path": "out", "deliver": rule}
    return Settings(peers=[peer], report={"companions": ["pdf"]})


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"objects": ["key-image"]}, r"does not make: \['key-image'\]"),
        ({"labels": ["No such label"]}, r"no label with a threshold is called \['No such label'\]"),
    ],
)
def test_a_rule_that_could_never_be_met_is_refused_at_the_start(rule, words):
    with pytest.raises(ConfigError, match=words):
        check_rules(settings(**rule))


@pytest.mark.parametrize("text", ["(", "[a", "*"])
def test_a_description_must_be_a_regular_expression(text):
    with pytest.raises(ValidationError, match="expected a regular expression"):
        settings(study_description=text)


def test_a_rule_that_can_be_met_is_taken():
    check_rules(settings(objects=["report", "pdf"], study_description="thorax|chest"))


def test_a_node_that_answers_commitment_must_be_admitted_by_the_listener():
    node = {"type": "dicom", "name": "p", "ae_title": "PACS", "host": "h", "port": 104}
    node["deliver"] = {"verify": "commitment"}
    with pytest.raises(ConfigError, match="add 'PACS' to"):
        check_rules(Settings(peers=[node], listener={"calling_ae_titles": ["CT1"]}))
    check_rules(Settings(peers=[node], listener={"calling_ae_titles": ["CT1", "PACS"]}))
    check_rules(Settings(peers=[node]))


@pytest.mark.parametrize(
    "url", ["localhost:8042/dicom-web", "http://", "ftp://pacs/x", "", "http://pacs:99999/", "http://a b/"]
)
@pytest.mark.parametrize("kind", ["orthanc", "dicomweb"])
def test_a_url_that_could_never_be_asked_is_refused_at_the_start(kind, url):
    with pytest.raises(ValidationError, match="begins with http"):
        Settings(peers=[{"type": kind, "name": "o", "url": url}])
    for good in ("http://127.0.0.1:8042", "https://pacs.example/dicom-web", "http://[::1]:8042/orthanc/"):
        Settings(peers=[{"type": kind, "name": "o", "url": good}])
