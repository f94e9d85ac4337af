"""Who made the object: one identity in the equipment module, the contributing equipment and the device observer."""

from __future__ import annotations

from pydicom import Dataset
from pydicom.sequence import Sequence as DicomSequence

from dicom_pipeline.attributes import items_of, read_value
from dicom_pipeline.domain import Provenance
from dicom_pipeline.reporting.uids import DEVICE_UID

MANUFACTURER = "dicom_pipeline"
MODEL_NAME = "dicom_pipeline"


def version_of(provenance: Provenance) -> str:
    """The software version as it stands in the object, at most 64 characters."""
    return provenance.software.removeprefix("dicom_pipeline ")[:64]


def contributing_equipment(provenance: Provenance) -> DicomSequence:
    """Contributing Equipment Sequence (PS3.3 C.12.1.1.5) with the algorithm's device, as IHE AI Results asks."""
    purpose = Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator = "109102", "DCM"
    purpose.CodeMeaning = "Processing Equipment"
    item = Dataset()
    item.Manufacturer = MANUFACTURER
    item.ManufacturerModelName = MODEL_NAME
    item.SoftwareVersions = version_of(provenance)
    item.DeviceUID = DEVICE_UID
    item.PurposeOfReferenceCodeSequence = DicomSequence([purpose])
    return DicomSequence([item])


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
