"""Key Object Selection "For Research" (PS3.3 A.35.4, PS3.16 TID 2010): links to the key frames, as viewers list them."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from highdicom.sr import CodedConcept
from pydicom import Dataset
from pydicom.sequence import Sequence as DicomSequence

from dicom_pipeline.dicom import own_objects
from dicom_pipeline.dicom.uids import uid_of
from dicom_pipeline.dicom.warnings import suppress_warnings
from dicom_pipeline.domain import FrameKey
from dicom_pipeline.reporting.evidence import (
    OF_THE_PATIENT_AT_THE_STUDY,
    TIMES,
    frame_number_of,
    reference_to,
    without_series_time,
)


def key_object_selection(report: Dataset, shown: Sequence[tuple[Dataset, FrameKey]], series_number: int) -> Dataset:
    """The selection of the frames `shown`, each with its instance's cleaned header; the rest is as in the report."""
    headers = list({key.sop_instance_uid: header for header, key in shown}.values())
    content = KeyObjectSelection(
        document_title=CodedConcept("113009", "DCM", "For Research"),
        referenced_objects=headers,
        description="Frames with the highest research scores; not for diagnosis",
    )
    with suppress_warnings():  # highdicom remarks on names without components; they are as received
        made: Dataset = KeyObjectSelectionDocument(
            evidence=[copy.deepcopy(header) for header in headers],
            content=content,
            series_instance_uid=uid_of("key-objects-series", str(report.StudyInstanceUID)),
            series_number=series_number,
            sop_instance_uid=uid_of("not yet known"),
            instance_number=int(report.InstanceNumber),
            manufacturer=own_objects.MANUFACTURER,
            specific_character_set="ISO_IR 192",
        )
    described = [item for item in made.ContentSequence if item.ValueType == "TEXT"]
    made.ContentSequence = DicomSequence([*described, *_images(shown)])
    without_series_time(made)
    for keyword in TIMES:
        setattr(made, keyword, report.get(keyword))
    if "TimezoneOffsetFromUTC" in report:
        made.TimezoneOffsetFromUTC = report.TimezoneOffsetFromUTC
    elif "TimezoneOffsetFromUTC" in made:
        del made.TimezoneOffsetFromUTC
    for keyword in ("IssuerOfPatientID", "StudyDescription", *OF_THE_PATIENT_AT_THE_STUDY):
        if keyword in report:
            setattr(made, keyword, report.get(keyword))
    made.SeriesDescription = "AI RESEARCH - key-objects"
    made.ManufacturerModelName, made.SoftwareVersions = own_objects.MODEL_NAME, report.SoftwareVersions
    made.DeviceSerialNumber = report.DeviceSerialNumber
    made.ContributingEquipmentSequence = copy.deepcopy(report.ContributingEquipmentSequence)
    made.ContentQualification = "RESEARCH"
    return made


def _images(shown: Sequence[tuple[Dataset, FrameKey]]) -> list[Dataset]:
    """An item for each image or frame; slices of one mosaic are one."""
    items = {(key.sop_instance_uid, frame_number_of(header, key)): _image(header, key) for header, key in shown}
    return list(items.values())


def _image(header: Dataset, key: FrameKey) -> Dataset:
    """An IMAGE item; TID 2010 gives these items no name, and highdicom calls what has no Rows a composite object."""
    item = Dataset()
    item.RelationshipType, item.ValueType = "CONTAINS", "IMAGE"
    reference = reference_to(header.SOPClassUID, key.sop_instance_uid)
    if (number := frame_number_of(header, key)) is not None:
        reference.ReferencedFrameNumber = number
    item.ReferencedSOPSequence = DicomSequence([reference])
    return item
