"""Acquisition tags that matter for research, from a header; nothing that names a patient."""

from __future__ import annotations

import re
from typing import Any

from pydicom import Dataset
from pydicom.errors import BytesLengthException

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


def _age_band(age: str | None) -> str | None:
    match = re.fullmatch(r"(\d{3})([DWMY])", age or "")
    if match is None:
        return None
    years = int(match[1]) if match[2] == "Y" else 0
    return "90+" if years >= 90 else f"{years // 10 * 10:02d}-{years // 10 * 10 + 9:02d}"


def _value(dataset: Dataset, keyword: str) -> Any:
    try:
        value = dataset.get(keyword)
    except (ValueError, TypeError, LookupError, BytesLengthException, NotImplementedError):
        return None
    if value is not None and hasattr(value, "__iter__") and not isinstance(value, str | bytes):
        value = next(iter(value), None)
    return value


def _text(dataset: Dataset, keyword: str) -> str | None:
    value = _value(dataset, keyword)
    return str(value).strip()[:64] or None if value is not None else None


def _number(dataset: Dataset, keyword: str) -> float | None:
    try:
        return float(_value(dataset, keyword))
    except (TypeError, ValueError):
        return None
