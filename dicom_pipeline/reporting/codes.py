"""Codes of the report, from data/codes.toml."""

from __future__ import annotations

import functools
import hashlib
import re
import tomllib
from importlib import resources
from typing import Any

from highdicom.sr import CodedConcept
from pydicom import Dataset
from pydicom.sequence import Sequence as DicomSequence

from dicom_pipeline.domain import Code, Label
from dicom_pipeline.reporting.evidence import LO, cut

SCORE_FOR = "Score for "
MAX_PLAIN_LENGTH = 14
PLAIN_NAME = re.compile(r"[A-Z][a-z0-9]*( [A-Z][a-z0-9]*)*")
"""Names that differ in more than case and separators."""


@functools.cache
def _tables() -> dict[str, dict[str, Any]]:
    file = resources.files("dicom_pipeline") / "data" / "codes.toml"
    return tomllib.loads(file.read_text(encoding="utf-8"))


def coded(table: str, key: str) -> CodedConcept:
    """The code under a table and key of the file."""
    value, scheme, meaning = _tables()[table][key]
    return CodedConcept(value, scheme, meaning)


def as_item(code: CodedConcept) -> Dataset:
    """A code as the item of a code sequence (PS3.3 8.8), without highdicom's checks."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item


def text_item(relationship: str, name: str, text: str) -> Dataset:
    """A TEXT content item (PS3.3 C.17.3.2) under a concept of the file."""
    item = Dataset()
    item.RelationshipType, item.ValueType = relationship, "TEXT"
    item.ConceptNameCodeSequence = DicomSequence([as_item(coded("concept", name))])
    item.TextValue = text
    return item


def key_of(table: str, code_value: str) -> str | None:
    """The key in a table whose code has this value: the way back when a report is read."""
    return next((key for key, code in _tables()[table].items() if code[0] == code_value), None)


def procedure(modality: str) -> CodedConcept:
    """Procedure Reported for a modality."""
    return coded("procedure", modality if modality in _tables()["procedure"] else "other")


def score_concept(label: Label) -> CodedConcept:
    """The private concept of a label's score: a score is no finding, so it never bears the finding's own code."""
    return CodedConcept(score_code(label.name), private_scheme(), _meaning(f"{SCORE_FOR}{label.name}"))


def score_code(name: str) -> str:
    """The code value of the score of the label of this name."""
    return f"S-{_short(name)}"


def threshold_concept(label: Label) -> CodedConcept:
    """The private concept of "above threshold" for a label; its value is that of the score but for the first letter."""
    return CodedConcept(f"T-{_short(label.name)}", private_scheme(), _meaning(f"Above threshold: {label.name}"))


def is_shortened(label: Label) -> bool:
    """Whether a label's name does not stand in full in the meaning of its score's concept."""
    return score_concept(label).meaning != f"{SCORE_FOR}{label.name}"


def _short(name: str) -> str:
    """At most 14 characters that no other label's name gives: the name's own where they suffice, else with a digest."""
    plain = re.sub(r"[^A-Z0-9]+", "-", name.upper()).strip("-")
    if len(plain) <= MAX_PLAIN_LENGTH and PLAIN_NAME.fullmatch(name):
        return plain
    return f"{plain[:7]}-{hashlib.sha256(name.encode()).hexdigest()[:6].upper()}".lstrip("-")


def _meaning(text: str) -> str:
    """A Code Meaning (LO): one value without control characters of at most 64 bytes."""
    return cut("".join(c for c in text.replace("\\", "/") if c.isprintable()), LO)


def label_concept(label: Label) -> CodedConcept | None:
    """The label's own code, None where it has none."""
    return _concept(label.code)


def site_concept(label: Label) -> CodedConcept | None:
    """The code of the label's body site, None where it has none."""
    return _concept(label.site)


def _concept(code: Code | None) -> CodedConcept | None:
    return None if code is None else CodedConcept(code.value, code.scheme, _meaning(code.meaning))


def private_scheme() -> str:
    """The designator of our private codes."""
    return str(_tables()["private_scheme"]["designator"])


def scheme_identification(uid: str) -> DicomSequence:
    """Coding Scheme Identification Sequence (PS3.3 C.12.1.1.7) that declares the private scheme."""
    table = _tables()["private_scheme"]
    item = Dataset()
    item.CodingSchemeDesignator = table["designator"]
    item.CodingSchemeUID = uid
    item.CodingSchemeName = table["name"]
    item.CodingSchemeResponsibleOrganization = table["organisation"]
    return DicomSequence([item])
