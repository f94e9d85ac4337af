"""Acquisition tags that matter for research, and who and when a study is of, from a header."""

from __future__ import annotations

import re
from datetime import date, datetime

from pydicom import Dataset

from dicom_pipeline.dicom.attributes import first_number, read_value, texts_of

TEXT_TAGS = {
    "modality": "Modality",
    "body_part": "BodyPartExamined",
    "view": "ViewPosition",
    "manufacturer": "Manufacturer",
    "model": "ManufacturerModelName",
    "kernel": "ConvolutionKernel",
    "sequence": "SequenceName",
    "sex": "PatientSex",
}
NUMBER_TAGS = {"slice_thickness_mm": "SliceThickness", "kvp": "KVP", "field_strength_t": "MagneticFieldStrength"}


def acquisition_tags(dataset: Dataset) -> dict[str, str | float | None]:
    """Column -> value for the tags above and `age_band` (ten years, 90 and over together); None where unknown."""
    tags: dict[str, str | float | None] = {column: _text(dataset, tag) for column, tag in TEXT_TAGS.items()}
    tags |= {column: _number(dataset, tag) for column, tag in NUMBER_TAGS.items()}
    tags["age_band"] = _age_band(_text(dataset, "PatientAge"))
    return tags


def patient_of(dataset: Dataset) -> str | None:
    """Patient ID, with its issuer behind an @ where one is stated: what tells patients apart. None where unknown."""
    patient, issuer = _text(dataset, "PatientID"), _text(dataset, "IssuerOfPatientID")
    return f"{patient}@{issuer}" if patient and issuer else patient


def study_date_of(dataset: Dataset) -> date | None:
    """The study's date, None where it is missing or no date."""
    try:
        return datetime.strptime(_text(dataset, "StudyDate") or "", "%Y%m%d").date()
    except ValueError:
        return None


def _age_band(age: str | None) -> str | None:
    match = re.fullmatch(r"(\d{3})([DWMY])", age or "")
    if match is None:
        return None
    years = int(match[1]) if match[2] == "Y" else 0
    return "90+" if years >= 90 else f"{years // 10 * 10:02d}-{years // 10 * 10 + 9:02d}"


def _text(dataset: Dataset, keyword: str) -> str | None:
    return next(iter(texts_of(dataset, keyword)), "").strip()[:64] or None


def _number(dataset: Dataset, keyword: str) -> float | None:
    return first_number(read_value(dataset, keyword))
