"""Which objects of a revision go to which destination. Pure: the decision is a value."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dicom_pipeline.config import DeliverSection


@dataclass(frozen=True, slots=True)
class StudyFacts:
    """What rules look at in a revision.

    modalities: of series with used frames. calling_ae_titles: of the nodes that sent its instances. above: labels whose
    score of a series reaches the label's threshold.
    """

    modalities: frozenset[str]
    calling_ae_titles: frozenset[str]
    study_description: str
    above: frozenset[str]


def matches(rule: DeliverSection, facts: StudyFacts, kind: str) -> bool:
    """Whether an object of a kind ("report", or a companion's name) goes to the peer of a rule: every field is met.

    An empty field is met by everything.
    """
    return (
        _meets(rule.modalities, facts.modalities)
        and _meets(rule.calling_ae_titles, facts.calling_ae_titles)
        and _meets(rule.labels, facts.above)
        and _meets(rule.objects, frozenset({kind}))
        and re.search(rule.study_description, facts.study_description, re.IGNORECASE) is not None
    )


def _meets(accepted: tuple[str, ...], found: frozenset[str]) -> bool:
    return not accepted or not found.isdisjoint(accepted)
