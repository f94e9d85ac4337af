"""What this pipeline makes, and whether it made an object: its own reports must never be processed."""

from __future__ import annotations

from pydicom import Dataset

from dicom_pipeline.dicom.attributes import items_of, read_value
from dicom_pipeline.dicom.uids import DEVICE_UID

MANUFACTURER = "dicom_pipeline"


MODEL_NAME = "dicom_pipeline"

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"
RAW_DATA = "1.2.840.10008.5.1.4.1.1.66"
ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"

KINDS = {
    SECONDARY_CAPTURE: "key-image",
    KEY_OBJECT_SELECTION: "key-objects",
    RAW_DATA: "embeddings",
    ENCAPSULATED_PDF: "pdf",
}


def object_kind(sop_class_uid: str) -> str:
    """What an object of ours is, by its SOP class: "report", or the name of a companion."""
    return KINDS.get(sop_class_uid, "report")


def is_own_object(dataset: Dataset) -> bool:
    """Whether this pipeline made an object: by its contributing equipment, not by a description.

    The Device UID says so; in a copy whose UIDs were replaced (PS3.15 E.1), as archives make when they anonymise,
    manufacturer and model do.
    """
    return any(_is_own_device(item) for item in items_of(dataset, "ContributingEquipmentSequence"))


def _is_own_device(item: Dataset) -> bool:
    if read_value(item, "DeviceUID") == DEVICE_UID:
        return True
    return (read_value(item, "Manufacturer"), read_value(item, "ManufacturerModelName")) == (MANUFACTURER, MODEL_NAME)
