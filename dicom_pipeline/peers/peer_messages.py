"""What a peer says of a report that it refuses, without what it may quote from that report about the patient."""

from __future__ import annotations

import io
import re
from typing import Any

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
MIN_CHARACTERS = 3
"""Shorter values are in every sentence."""
MAX_CHARACTERS = 200


def error_text(response: Any) -> str:
    """What an HTTP server writes of a failure: Orthanc's Message and Details, or a plain text; "" for pages and forms.

    response: of requests. At most 200 printable characters.
    """
    try:
        value = response.json()
    except ValueError:
        plain = response.headers.get("Content-Type", "").startswith("text/plain")
        said = response.text if plain else ""
    else:
        texts = [value.get(name) for name in ("Message", "Details")] if isinstance(value, dict) else [value]
        said = ", ".join(text for text in texts if isinstance(text, str) and text)
    return " ".join("".join(c if c.isprintable() else " " for c in said).split())[:MAX_CHARACTERS]


def redact_patient(words: str, report: bytes) -> str:
    """The words with every value of the report's patient, and every part of a name, replaced by [removed], and in one line."""
    words = "".join(c if c.isprintable() else " " for c in words)  # nor what would move the cursor of a terminal
    if not words:
        return words
    ds = dcmread(io.BytesIO(report), stop_before_pixels=True, specific_tags=list(PATIENT))
    values: set[str] = set()
    for element in ds:
        for value in str(element.value or "").split("\\"):
            values.update((value.strip(), *re.split(r"[\^= ]+", value)))
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= MIN_CHARACTERS:
            words = re.sub(re.escape(value), "[removed]", words, flags=re.IGNORECASE)
    return words
