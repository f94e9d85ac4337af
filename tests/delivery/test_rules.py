"""Which objects go to which destination: the decision as a value, and rules that could never be met."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dicom_pipeline.config import Settings
from dicom_pipeline.delivery.rules import DeliveryRule, StudyFacts, wants
from dicom_pipeline.errors import ConfigError
from dicom_pipeline.service.wiring import check_rules

FACTS = StudyFacts(frozenset({"CT"}), frozenset({"SCANNER1"}), "CT Thorax nativ", frozenset({"Nodule"}))
some = st.frozensets(st.sampled_from(["A", "B", "C"]))


@pytest.mark.parametrize(
    ("rule", "kind", "wanted"),
    [
        (DeliveryRule(), "report", True),
        (DeliveryRule(modalities=("MR", "CT")), "report", True),
        (DeliveryRule(modalities=("MR",)), "report", False),
        (DeliveryRule(calling_ae_titles=("SCANNER1",)), "report", True),
        (DeliveryRule(calling_ae_titles=("SCANNER2",)), "report", False),
        (DeliveryRule(study_description="thorax"), "report", True),
        (DeliveryRule(study_description="^thorax"), "report", False),
        (DeliveryRule(labels=("Nodule", "Effusion")), "report", True),
        (DeliveryRule(labels=("Effusion",)), "report", False),
        (DeliveryRule(objects=("report",)), "pdf", False),
        (DeliveryRule(objects=("pdf",)), "pdf", True),
        (DeliveryRule(modalities=("CT",), study_description="head"), "report", False),
    ],
)
def test_every_field_that_is_set_must_be_met(rule, kind, wanted):
    assert wants(rule, FACTS, kind) is wanted


@given(some, some, some, some, some, some, st.sampled_from(["A", "B", "C"]))
def test_a_rule_with_more_in_it_never_wants_more(m1, m2, a1, a2, l1, l2, kind):
    facts = StudyFacts(m1, a1, "x", l1)
    wide = DeliveryRule(modalities=tuple(m2), labels=tuple(l2))
    narrow = DeliveryRule(modalities=tuple(m2), labels=tuple(l2), calling_ae_titles=tuple(a2), objects=("A",))
    assert wants(wide, facts, kind) or not wants(narrow, facts, kind)
    assert wants(DeliveryRule(), facts, kind)


def settings(**destination) -> Settings:
    entry = {"type": "folder", "name": "f", "path": "out", **destination}
    return Settings(destinations=[entry], report={"companions": ["pdf"]})


@pytest.mark.parametrize(
    ("destination", "words"),
    [
        ({"study_description": "("}, "no regular expression"),
        ({"objects": ["key-image"]}, r"does not make: \['key-image'\]"),
        ({"labels": ["No such label"]}, r"no label with a threshold is called \['No such label'\]"),
    ],
)
def test_a_rule_that_could_never_be_met_is_refused_at_the_start(destination, words):
    with pytest.raises(ConfigError, match=words):
        check_rules(settings(**destination))


def test_a_rule_that_can_be_met_is_taken():
    check_rules(settings(objects=["report", "pdf"], study_description="thorax|chest"))


def test_a_node_that_answers_commitment_must_be_admitted_by_the_listener():
    node = {"type": "dicom", "name": "p", "ae_title": "PACS", "host": "h", "port": 104, "verify": "commitment"}
    with pytest.raises(ConfigError, match="add 'PACS' to"):
        check_rules(Settings(destinations=[node], listener={"calling_ae_titles": ["CT1"]}))
    check_rules(Settings(destinations=[node], listener={"calling_ae_titles": ["CT1", "PACS"]}))
    check_rules(Settings(destinations=[node]))


@pytest.mark.parametrize(
    "url", ["localhost:8042/dicom-web", "http://", "ftp://pacs/x", "", "http://pacs:99999/", "http://a b/"]
)
@pytest.mark.parametrize("kind", ["orthanc", "dicomweb"])
def test_a_url_that_could_never_be_asked_is_refused_at_the_start(kind, url):
    with pytest.raises(ValidationError, match="begins with http"):
        Settings(destinations=[{"type": kind, "name": "o", "url": url}])
    for good in ("http://127.0.0.1:8042", "https://pacs.example/dicom-web", "http://[::1]:8042/orthanc/"):
        Settings(destinations=[{"type": kind, "name": "o", "url": good}])
