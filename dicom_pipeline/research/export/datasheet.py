"""What an export says of itself: its columns, and a datasheet (Gebru et al. 2021) that a data steward can sign."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any

from jinja2 import Environment

COLUMNS: Mapping[str, str] = {
    "sop_instance_uid": "UID of the image (pseudonym unless identified)",
    "series_instance_uid": "UID of its series (pseudonym unless identified)",
    "study_instance_uid": "UID of its study (pseudonym unless identified)",
    "frame": "frame number in the image, from 1",
    "frames": "frames that were pooled into this row",
    "embedding": "float32 vector of fixed length; raw for frames: normalise before comparing",
    "position_mm": "distance along the slice normal in mm",
    "stack": "stack of the series (orientation, echo, phase) that the frame belongs to, from 0",
    "preset": "rendering preset that made the model's input",
    "encoder": "model, as it was asked for",
    "fingerprint": "sha256 over everything that can change a number: weights, presets, selection, labels, software",
    "weights": "sha256 of the model's weights; vectors of different weights cannot be compared",
    "space": "names weights and rendering preset together: vectors of one space can be compared, and a probe fits it",
    "revision": "revision of the study, from 1; a newer one replaced the older",
    "patient_id": "the patient (pseudonym unless identified): split training and test sets by this column",
    "study_date": "date of the study; moved by an unknown number of days, the same for all of a patient's, unless identified",
    "domain": "whether the frame is like those that the model is known for: in-domain or out-of-domain; empty where not judged",
    "domain_distance": "distance of the frame from those, as a multiple of the limit of in-domain",
    "modality": "DICOM modality",
    "body_part": "BodyPartExamined",
    "view": "ViewPosition",
    "manufacturer": "Manufacturer",
    "model": "ManufacturerModelName of the scanner",
    "kernel": "ConvolutionKernel, its first value",
    "sequence": "SequenceName, its first value",
    "sex": "PatientSex",
    "age_band": "PatientAge in bands of ten years, 90 and over together",
    "slice_thickness_mm": "SliceThickness in mm",
    "kvp": "peak tube voltage in kV",
    "field_strength_t": "magnetic field strength in tesla",
}
"""Every column that an export can have, in words."""


def datasheet(manifest: Mapping[str, Any]) -> str:
    """README.md of an export, from its manifest."""
    text = (resources.files("dicom_pipeline") / "data" / "templates" / "datasheet.md").read_text(encoding="utf-8")
    environment = Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)  # noqa: S701 - Markdown
    return environment.from_string(text).render(m=manifest)
