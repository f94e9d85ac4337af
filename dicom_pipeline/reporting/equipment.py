"""Who made the object: the pipeline in equipment module and device observer, it and the model as contributing equipment."""

from __future__ import annotations

import re

from pydicom import Dataset
from pydicom.sequence import Sequence as DicomSequence

from dicom_pipeline.dicom.own_objects import MANUFACTURER, MODEL_NAME
from dicom_pipeline.dicom.uids import DEVICE_UID, uid_of
from dicom_pipeline.domain import Provenance
from dicom_pipeline.reporting.evidence import LO, printable

HUB_NAME = re.compile(r"([\w.-]*\w)/[\w.-]+")
"""Owner and name, as model hubs have them."""


def version_of(provenance: Provenance) -> str:
    """The software version as it stands in the object, at most 64 characters."""
    return provenance.software.removeprefix("dicom_pipeline ")[:64]


def model_name(provenance: Provenance) -> str:
    """The model's name, at most 64 characters: of one in a folder the folder's, not where that lies."""
    return printable(provenance.encoder.rstrip("/").rsplit("/", 1)[-1], LO) or "unknown"


def model_version(provenance: Provenance) -> str:
    """The sha256 of the model's weights: whatever a model is called, other weights are another version."""
    return printable(provenance.weights, LO) or "unknown"


def contributing_equipment(provenance: Provenance) -> DicomSequence:
    """Contributing Equipment Sequence (PS3.3 C.12.1.1.5): the pipeline, then the model, each a device of its own."""
    pipeline = _device(MANUFACTURER, MODEL_NAME, version_of(provenance), DEVICE_UID)
    name, version = model_name(provenance), model_version(provenance)
    return DicomSequence(
        [pipeline, _device(_maker(provenance.encoder), name, version, uid_of("model", provenance.weights))]
    )


def _device(manufacturer: str, model: str, version: str, uid: str) -> Dataset:
    purpose = Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator = "109102", "DCM"
    purpose.CodeMeaning = "Processing Equipment"
    item = Dataset()
    item.Manufacturer = manufacturer
    item.ManufacturerModelName = model
    item.SoftwareVersions = version
    item.DeviceUID = uid
    item.PurposeOfReferenceCodeSequence = DicomSequence([purpose])
    return item


def _maker(encoder: str) -> str:
    """Who publishes a model: the owner of one of a hub, we ourselves of `phantom`; else nobody says so."""
    if encoder == "phantom":
        return MANUFACTURER
    owner = HUB_NAME.fullmatch(encoder)
    return printable(owner[1], LO) if owner else "unknown"
