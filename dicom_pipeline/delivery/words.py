"""What a peer says of a report that it refuses, without what it may quote from that report about the patient."""

from __future__ import annotations

import io
import re

from pydicom import dcmread

PATIENT = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "OtherPatientIDs",
    "PatientAddress",
    "AccessionNumber",
    "ReferringPhysicianName",
)
SHORTEST = 3
"""Shorter values are in every sentence."""


def without_patient(words: str, report: bytes) -> str:
    """The words with every value of the report's patient, and every part of a name, replaced by [removed]."""
    if not words:
        return words
    ds = dcmread(io.BytesIO(report), stop_before_pixels=True, specific_tags=list(PATIENT))
    values: set[str] = set()
    for element in ds:
        for value in str(element.value or "").split("\\"):
            values.update((value.strip(), *re.split(r"[\^= ]+", value)))
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= SHORTEST:
            words = re.sub(re.escape(value), "[removed]", words, flags=re.IGNORECASE)
    return words
