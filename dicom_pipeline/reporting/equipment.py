"""Who made the object: one identity in the equipment module, the contributing equipment and the device observer."""

from __future__ import annotations

from pydicom import Dataset
from pydicom.sequence import Sequence as DicomSequence

from dicom_pipeline.dicom.own_objects import MANUFACTURER, MODEL_NAME
from dicom_pipeline.dicom.uids import DEVICE_UID
from dicom_pipeline.domain import Provenance


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
