"""Key Object Selection "For Research" (PS3.3 A.35.4, PS3.16 TID 2010): links to the key frames, as viewers list them."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from highdicom.sr import CodedConcept
from pydicom import Dataset

from dicom_pipeline.reporting import equipment
from dicom_pipeline.reporting.uids import uid_of


def key_object_selection(report: Dataset, shown: Sequence[Dataset], series_number: int) -> Dataset:
    """The selection of the instances `shown` (cleaned headers); patient, times and equipment are the report's."""
    content = KeyObjectSelection(
        document_title=CodedConcept("113009", "DCM", "For Research"),
        referenced_objects=list(shown),
        description="Frames with the highest research scores; not for diagnosis",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # highdicom remarks on names without components; they are as received
        made: Dataset = KeyObjectSelectionDocument(
            evidence=[copy.deepcopy(header) for header in shown],
            content=content,
            series_instance_uid=uid_of("key-objects-series", str(report.StudyInstanceUID)),
            series_number=series_number,
            sop_instance_uid=uid_of("not yet known"),
            instance_number=int(report.InstanceNumber),
            manufacturer=equipment.MANUFACTURER,
            specific_character_set="ISO_IR 192",
        )
    for item in made.ContentSequence:
        if item.ValueType in ("IMAGE", "COMPOSITE") and "ConceptNameCodeSequence" in item:
            del item.ConceptNameCodeSequence  # TID 2010 gives these items no name
    for keyword in ("ContentDate", "ContentTime", "InstanceCreationDate", "InstanceCreationTime", "SeriesDate"):
        setattr(made, keyword, report.get(keyword))
    made.SeriesTime = report.SeriesTime
    if "TimezoneOffsetFromUTC" in report:
        made.TimezoneOffsetFromUTC = report.TimezoneOffsetFromUTC
    elif "TimezoneOffsetFromUTC" in made:
        del made.TimezoneOffsetFromUTC
    made.SeriesDescription = "AI RESEARCH - key-objects"
    made.ManufacturerModelName, made.SoftwareVersions = equipment.MODEL_NAME, report.SoftwareVersions
    made.DeviceSerialNumber = report.DeviceSerialNumber
    made.ContributingEquipmentSequence = copy.deepcopy(report.ContributingEquipmentSequence)
    made.ContentQualification = "RESEARCH"
    return made
