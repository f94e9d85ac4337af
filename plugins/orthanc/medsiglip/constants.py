"""Values that the plug-in shares with the package, and the text files that it serves.

The only part that imports dicom_pipeline, which Orthanc's Python does not have: `make plug-in` evaluates this part and
writes each value into the built file as a literal.
"""

from __future__ import annotations

from pathlib import Path

from pydicom.sr.codedict import codes as dicom_codes

from dicom_pipeline.dicom import own_objects, uids
from dicom_pipeline.domain import Derivation
from dicom_pipeline.domain.life import RevisionState, StudyState
from dicom_pipeline.reporting import codes, content, readback

_FOLDER = Path(__file__).parent

OWN_DEVICE_UID = uids.DEVICE_UID
"""Device UID in the Contributing Equipment Sequence of every object that dicom_pipeline makes: such objects are not sent."""

OWN_DEVICE = (own_objects.MANUFACTURER, own_objects.MODEL_NAME)
"""Manufacturer and model in that sequence, for copies whose UIDs were replaced, as Orthanc does when it anonymises."""

UID_NAMESPACE = str(uids.NAMESPACE)
"""Namespace of dicom_pipeline's UIDs: distinguishes the reports on a study from copies of another study's reports."""

SCORE_FOR = codes.SCORE_FOR
"""What the meaning of a score's concept begins with."""

ALGORITHM_PARAMETERS = readback.ALGORITHM_PARAMETER
"""Code value of (DCM) Algorithm Parameters."""

MEASUREMENT_METHOD = str(dicom_codes.SCT.MeasurementMethod.value)
"""Code value of (SCT) Measurement Method."""

DERIVATION = str(dicom_codes.DCM.Derivation.value)
"""Code value of (DCM) Derivation."""

DERIVATIONS = {each.value: codes.coded("derivation", each.value).meaning for each in Derivation}
"""How frame scores become a series score -> its name."""

SERIES_SCORE = content.SERIES_SCORE
"""The algorithm parameter that says which of these a report has; with a label's name behind it, for that label alone."""

SERIES_GROUP = readback.SERIES_GROUP
"""Code value that says of a measurement group that its scores are a series'."""

MODEL_DOMAIN = readback.MODEL_DOMAIN
"""Concept of a measurement group's item that says that its frames are out of the model's domain."""

STATES = {
    StudyState.ANNOUNCED.value: "sent",
    StudyState.RECEIVING.value: "sent",
    StudyState.HELD.value: "sent",
    RevisionState.READY.value: "processing",
    RevisionState.PROCESSING.value: "processing",
    RevisionState.DONE.value: "reporting",
}
"""The pipeline's states on the way to a report, and the plug-in's state for each; the pipeline's other states are final."""

PAGE = (_FOLDER / "page.html").read_text(encoding="utf-8")
"""How each HTML page of the plug-in begins."""

EXPLORER = (_FOLDER / "explorer.js").read_text(encoding="utf-8")
"""The section of Orthanc Explorer."""
